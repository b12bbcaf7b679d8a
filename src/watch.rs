//! What becomes of a hold: held, in doubt, or lost.
//!
//! A backend keeps one [`LossSignal`] for each hold that somebody watches, and tells it what it
//! learns; a [`Lease`](crate::Lease) shows it to its holder in three ways: as a state, as a future,
//! and as a cancellation token.
//!
//! 1. `Lost` is final: no later report changes it, and its first reason stays.
//! 2. A signal that is dropped without a loss never resolves its futures: that is a release.
//! 3. Who has been told in one of the ways finds the others agree: the state comes first, the tokens
//!    that were handed out second, and the futures last.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::future::{FusedFuture, FutureExt};
use tokio_util::sync::CancellationToken;

use crate::boxed::Boxed;

/// Whether a lease is still a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseState {
    /// The backend vouches for it.
    Held,
    /// The backend does not answer. Nobody else can have the lock yet, and the lease may become held
    /// again or lost: start nothing that cannot be undone.
    Suspended,
    /// Others may have the lock. It stays lost.
    Lost(LossReason),
}

/// Why a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Whatever kept it, a session or a file descriptor, has been closed by somebody else.
    Closed,
    /// The backend has not been heard of until the end of what it had vouched for.
    Expired,
    /// The backend says that it belongs to somebody else, or to nobody.
    NotOwner,
    /// What was locked is not there any more: the lock file was deleted, renamed or replaced.
    Removed,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "what kept it was closed",
            Self::Expired => "the backend was not heard of in time",
            Self::NotOwner => "the backend says that it is not ours",
            Self::Removed => "what was locked was removed or replaced",
        })
    }
}

/// A backend's side of one hold's state; clones are the same signal.
///
/// # Examples
///
/// ```
/// use keyward::{LeaseState, LossReason, LossSignal};
///
/// let signal = LossSignal::new();
/// signal.suspend();
/// signal.resume();
/// assert_eq!(signal.state(), LeaseState::Held);
/// signal.lose(LossReason::Closed);
/// signal.resume();
/// assert_eq!(signal.state(), LeaseState::Lost(LossReason::Closed), "for ever");
/// ```
#[derive(Clone, Debug)]
pub struct LossSignal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<LeaseState>,
    /// Its children are handed out, and cancelled before it; futures wait for itself (3).
    lost: CancellationToken,
}

impl LossSignal {
    /// The signal of a hold that the backend vouches for.
    pub fn new() -> Self {
        let state = Mutex::new(LeaseState::Held);
        Self(Arc::new(Inner { state, lost: CancellationToken::new() }))
    }

    /// The backend does not answer: the hold cannot be vouched for, and nobody else can have it yet.
    pub fn suspend(&self) {
        self.set(LeaseState::Suspended);
    }

    /// The backend vouches for it again.
    pub fn resume(&self) {
        self.set(LeaseState::Held);
    }

    /// The hold is lost; whoever listens is told.
    pub fn lose(&self, reason: LossReason) {
        self.set(LeaseState::Lost(reason));
        self.0.lost.cancel();
    }

    /// What was reported last.
    pub fn state(&self) -> LeaseState {
        *self.lock()
    }

    fn set(&self, state: LeaseState) {
        let mut now = self.lock();
        if !matches!(*now, LeaseState::Lost(_)) {
            *now = state;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LeaseState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves with the loss.
    pub(crate) fn lost(&self) -> Lost {
        let (signal, lost) = (self.clone(), self.0.lost.clone().cancelled_owned());
        Lost(Boxed::new(async move {
            lost.await;
            match signal.state() {
                LeaseState::Lost(reason) => reason,
                LeaseState::Held | LeaseState::Suspended => {
                    unreachable!("3: the state comes first")
                }
            }
        }))
    }

    /// A token that is cancelled by the loss; cancelling it by hand tells nobody else.
    pub(crate) fn cancellation_token(&self) -> CancellationToken {
        self.0.lost.child_token()
    }
}

impl Default for LossSignal {
    fn default() -> Self {
        Self::new()
    }
}

/// The future of [`Lease::lost`](crate::Lease::lost) and [`Leases::lost`](crate::Leases::lost).
///
/// It borrows nothing, and stays pending for ever if the lease is released.
#[must_use = "futures do nothing unless polled"]
pub struct Lost(Boxed<LossReason>);

impl Lost {
    /// Of whichever is lost first.
    pub(crate) fn any(all: Vec<Self>) -> Self {
        if all.is_empty() {
            return Self(Boxed::new(std::future::pending()));
        }
        Self(Boxed::new(futures::future::select_all(all).map(|(reason, _, _)| reason)))
    }
}

impl Future for Lost {
    type Output = LossReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LossReason> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Lost {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").finish_non_exhaustive()
    }
}
