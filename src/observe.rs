//! What can be seen from outside while locks are taken, held and lost: events and spans for `tracing`,
//! and with the feature `metrics`, numbers for a recorder.
//!
//! Every event of a lock's life, and every number, has its one function here, so that their names and fields
//! are in one place; `metrics.rs` documents the latter. What else is worth a warning, as a wait that takes long
//! or a server that has changed, is told where it is found. Locks of a registry tell nothing: they are held
//! for nanoseconds.
//!
//! 1. A name is always escaped, or it could forge a log line; and it is never a label of a number, or
//!    each new name would make a new time series.
//! 2. What has begun is counted back when it ends, in whatever way: [`Waiting`] and [`Holding`] do so
//!    when they are dropped.
//! 3. No clock is read if nobody listens.
#![forbid(unsafe_code)]

use std::fmt;

use tokio::time::Instant;
use tracing::Span;

use crate::{name::LockName, token::FencingToken};

/// Now, if somebody is to hear how long things take (3).
pub(crate) fn clock() -> Option<Instant> {
    let heard = cfg!(feature = "metrics") || tracing::enabled!(tracing::Level::DEBUG);
    heard.then(Instant::now)
}

/// What an acquisition is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) name: &'a LockName,
    pub(crate) backend: &'static str,
    pub(crate) mode: &'static str,
}

/// How an acquisition has ended.
pub(crate) enum Outcome<'a> {
    Acquired(Option<FencingToken>),
    Conflict,
    TimedOut,
    Cancelled,
    /// With the kind of the error, and the error.
    Failed(String, &'a dyn fmt::Display),
}

impl About<'_> {
    /// The end of an acquisition that began then.
    pub(crate) fn ended(self, begun: Option<Instant>, outcome: &Outcome<'_>) {
        let Some(begun) = begun else { return };
        let Self { name, backend, mode } = self;
        let waited = begun.elapsed();
        match outcome {
            Outcome::Acquired(token) => {
                let token = token.map(FencingToken::get);
                tracing::debug!(
                    lock.name = ?name, lock.backend = backend, lock.mode = mode, ?waited, token, "acquired"
                );
            }
            Outcome::Failed(kind, error) => tracing::debug!(
                lock.name = ?name, lock.backend = backend, lock.mode = mode, ?waited,
                outcome = outcome.label(), kind, %error, "not acquired"
            ),
            Outcome::Conflict | Outcome::TimedOut | Outcome::Cancelled => tracing::debug!(
                lock.name = ?name, lock.backend = backend, lock.mode = mode, ?waited,
                outcome = outcome.label(), "not acquired"
            ),
        }
        meter::acquisition(backend, outcome, waited);
    }
}

impl Outcome<'_> {
    const fn label(&self) -> &'static str {
        match self {
            Self::Acquired(_) => "acquired",
            Self::Conflict => "conflict",
            Self::TimedOut => "timeout",
            Self::Cancelled => "cancelled",
            Self::Failed(..) => "error",
        }
    }
}

/// An acquisition that takes more than one poll. It has been cancelled if it is dropped before
/// [`end`](Self::end).
#[derive(Debug)]
pub(crate) struct Waiting {
    name: LockName,
    backend: &'static str,
    mode: &'static str,
    begun: Option<Instant>,
    queued: bool,
    ended: bool,
    span: Span,
}

impl Waiting {
    pub(crate) fn begin(about: About<'_>) -> Self {
        let About { name, backend, mode } = about;
        let span = tracing::debug_span!(
            "keyward.acquire", lock.name = ?name, lock.backend = backend, lock.mode = mode
        );
        let (begun, name) = (clock(), name.clone());
        Self { name, backend, mode, begun, queued: false, ended: false, span }
    }

    /// What is to be done, or told, as part of it.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.span.in_scope(work)
    }

    /// It really waits, for somebody else.
    pub(crate) fn queue(&mut self) {
        if !self.queued {
            self.queued = true;
            meter::waiters(self.backend, 1.0);
        }
    }

    pub(crate) fn end(mut self, outcome: &Outcome<'_>) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: &Outcome<'_>) {
        self.ended = true;
        let about = About { name: &self.name, backend: self.backend, mode: self.mode };
        self.span.in_scope(|| about.ended(self.begun, outcome));
        if self.queued {
            meter::waiters(self.backend, -1.0);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(&Outcome::Cancelled);
        }
    }
}

