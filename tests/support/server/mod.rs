//! Private MariaDB and MySQL servers, for tests, examples and benches.
//!
//! A server has a directory, a socket and a port of its own and reads no configuration: nothing here
//! meets a server that the machine runs anyway. It ends, and its directory goes, with the [`Server`]
//! or with the process, however that ends: see [`watcher`].
//!
//! Starting one takes a third of a second, which blocks the thread. Cases that leave the server as it
//! is share one: [`Kind::shared`].

#![allow(dead_code, unused_imports, reason = "each binary uses a part of it")]

mod kind;
mod sql;
mod template;
mod watcher;

use std::{
    fmt, fs,
    io::Read,
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

pub(crate) use kind::{Family, Kind};
pub(crate) use sql::{hex, plain};
use watcher::Watcher;

/// A server of ours, until it is dropped.
pub(crate) struct Server {
    family: Family,
    dir: PathBuf,
    port: u16,
    watcher: Mutex<Watcher>,
}

impl Server {
    /// Longer than a server takes to start on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(90);

    pub(crate) fn start(kind: &Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// With more options for the server; of two that contradict each other, the later one counts.
    pub(crate) fn start_with(kind: &Kind, options: &[&str]) -> Self {
        Self::start_within(kind, &[], options)
    }

    /// With a socket and nothing else. MariaDB makes what it calls itself of the network card and the port, so
    /// that all such ones of a machine are called the same.
    pub(crate) fn start_without_network(kind: &Kind) -> Self {
        Self::start_within(kind, &["sh", "-c", "exec \"$@\" --skip-networking", "sh"], &[])
    }

    /// By a command that becomes the server, such as `env NAME=value`.
    pub(crate) fn start_within(kind: &Kind, wrap: &[&str], options: &[&str]) -> Self {
        let dir = new_dir();
        let mut command: Vec<_> = wrap.iter().map(|&word| word.to_owned()).collect();
        command.extend(kind.command());
        command.extend(kind.data_options(&dir.join("data")));
        command.push(format!("--socket={}", dir.join("s").display()));
        command.push(format!("--pid-file={}", dir.join("pid").display()));
        command.push("--bind-address=127.0.0.1".to_owned());
        command.push("--max-connections=1000".to_owned());
        command.push("--loose-performance-schema=OFF".to_owned());
        command.extend(options.iter().map(|&option| option.to_owned()));
        // First of all: from here on the directory goes, whatever happens.
        let watcher = Mutex::new(Watcher::new(&dir, &command));
        let mut server = Self { family: kind.family(), dir, port: 0, watcher };
        template::copy(&kind.template(), &server.dir.join("data"));
        fs::create_dir(server.dir.join("data.tmp")).unwrap();
        for _ in 0..20 {
            server.port = free_port();
            match server.try_start() {
                Ok(()) => return server,
                Err(log) if log.contains("Address already in use") => {} // somebody was faster
                Err(log) => panic!("{kind} does not start:\n{log}"),
            }
        }
        panic!("no free port for {kind}");
    }

    /// Until it greets; or its log, if it has ended.
    fn try_start(&self) -> Result<(), String> {
        // What a server that was killed has left behind would be taken for the new one.
        drop(fs::remove_file(self.socket()));
        let mut watcher = self.watcher();
        watcher.start(self.port);
        let begun = Instant::now();
        while !self.greets() {
            if !watcher.is_alive() {
                watcher.end(Signal::KILL);
                return Err(self.log());
            }
            assert!(begun.elapsed() < Self::PATIENCE, "no greeting:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The socket exists before the server is ready; then connections wait for their greeting.
    fn greets(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok_and(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            stream.read_exact(&mut [0]).is_ok()
        })
    }

    fn watcher(&self) -> MutexGuard<'_, Watcher> {
        self.watcher.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Over its socket, as root, who has no password.
    pub(crate) fn url(&self) -> String {
        self.url_as("root")
    }

    /// Over its socket, as `user` or `user:password`, percent-encoded where that is needed.
    pub(crate) fn url_as(&self, user: &str) -> String {
        format!("mysql://{user}@localhost/?socket={}", self.socket().display())
    }

    pub(crate) fn tcp_url(&self) -> String {
        self.tcp_url_as("root", self.port)
    }

    /// Over TCP, as for [`url_as`](Self::url_as), to a port that may be a proxy's.
    pub(crate) fn tcp_url_as(&self, user: &str, port: u16) -> String {
        format!("mysql://{user}@127.0.0.1:{port}/")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The same for as long as the server lives, restarts included.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its data, its socket and its log; goes with the server.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read(self.dir.join("log"))
            .map_or_else(|e| e.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// The process of the server; panics while there is none.
    pub(crate) fn pid(&self) -> Pid {
        self.watcher().pid().expect("the server has ended")
    }

    /// The process that sees to its end; see [`watcher`].
    pub(crate) fn watcher_pid(&self) -> Pid {
        self.watcher().shell()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.watcher().is_alive()
    }

    /// Stops it in its tracks, as a frozen machine would be. Returns when every thread stands: it
    /// stops thread by thread, and until the last one does, an answer may still come.
    pub(crate) fn stop_signal(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).unwrap();
        let begun = Instant::now();
        while !all_stand(pid) {
            assert!(begun.elapsed() < Self::PATIENCE, "it does not stop");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on after [`stop_signal`](Self::stop_signal).
    pub(crate) fn cont(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Ends it without a goodbye, and waits for that.
    pub(crate) fn kill(&self) {
        self.watcher().end(Signal::KILL);
    }

    /// Asks it to end, and waits for that; takes about two seconds.
    pub(crate) fn terminate(&self) {
        if self.is_running() {
            self.cont();
        }
        self.watcher().end(Signal::TERM);
    }

    /// Starts it again on the same data, socket and port; kills it first if it still runs.
    pub(crate) fn restart(&self) {
        self.kill();
        self.try_start().unwrap_or_else(|log| panic!("it does not start again:\n{log}"));
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("dir", &self.dir).field("port", &self.port).finish()
    }
}

/// Directly below `/tmp`: the path of a socket must be shorter than 107 bytes.
fn new_dir() -> PathBuf {
    use std::os::unix::fs::DirBuilderExt;

    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/tmp/kw-{}-{count}", process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return dir,
            // Of another user, or of a process that had our id.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => panic!("{}: {e}", dir.display()),
        }
    }
}

/// Below the ports that the kernel hands out: those may be taken while a server restarts.
fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let offset = process::id().wrapping_mul(101).wrapping_add(count) % 12_000;
        let port = 20_000 + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether every thread of a process is stopped.
fn all_stand(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    tasks.flatten().all(|task| matches!(state(&task.path()), None | Some('T')))
}

/// The letter of a thread or a process in `/proc`; none if it is gone.
fn state(process: &Path) -> Option<char> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process runs: a dead one that nobody has waited for does not.
pub(crate) fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
        && state(Path::new(&format!("/proc/{}", pid.as_raw_nonzero())))
            .is_some_and(|state| state != 'Z' && state != 'X')
}
