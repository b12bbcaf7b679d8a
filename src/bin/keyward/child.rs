//! The program that runs under the lock: its start, its signals, and that it does not outlive us (C1).
//!
//! P1. The kernel kills the program when this process ends without having waited for it. That is asked
//!     for by the program's own process, before it becomes the program: we start *ourselves* again,
//!     under the name [`ENTRY`]; that process sets its death signal, makes sure that its parent still is
//!     the one that has started it, and executes the program. It takes a millisecond more than doing so
//!     between `fork` and `exec`, and no unsafe code, of which little is allowed there.
//! P2. The death signal goes with the *thread* that has started the process: the main one, which lives
//!     as long as the process does. It reaches this one process, not what that starts. The kernel forgets
//!     it when the process changes its rights; for that there is a [`Watcher`].
//! P4. Whatever is to be there before the program is: the process of P1 executes it when it is told to
//!     ([`Program::go`]), and ends if nobody can tell it any more. It hears that through a pipe which it
//!     opens by our number for it, so that the program has no descriptor of ours (P3).
//! P3. The program has no descriptor of ours (all are opened close-on-exec), and the signal mask (S4) and
//!     the dispositions that we were started with: what has a handler here has the default there, what is
//!     ignored stays ignored (S1).

use std::{
    env,
    error::Error,
    ffi::{OsStr, OsString},
    fmt::Display,
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::Path,
    process::{self, ExitCode, ExitStatus},
};

use keyward::Lease;
use nix::unistd;
use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process,
        set_parent_process_death_signal, waitid,
    },
};
use tokio::process::{Child, Command};

use crate::{exit, say, signals::Received, watcher::Watcher};

/// The name under which this program is started to become another one. It cannot be typed by chance.
const ENTRY: &str = "keyward: starting";

/// The running program itself, also if its file has been replaced meanwhile.
pub(crate) const OURSELVES: &str = "/proc/self/exe";

/// If this process was started to become the program: does so, or returns how that has failed.
pub(crate) fn become_the_program() -> Option<ExitCode> {
    let mut args = env::args_os();
    if args.next()? != ENTRY {
        return None;
    }
    let (parent, go, program) = (args.next()?, args.next()?, args.next()?);
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        let what = "the program cannot be made to end with keyward";
        return Some(not_started(what, &error, exit::NOT_EXECUTABLE));
    }
    // It may have ended before that, and then nobody kills us, and the lock is free.
    let is_parents = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if is_parents.as_deref().map(OsStr::new) != Some(&parent) {
        return Some(ExitCode::from(exit::LOST));
    }
    if !is_told_to_go(&go) {
        return Some(ExitCode::from(exit::LOST));
    }
    let error = process::Command::new(&program).args(args).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        _ => exit::NOT_EXECUTABLE,
    };
    Some(not_started(format_args!("cannot run {}", program.display()), &error, code))
}

/// P4. Who may not look at our descriptors, because our file gives us rights, goes at once.
fn is_told_to_go(go: &OsStr) -> bool {
    // Its number as `/proc` has it, which may be another namespace's.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
    match File::open(Path::new("/proc").join(parent.trim()).join("fd").join(go)) {
        Ok(mut pipe) => pipe.read_exact(&mut [0]).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Says so without waiting for those who read (C5): the lock is held until this process has ended.
fn not_started(what: impl Display, error: &dyn Error, code: u8) -> ExitCode {
    say::install(false);
    say::failed(what, error);
    say::finish();
    ExitCode::from(code)
}

/// The program, while it runs.
pub(crate) struct Program {
    child: Child,
    /// Until the program has ended (P2).
    _watcher: Option<Watcher>,
    /// Both ends, since nobody knows when the other side opens it (P4).
    go: (PipeReader, PipeWriter),
}

impl Program {
    /// Starts the process that becomes it, from the thread that calls (P2), and what watches it.
    pub(crate) fn start(program: &[OsString], lease: &Lease) -> io::Result<Self> {
        let go = io::pipe()?;
        let mut command = Command::new(OURSELVES);
        command.arg0(ENTRY).arg(getpid().as_raw_nonzero().to_string());
        command.arg(go.0.as_raw_fd().to_string()).args(program);
        command.env("KEYWARD_NAME", lease.name().to_string());
        command.env("KEYWARD_BACKEND", lease.backend());
        match lease.fencing_token() {
            Some(token) => command.env("KEYWARD_TOKEN", token.to_string()),
            // Another lock's, if we ourselves run under one.
            None => command.env_remove("KEYWARD_TOKEN"),
        };
        let child = command.spawn()?;
        let watcher = number(&child).map(Watcher::start).transpose();
        // The kernel's own is enough for nearly all.
        let _watcher = watcher.unwrap_or_else(|error| {
            say::failed("nobody watches: a program that changes its user outlives keyward", &error);
            None
        });
        Ok(Self { child, _watcher, go })
    }

    /// From here on it may be the program (P4).
    pub(crate) fn go(&mut self) -> io::Result<()> {
        self.go.1.write_all(&[0])
    }

    /// Until it has ended.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    fn pid(&self) -> Option<Pid> {
        number(&self.child)
    }

    /// Sends it a signal; one that has ended needs none. It may have become somebody whom we may not
    /// signal.
    pub(crate) fn send(&self, signal: Signal) -> io::Result<()> {
        match self.pid().map(|pid| kill_process(pid, signal)) {
            None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Sends it what has been sent to us, unless it has had it as well, which is not to be relied on if
    /// it is `in_doubt` whether it was there already.
    pub(crate) fn forward(&self, received: Received, in_doubt: bool) -> io::Result<()> {
        match Signal::from_named_raw(received.number) {
            Some(signal) if signal != Signal::CHILD && (in_doubt || !self.has_had(received)) => {
                self.send(signal)
            }
            _ => Ok(()),
        }
    }

    /// Whether it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = self.pid().and_then(|pid| waitid(WaitId::Pid(pid), look).ok().flatten());
        status.is_some_and(|status| status.stopped())
    }

    /// Whether the kernel has sent it to both of us: what a terminal's keys send goes to the whole
    /// foreground group. A hang-up goes to the leader of the session alone.
    ///
    /// In a container the group and the session may be the host's, which have the number 0 here.
    fn has_had(&self, received: Received) -> bool {
        let program = self.pid().map(|pid| unistd::Pid::from_raw(pid.as_raw_nonzero().get()));
        let own_group =
            program.is_some_and(|pid| unistd::getpgid(Some(pid)) == Ok(unistd::getpgrp()));
        let is_leader = unistd::getsid(None) == Ok(unistd::getpid());
        received.from_kernel && own_group && !(received.number == libc::SIGHUP && is_leader)
    }
}

/// Its number, as long as it is certain to be its own: it is forgotten in the same thread that has the
/// kernel give it to others.
fn number(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}
