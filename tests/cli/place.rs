//! A store of a case's own, and the command on it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use keyward::{Lease, Locks};
use tempfile::TempDir;

use crate::running::Running;

pub(crate) const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");

/// Long enough for everything that takes milliseconds, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Waits for something that can only be looked at.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The command with nothing of ours in its environment, and with the dispositions of signals that a
/// shell gives to its jobs, however the tests were started.
pub(crate) fn command(env_args: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").args(env_args).arg(KEYWARD).args(args);
    for variable in ["URL", "PREFIX", "NAME", "TOKEN", "BACKEND"] {
        command.env_remove(format!("KEYWARD_{variable}"));
    }
    command
}

/// A directory of locks.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Next to the locks, for what a case needs besides.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path("locks").display())
    }

    pub(crate) fn lock_file(&self, name: &str) -> PathBuf {
        self.path("locks").join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_by(&[], args)
    }

    /// Started by another command.
    pub(crate) fn command_by(&self, other: &[&str], args: &[&str]) -> Command {
        let mut command = command(other, args);
        command.env("KEYWARD_URL", self.url());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn code(&self, args: &[&str]) -> Option<i32> {
        self.output(args).status.code()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Held by this process.
    pub(crate) fn hold(&self, name: &str) -> Lease {
        Locks::blocking_connect(self.url()).unwrap().blocking_try_lock_named(name).unwrap()
    }

    /// How many wait for the lock in the kernel: only the head of the queue does.
    pub(crate) fn waiters(&self, name: &str) -> usize {
        let Ok(file) = fs::metadata(self.lock_file(name)) else { return 0 };
        let inode = format!(":{} ", file.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains(" -> ") && line.contains(&inode)).count()
    }

    pub(crate) fn until_waiting(&self, name: &str) {
        until("it waits", || self.waiters(name) > 0);
    }

    /// Nobody holds it, and nobody waits for it, any more.
    pub(crate) fn until_free(&self, name: &str) {
        until("it is free", || self.code(&["try", name]) == Some(0));
        assert_eq!(self.waiters(name), 0);
    }
}
