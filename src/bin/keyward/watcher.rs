//! The watcher: a process that kills the program when this one is gone, where the kernel does not.
//!
//! The kernel forgets a program's death signal when its rights change: when it becomes another user, or
//! executes a file that is set-user-id or has capabilities. So we start *ourselves* once more, under the
//! name [`ENTRY`].
//!
//! W1. It learns that we are gone from the end of its input, a pipe whose other end nobody has but us.
//! W2. It knows the program by a descriptor, not by a number, so it never kills another process.
//! W3. It is not ended by chance: it is in a group of its own, and what ends a process is heard and
//!     forgotten. It ends with us, or is ended by us when the program has.
//! W4. It may do what we may: where a program becomes a user whom we may not signal, it goes on.

use std::{
    env, io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::flag;

use crate::{child::OURSELVES, signals::ENDING};

/// The name under which this program is started to watch. It cannot be typed by chance.
const ENTRY: &str = "keyward: watching";

/// If this process was started to watch: does so.
pub(crate) fn watch() -> Option<ExitCode> {
    if env::args_os().next()? != ENTRY {
        return None;
    }
    for signal in ENDING {
        // W3; one that cannot be heard ends us, as it would have.
        drop(flag::register(signal, Arc::default()));
    }
    if io::copy(&mut io::stdin(), &mut io::sink()).is_ok() {
        // That it has ended, or that we may not (W4), is nobody's to hear.
        let _ = pidfd_send_signal(io::stdout(), Signal::KILL);
    }
    Some(ExitCode::SUCCESS)
}

/// As long as this exists, the program does not outlive us.
pub(crate) struct Watcher(Child);

impl Watcher {
    /// For a child of ours that has not been waited for.
    pub(crate) fn start(program: Pid) -> io::Result<Self> {
        let program = pidfd_open(program, PidfdFlags::empty())?;
        let mut command = Command::new(OURSELVES);
        command.arg0(ENTRY).process_group(0);
        command.stdin(Stdio::piped()).stdout(program).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Watcher {
    /// It is waited for, which does not take long: the first process of a container may not do so.
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
