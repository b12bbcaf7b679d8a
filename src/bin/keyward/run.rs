//! `run`, `try` and `wait`: a lock, a program under it, and what happens to each of them.
//!
//! While the program runs there are four things that can happen, in one loop: it ends, the lease is
//! lost, the grace is over, or a signal arrives. Only the first ends the loop, so the lock is held until
//! the program has ended (C1).

use std::{
    ffi::OsString, os::unix::process::ExitStatusExt, pin::pin, process::ExitStatus, time::Duration,
};

use keyward::{Lease, LeaseState, LossReason, Released};
use rustix::process::Signal;
use signal_hook::low_level::signal_name;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    args::{self, Hold, Lock, OnLost},
    child::Program,
    exit::{self, End, SIGNALLED},
    say,
    signals::{self, Signals},
    take::{Terms, Wait, leave, take},
};

/// How long a store may take to confirm a release. What it has not confirmed it frees when it finds out
/// that we are gone.
const CONFIRMATION: Duration = Duration::from_secs(10);

pub(crate) async fn run(run: args::Run) -> End {
    let wait = if run.no_wait { Wait::No } else { Wait::within(run.timeout) };
    under(&run.lock, wait, &run.hold, &run.program).await
}

pub(crate) async fn attempt(attempt: args::Try) -> End {
    under(&attempt.lock, Wait::No, &attempt.hold, &attempt.program).await
}

pub(crate) async fn wait(wait: args::Wait) -> End {
    let hold = Hold { shared: false, on_lost: OnLost::Term, grace: Duration::ZERO };
    under(&wait.lock, Wait::within(wait.timeout), &hold, &[]).await
}

/// Takes the lock, runs the program, if there is one, and releases the lock.
async fn under(lock: &Lock, wait: Wait, hold: &Hold, program: &[OsString]) -> End {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            say::failed("signals cannot be listened to", &error);
            return End::Code(exit::UNAVAILABLE);
        }
    };
    let terms = Terms { wait, shared: hold.shared };
    let (locks, lease) = match take(lock, terms, &mut signals).await {
        Ok(taken) => taken,
        Err(end) => return end,
    };
    let ended = if program.is_empty() {
        Ended::with(0)
    } else {
        supervise(program, hold, &lease, &mut signals).await
    };
    let mut end = release(lease, ended, hold.on_lost).await;
    if let Some(signal) = ended.signalled {
        end = End::Signal(signal);
    }
    leave(&locks).await;
    end
}

/// How the program has ended.
#[derive(Clone, Copy)]
struct Ended {
    code: u8,
    /// Whether the loss of the lock has been told already.
    lost: bool,
    /// It was not started, because a signal has ended this process before.
    signalled: Option<i32>,
}

impl Ended {
    const fn with(code: u8) -> Self {
        Self { code, lost: false, signalled: None }
    }
}

async fn supervise(
    program: &[OsString],
    hold: &Hold,
    lease: &Lease,
    signals: &mut Signals,
) -> Ended {
    if let LeaseState::Lost(reason) = lease.state() {
        say::line(format_args!("the lock was lost before the program was started: {reason}"));
        return Ended { lost: true, ..Ended::with(exit::LOST) };
    }
    let listening = signals.listen_for_a_program();
    // The last moment (S2). What comes now comes while the program is being started.
    let signalled = signals.has_ended();
    if signalled.is_some() {
        return Ended { signalled, ..Ended::with(0) };
    }
    let mut running = match listening.and_then(|()| Program::start(program, lease)) {
        Ok(running) => running,
        Err(error) => {
            say::failed("no process could be started for the program", &error);
            return Ended::with(exit::NOT_EXECUTABLE);
        }
    };
    // What comes from here on finds a process that becomes the program.
    let mut in_doubt = signals.has_ended().is_some();
    if let Err(error) = running.go() {
        say::failed("the program cannot be told to go", &error);
        drop(running.send(Signal::KILL)); // it has not begun
    }
    let (mut is_lost, mut stops) = (false, signals.stops());
    let mut lost = pin!(lease.lost());
    let mut kill_at = None;
    loop {
        select! {
            biased;
            status = running.ended() => {
                let code = match status {
                    Ok(status) => code(status),
                    Err(error) => {
                        say::failed("how the program has ended is not known", &error);
                        exit::NOT_EXECUTABLE
                    }
                };
                return Ended { lost: is_lost, ..Ended::with(code) };
            }
            reason = &mut lost, if !is_lost => {
                is_lost = true;
                kill_at = end_it(&running, hold, reason);
            }
            () = at(kill_at) => {
                kill_at = None;
                match running.send(Signal::KILL) {
                    Ok(()) => say::line("the program has not ended in time; it is killed"),
                    Err(error) => say::line(format_args!(
                        "the program has not ended in time, and cannot be killed: {error}; it goes on \
                         without the lock"
                    )),
                }
            }
            received = signals.next() => {
                if let Err(error) = running.forward(received, in_doubt) {
                    let name = signal_name(received.number).unwrap_or("a signal");
                    say::line(format_args!("{name} could not be forwarded: {error}"));
                }
                in_doubt &= !signals::ends(received.number);
                stops.heed(received.number, || running.is_stopped());
            }
        }
    }
}

/// Does with the program what is to be done when its lock is lost, and then says so; when to kill it.
fn end_it(running: &Program, hold: &Hold, reason: LossReason) -> Option<Instant> {
    let (done, failed, signal) = match hold.on_lost {
        OnLost::Term => ("is asked to end", "asked to end", Signal::TERM),
        OnLost::Kill => ("is killed", "killed", Signal::KILL),
        OnLost::Ignore => {
            say::line(format_args!("the lock was lost: {reason}; the program goes on without it"));
            return None;
        }
    };
    // One that is stopped would not hear of it.
    match running.send(signal).and_then(|()| running.send(Signal::CONT)) {
        Ok(()) => say::line(format_args!("the lock was lost: {reason}; the program {done}")),
        Err(error) => say::line(format_args!(
            "the lock was lost: {reason}; the program cannot be {failed}: {error}; it goes on without \
             the lock"
        )),
    }
    // More than a clock can count is no limit.
    (hold.on_lost == OnLost::Term).then(|| Instant::now().checked_add(hold.grace))?
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn code(status: ExitStatus) -> u8 {
    let byte = |code| u8::try_from(code).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => byte(code),
        (None, signal) => SIGNALLED.saturating_add(byte(signal.unwrap_or(0))),
    }
}

/// Releases the lock, and says what the process is to end with.
///
/// Signals are not listened to any more: the program has ended, and Ctrl-C, which has ended it, may arrive
/// here after that.
async fn release(lease: Lease, ended: Ended, on_lost: OnLost) -> End {
    let Ended { code, mut lost, .. } = ended;
    match timeout(CONFIRMATION, lease.release()).await {
        Ok(Ok(Released::Released)) => {}
        Ok(Ok(Released::WasLost)) if lost => {}
        Ok(Ok(Released::WasLost)) => {
            say::line("the lock was lost before it was released");
            lost = true;
        }
        Ok(Err(_)) | Err(_) if lost => {}
        Ok(Err(error)) => say::failed("the release was not confirmed", &error),
        Err(late) => say::failed("the release was not confirmed", &late),
    }
    End::Code(if lost && on_lost != OnLost::Ignore { exit::LOST } else { code })
}
