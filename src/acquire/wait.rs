//! One wait, with what may end it and what is said meanwhile.
//!
//! The clock is read only once a first poll has found that there is a wait. From then on the wait is
//! polled together with its deadline, the closing of its [`Locks`](crate::Locks), and the alarm that
//! says *still waiting for …* after [`FIRST_WARNING`] and then each time the wait has doubled.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crate::{
    contract::{Mode, Occupancy, Wait},
    error::{Error, ErrorKind},
    handover::{Gate, Held, Key, Turn},
    lease::Lease,
    name::LockName,
    observe::{About, Outcome, Waiting},
    sync::time::{now, sleep, sleep_until},
};

/// How long a wait is before the first warning.
const FIRST_WARNING: Duration = Duration::from_secs(5);

pub(super) fn about(gate: &Gate, name: &LockName, error: Error) -> Error {
    error.with_name(name).with_backend(gate.label)
}

/// What is asked for, and of whom.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) gate: &'a Arc<Gate>,
    pub(super) name: &'a LockName,
    pub(super) mode: Mode,
}

impl<'a> Asked<'a> {
    pub(super) fn observed(self) -> About<'a> {
        let mode = match self.mode {
            Mode::Exclusive => "exclusive",
            Mode::Shared => "shared",
        };
        About { name: self.name, backend: self.gate.label, mode }
    }

    /// A lease, or an error that says what it is about.
    pub(super) fn settle(self, held: Result<Held, Error>) -> Result<Lease, Error> {
        match held {
            Ok(held) => Ok(Lease::new(self.name.clone(), self.gate.label, held)),
            Err(e) => Err(about(self.gate, self.name, e)),
        }
    }
}

/// How it has ended.
pub(super) fn outcome(lease: &Result<Lease, Error>) -> Outcome<'_> {
    match lease {
        Ok(lease) => Outcome::Acquired(lease.fencing_token()),
        Err(e) if e.is_would_block() => Outcome::Conflict,
        Err(e) if e.is_timed_out() => Outcome::TimedOut,
        Err(e) => Outcome::Failed(format!("{:?}", e.kind()), e),
    }
}

/// Waits for a lock, however long that takes, and has it seen.
pub(super) async fn wait_for(
    asked: Asked<'_>,
    key: &Key,
    wait: Wait,
    turn: Option<Turn>,
    refusal: ErrorKind,
) -> Result<Lease, Error> {
    let mut waiting = Waiting::begin(asked.observed());
    let lease = seen(&mut waiting, wait, ask(asked, key, wait, turn, refusal)).await;
    waiting.end(&outcome(&lease));
    lease
}

/// Has something done as a part of an acquisition.
pub(super) async fn seen(
    waiting: &mut Waiting,
    wait: Wait,
    work: impl Future<Output = Result<Lease, Error>>,
) -> Result<Lease, Error> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let lease = waiting.within(|| work.as_mut().poll(cx));
        if lease.is_pending() && wait != Wait::No {
            waiting.queue();
        }
        lease
    })
    .await
}

/// The same unseen.
pub(super) async fn ask(
    asked: Asked<'_>,
    key: &Key,
    wait: Wait,
    turn: Option<Turn>,
    refusal: ErrorKind,
) -> Result<Lease, Error> {
    let Asked { gate, name, mode } = asked;
    let mut enter = pin!(gate.enter(name, key, mode, wait, turn));
    let mut interruption = None;
    let held = poll_fn(|cx| {
        let outcome = enter.as_mut().poll(cx);
        if outcome.is_ready() || wait == Wait::No {
            return outcome;
        }
        let (_, interruption) = interruption.get_or_insert_with(|| {
            (gate.waits.enter(key), Box::pin(interrupted(gate, name, key, wait)))
        });
        interruption.as_mut().poll(cx).map(|error| error.map_or(Ok(None), Err))
    })
    .await;
    asked.settle(held.and_then(|held| held.ok_or_else(|| Error::new(refusal))))
}

/// What ends a wait from outside: an error, or being late. Made once there is a wait.
async fn interrupted(gate: &Gate, name: &LockName, key: &Key, wait: Wait) -> Option<Error> {
    let mut late = pin!(late(wait));
    let mut closed = pin!(gate.closed.cancelled());
    let mut warnings = pin!(warnings(gate, name, key));
    poll_fn(|cx| {
        if late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Error::new(ErrorKind::Closed)));
        }
        warnings.as_mut().poll(cx).map(|never| match never {})
    })
    .await
}

async fn late(wait: Wait) {
    match wait {
        Wait::Until(deadline) => sleep_until(deadline).await,
        Wait::No | Wait::Forever => pending().await,
    }
}

/// Says whom we are waiting for, now and then.
async fn warnings(gate: &Gate, name: &LockName, key: &Key) -> std::convert::Infallible {
    let (since, mut pause) = (now(), FIRST_WARNING);
    loop {
        sleep(pause).await;
        pause = now() - since;
        if !tracing::enabled!(tracing::Level::WARN) {
            continue; // nobody listens
        }
        let owner = match gate.backend.inspect(name).await {
            Ok(Occupancy::Held { owner: Some(owner), .. }) => owner.to_string(),
            Ok(Occupancy::Held { owner: None, .. }) => "somebody".to_owned(),
            Ok(Occupancy::Free) => "nobody now".to_owned(),
            Err(error) => format!("somebody: {error}"),
        };
        tracing::warn!(
            lock.name = ?name,
            lock.backend = gate.label,
            waited = ?now() - since,
            owner,
            queued = gate.waiters(key),
            "still waiting for a named lock"
        );
    }
}
