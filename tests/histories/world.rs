//! What a history is about: a registry, or leases in some store.

use std::{fmt, task::Poll, time::Duration};

use futures::future::BoxFuture;
use tokio_test::task::Spawn;

/// Alone, or together with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Lock,
    Read,
}

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum Refusal {
    Busy,
    TimedOut,
    /// The store has no such mode.
    Unsupported,
    /// The store did not answer: whether it has done anything is not known.
    Unavailable(String),
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("busy"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unsupported => f.write_str("unsupported"),
            Self::Unavailable(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

/// How a hold has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Released,
    WasLost,
    /// The store did not answer.
    Unconfirmed,
    /// Dropped, and nothing is told.
    Untold,
}

/// What can be expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// Independent ways to the store.
    pub(crate) handles: usize,
    pub(crate) shared: bool,
    /// Whatever follows from a step has happened when everybody who was woken has been polled. Otherwise
    /// it happens soon.
    pub(crate) prompt: bool,
    /// A release grants, and not the poll after it; and who waits can be counted.
    pub(crate) grants_at_once: bool,
    pub(crate) loses: bool,
    /// Holds and waits may be forgotten, which keeps their memory.
    pub(crate) forgets: bool,
    /// A fault leaves it open for a while what has become of holds and waits: they may fail.
    pub(crate) indeterminate: bool,
    /// How often there is a loss, in 1,000 steps that ask for one.
    pub(crate) losses: u32,
    /// A limited wait waits no longer.
    pub(crate) limit: Duration,
}

/// A wait that is polled by hand.
pub(crate) type Wait<H> = Spawn<BoxFuture<'static, Result<H, Refusal>>>;

pub(crate) trait World {
    type Held;

    fn nature(&self) -> Nature;

    /// Runs `f` where waits may be polled.
    fn inside<R>(&self, f: impl FnOnce() -> R) -> R;

    /// Not polled yet.
    fn ask(&self, handle: usize, name: &str, mode: Mode, limited: bool) -> Wait<Self::Held>;

    fn attempt(&self, handle: usize, name: &str, mode: Mode) -> Result<Self::Held, Refusal>;

    fn end(&self, held: Self::Held, confirmed: bool) -> End;

    /// The hold's token.
    fn token(&self, _: &Self::Held) -> Option<u64> {
        None
    }

    /// Whether its holder has been told of a loss.
    fn is_lost(&self, _: &Self::Held) -> bool {
        false
    }

    /// Takes the name away from who holds it. Returns which of these holds (handle and name) go with it.
    fn lose(&self, _: &str, _: &[(usize, &str)]) -> Option<Vec<usize>> {
        None
    }

    /// Lets every limit that there is run out.
    fn tick(&self);

    /// Lets a moment pass, where things happen by themselves.
    fn pause(&self);

    /// What the store says of a name: whether it is held, how many hold it and how many wait, as far as
    /// that is told.
    fn look(&self, name: &str) -> (Option<bool>, Option<usize>, Option<usize>);

    /// That nothing at all is left.
    fn is_empty(&self) -> bool {
        true
    }
}

/// Polls a wait.
pub(crate) fn poll<H>(wait: &mut Wait<H>) -> Option<Result<H, Refusal>> {
    match wait.poll() {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}
