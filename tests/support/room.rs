//! Where a test with files takes place: a directory of its own, and other processes.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use keyward::{Error, Locks};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// What the names of rooms begin with, before the number of the process.
const PREFIX: &str = "keyward-file-";

/// Removes, once, what was left long ago by tests that were killed: on some filesystems it is memory.
fn sweep(parent: &Path) {
    static SWEPT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if swept.iter().any(|done| done == parent) {
        return;
    }
    swept.push(parent.to_owned());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let is_gone = pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        // Who has a number of another namespace of processes is not seen here.
        let age =
            entry.metadata().and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_gone && age.is_some_and(|age| age > Duration::from_secs(24 * 3600)) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A directory that goes with the test.
pub(crate) struct Room(PathBuf);

impl Room {
    /// On the filesystem of the build, which is ext4 or the like.
    pub(crate) fn new() -> Self {
        let outer = env::var_os("KEYWARD_TEST_ROOM").map(PathBuf::from);
        Self::below(&outer.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR"))))
    }

    /// Both kinds of filesystems that we are sure to have.
    pub(crate) fn both() -> [Self; 2] {
        [Self::new(), Self::below(Path::new("/dev/shm"))]
    }

    fn below(parent: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}-{count}", std::process::id()));
        drop(fs::remove_dir_all(&path)); // of a run that was killed
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The lock directory, which does not exist yet.
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.join("locks")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lock_file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.dir().display())
    }

    pub(crate) async fn connect(&self, options: &str) -> Result<Locks, Error> {
        Locks::connect(format!("{}{options}", self.url())).await
    }

    pub(crate) async fn locks(&self) -> Locks {
        self.connect("").await.unwrap()
    }

    /// The inode of a lock file, as `/proc/locks` shows it.
    pub(crate) fn inode(&self, name: &str) -> String {
        use std::os::unix::fs::MetadataExt;
        format!(":{} ", fs::metadata(self.lock_file(name)).unwrap().ino())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Waits for something that is going to happen; panics if it does not.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let late = tokio::time::timeout(Duration::from_secs(20), event).await;
    late.unwrap_or_else(|_| panic!("{what} does not happen"))
}

/// Looks again and again until it is so; panics if it does not become so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    soon(what, async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The lines of `/proc/locks` about an inode: those who hold, or those who wait.
pub(crate) fn kernel_locks(inode: &str, waiting: bool) -> usize {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().filter(|line| line.contains(inode) && line.contains("->") == waiting).count()
}

/// Another process that does as it is told; see [`keyward::conformance::serve`].
pub(crate) struct Peer {
    pub(crate) process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Longer than anything takes that is going to happen.
    const PATIENCE: Duration = Duration::from_secs(60);

    pub(crate) fn start(url: &str) -> Self {
        let mut command = crate::child::command("child_entry", url);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // A thread, so that an answer that never comes is a failure and not a test that hangs.
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix("keyward: ") {
                    drop(sender.send(answer.to_owned()));
                }
            }
        });
        Self { process, commands, answers }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The next answer; blocks.
    pub(crate) fn answer(&self) -> String {
        let answer = self.answers.recv_timeout(Self::PATIENCE);
        answer.unwrap_or_else(|e| panic!("no answer of the other process: {e}"))
    }

    /// The next answer, if it is there already.
    pub(crate) fn answered(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }

    /// Tells, and returns the answer; blocks.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).unwrap();
        if signal == Signal::STOP {
            // It stops thread by thread; only its parent is told when the last one has. Until then,
            // a thread that waits for a lock may still be given it, and keep it as long as it stands.
            let status = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
            assert!(status.is_some_and(|(_, status)| status.stopped()), "it has not stopped");
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Whether this process is the one that [`again`] has started for that test.
pub(crate) fn is_inner() -> bool {
    env::var_os("KEYWARD_TEST_INNER").is_some()
}

/// Runs one test of this binary again, in a process of its own that `wrap` prepares, and passes its
/// verdict on. The process is the last argument of the command that `wrap` returns.
pub(crate) fn again(test: &str, wrap: impl FnOnce(&Path) -> Command) {
    let binary = env::current_exe().unwrap();
    // What the inner process cannot remove, since it is mounted or since it exits, goes with this.
    let room = Room::new();
    let mut command = wrap(&binary);
    command.env("KEYWARD_TEST_ROOM", room.path());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("KEYWARD_TEST_INNER", "1").stdin(Stdio::null());
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

/// The body of a test that runs in a process of its own, as `wrap` prepares it.
pub(crate) fn inside(
    wrap: impl FnOnce(&Path) -> Command,
    test: &str,
    body: impl Future<Output = ()>,
) {
    if !is_inner() {
        return again(test, wrap);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(body);
}

/// In a process where nobody else opens files or starts threads.
pub(crate) fn alone(binary: &Path) -> Command {
    Command::new(binary)
}

/// In a mount namespace of its own, where mounts end with the process.
pub(crate) fn with_mounts(binary: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(binary);
    command
}

/// Mounts a tmpfs, in a namespace of ours.
pub(crate) fn mount_tmpfs(at: &Path, options: &str) {
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().unwrap();
    assert!(mounted.success(), "a tmpfs is needed: run the tests as root");
}
