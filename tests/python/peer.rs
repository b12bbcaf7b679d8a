//! A process that locks: Python's (`peer.py`) or keyward's (this very test
//! program, run again), and both spoken to in the same way.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    keyward_peer,
    protocol::{Request, unquoted},
    room::Room,
};

/// What hangs for that long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an acquisition waits: the word for it in a request.
pub(crate) const FOREVER: &str = "forever";
pub(crate) const TRY: &str = "no";
/// A time limit that passes soon, and one that does not.
pub(crate) const SOON: &str = "0.05";
pub(crate) const LATE: &str = "50";

pub(crate) const EXCLUSIVE: &str = "exclusive";
pub(crate) const SHARED: &str = "shared";

/// A process, ended when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    /// What is the same in each `open`.
    place: Request,
    /// The lock file, as the Python library says; keyward does not. At a server, the name.
    pub(crate) path: PathBuf,
}

impl Peer {
    /// A Python process that locks by one of the libraries that `peer.py` lists.
    pub(crate) fn python(library: &str, room: &Room, prefix: &str, name: impl AsRef<[u8]>) -> Self {
        Self::python_at(room.locks().as_os_str().as_bytes(), library, prefix, name)
    }

    /// The same at a place that is no directory, or in one.
    pub(crate) fn python_at(
        place: impl AsRef<[u8]>,
        library: &str,
        prefix: &str,
        name: impl AsRef<[u8]>,
    ) -> Self {
        let mut command = Command::new(python());
        command.arg(source("peer.py"));
        let place = Request::new("open").with("library", library).with("place", place);
        Self::start(command, place, prefix, name)
    }

    /// A keyward process, with options for its URL.
    pub(crate) fn keyward(
        options: &str,
        room: &Room,
        prefix: &str,
        name: impl AsRef<[u8]>,
    ) -> Self {
        Self::keyward_at(&room.url(options), prefix, name)
    }

    /// The same by the whole URL.
    pub(crate) fn keyward_at(url: &str, prefix: &str, name: impl AsRef<[u8]>) -> Self {
        let place = Request::new("open").with("url", url);
        Self::start(keyward_peer::command(), place, prefix, name)
    }

    fn start(mut command: Command, place: Request, prefix: &str, name: impl AsRef<[u8]>) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            // What is no answer is the test harness speaking, around a keyward peer.
            for line in stdout.lines().map_while(Result::ok) {
                let is_answer = ["ok", "yes", "no", "error"].contains(&line.split(' ').next()?);
                if is_answer && sender.send(line).is_err() {
                    break;
                }
            }
            Some(())
        });
        let mut peer = Self { child, stdin, answers, place, path: PathBuf::new() };
        peer.open(prefix, name);
        peer
    }

    /// Goes on to another name.
    pub(crate) fn open(&mut self, prefix: &str, name: impl AsRef<[u8]>) {
        let answer = self.ask(&self.place.clone().with("prefix", prefix).with("name", name));
        let path = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer}"));
        self.path = PathBuf::from(std::ffi::OsString::from_vec(unquoted(path)));
    }

    /// Goes on to another URL of keyward's, and to a name without a prefix.
    pub(crate) fn open_url(&mut self, url: &str, name: impl AsRef<[u8]>) {
        self.place = Request::new("open").with("url", url);
        self.open("", name);
    }

    /// Goes on to another name of keyward's, which is to reach the backend as it is, or not at all.
    #[cfg(feature = "mysql")]
    pub(crate) fn open_exactly(&mut self, prefix: &str, name: impl AsRef<[u8]>) {
        self.place = self.place.clone().with("exact", "yes");
        self.open(prefix, name);
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.stdin.write_all(request.line().as_bytes()).expect("the peer has ended");
    }

    pub(crate) fn answer(&self) -> String {
        self.answers.recv_timeout(PATIENCE).expect("no answer from the peer")
    }

    /// Fails if it is no longer at what it was asked for.
    #[track_caller]
    pub(crate) fn assert_busy(&self) {
        let answer = self.answers.recv_timeout(Duration::ZERO);
        assert_eq!(answer, Err(RecvTimeoutError::Timeout), "it is at it no more");
    }

    pub(crate) fn ask(&mut self, request: &Request) -> String {
        self.send(request);
        self.answer()
    }

    /// Begins to acquire.
    pub(crate) fn send_acquire(&mut self, wait: &str, mode: &str) {
        self.send(&Request::new("acquire").with("wait", wait).with("mode", mode));
    }

    /// Whether the acquisition that was begun has succeeded.
    pub(crate) fn is_acquired(&self) -> bool {
        match self.answer().as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("{other}"),
        }
    }

    pub(crate) fn acquire(&mut self, wait: &str, mode: &str) -> bool {
        self.send_acquire(wait, mode);
        self.is_acquired()
    }

    pub(crate) fn release(&mut self) {
        assert_eq!(self.ask(&Request::new("release")), "ok");
    }

    /// Waits until keyward says that the lease is lost, and why.
    #[cfg(feature = "mysql")]
    pub(crate) fn await_loss(&mut self) -> String {
        let answer = self.ask(&Request::new("lost"));
        answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Whether it could have the lock now; leaves it free.
    pub(crate) fn could_acquire(&mut self, wait: &str, mode: &str) -> bool {
        let acquired = self.acquire(wait, mode);
        if acquired {
            self.release();
        }
        acquired
    }

    /// Whether the process has this file open.
    pub(crate) fn has_open(&self, path: &Path) -> bool {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a process");
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == path))
    }

    /// Waits until the process has the lock file open, which it does right before its first attempt.
    pub(crate) fn await_open(&self, path: &Path) {
        let end = Instant::now() + PATIENCE;
        while !self.has_open(path) {
            assert!(Instant::now() < end, "{} is never opened", path.display());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process, for signals.
    #[cfg(feature = "mysql")]
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Ends it by SIGKILL; returns once it is gone, and its locks with it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(file)
}

/// The interpreter, once it is known to have the packages that are pinned.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-env/bin/python");
        let python = env::var_os("KEYWARD_TEST_PYTHON").map_or(default, PathBuf::from);
        let missing = Command::new(&python)
            .arg(source("peer.py"))
            .arg("check")
            .arg(source("requirements.txt"))
            .output();
        let problem = match missing {
            Ok(output) if output.status.success() && output.stdout.is_empty() => return Ok(python),
            Ok(output) => [output.stdout, output.stderr].concat(),
            Err(e) => e.to_string().into_bytes(),
        };
        Err(format!(
            "{} does not have what these tests need: {}\nRun `scripts/test --python`, or install \
             tests/python/requirements.txt for an interpreter that KEYWARD_TEST_PYTHON names: \
             `python3 -m venv target/python-env && \
             target/python-env/bin/pip install -r tests/python/requirements.txt`",
            python.display(),
            String::from_utf8_lossy(&problem).trim_end(),
        ))
    });
    found.as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}