/// One lease, from its grant until it is given back.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) name: LockName,
    pub(crate) backend: &'static str,
    since: Option<Instant>,
}

impl Holding {
    pub(crate) fn begin(name: LockName, backend: &'static str) -> Self {
        meter::held(backend, 1.0);
        Self { name, backend, since: clock() }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        meter::held(self.backend, -1.0);
        let Some(since) = self.since else { return };
        let held = since.elapsed();
        tracing::debug!(lock.name = ?self.name, lock.backend = self.backend, ?held, "released");
        meter::hold(self.backend, held);
    }
}

/// A hold of the backend's has gone from one task of this process to another.
pub(crate) fn handed_over(name: &LockName, backend: &'static str) {
    tracing::debug!(lock.name = ?name, lock.backend = backend, "handed over");
}

/// A lease was lost.
pub(crate) fn lost(
    name: &LockName,
    backend: &'static str,
    label: &'static str,
    reason: &dyn fmt::Display,
) {
    tracing::warn!(lock.name = ?name, lock.backend = backend, %reason, "a lease was lost");
    meter::lost(backend, label);
}

#[cfg(feature = "mysql")]
pub(crate) use self::meter::{connections, renewal};

/// What goes to a recorder, if there is one.
#[cfg(feature = "metrics")]
mod meter {
    use std::time::Duration;

    use ::metrics::{counter, gauge, histogram};

    use super::Outcome;
    use crate::metrics::names;

    pub(super) fn acquisition(backend: &'static str, outcome: &Outcome<'_>, waited: Duration) {
        let (name, label) = (names::ACQUIRE_DURATION, outcome.label());
        let histogram = match outcome {
            Outcome::Failed(kind, _) => histogram!(
                name, "backend" => backend, "outcome" => label, "error.type" => kind.clone()
            ),
            _ => histogram!(name, "backend" => backend, "outcome" => label),
        };
        histogram.record(waited);
    }

    pub(super) fn waiters(backend: &'static str, more: f64) {
        gauge!(names::WAITERS, "backend" => backend).increment(more);
    }

    pub(super) fn held(backend: &'static str, more: f64) {
        gauge!(names::HELD, "backend" => backend).increment(more);
    }

    pub(super) fn hold(backend: &'static str, held: Duration) {
        histogram!(names::HOLD_DURATION, "backend" => backend).record(held);
    }

    pub(super) fn lost(backend: &'static str, reason: &'static str) {
        counter!(names::LOST, "backend" => backend, "reason" => reason).increment(1);
    }

    /// A session has proven that its leases are held: how long that took, and how long before the
    /// last proof would have run out.
    #[cfg(feature = "mysql")]
    pub(crate) fn renewal(backend: &'static str, took: Duration, slack: Duration) {
        histogram!(names::RENEW_DURATION, "backend" => backend).record(took);
        histogram!(names::RENEW_SLACK, "backend" => backend).record(slack);
    }

    /// Connections that are open, more or less by so many.
    #[cfg(feature = "mysql")]
    pub(crate) fn connections(backend: &'static str, more: f64) {
        gauge!(names::CONNECTIONS, "backend" => backend).increment(more);
    }
}

#[cfg(not(feature = "metrics"))]
mod meter {
    use std::time::Duration;

    use super::Outcome;

    pub(super) const fn acquisition(_: &'static str, _: &Outcome<'_>, _: Duration) {}
    pub(super) const fn waiters(_: &'static str, _: f64) {}
    pub(super) const fn held(_: &'static str, _: f64) {}
    pub(super) const fn hold(_: &'static str, _: Duration) {}
    pub(super) const fn lost(_: &'static str, _: &'static str) {}
    #[cfg(feature = "mysql")]
    pub(crate) const fn renewal(_: &'static str, _: Duration, _: Duration) {}
    #[cfg(feature = "mysql")]
    pub(crate) const fn connections(_: &'static str, _: f64) {}
}
