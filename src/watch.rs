//! What becomes of a hold: held, in doubt, or lost.
//!
//! A backend keeps one [`LossSignal`] for each hold that somebody watches, and tells it what it
//! learns; a [`Lease`](crate::Lease) shows it to its holder in three ways: as a state, as a future,
//! and as a cancellation token.
//!
//! 1. `Lost` is final: no later report changes it, and its first reason stays.
//! 2. A lease hears of its hold through an [`Ear`] of its own, which is deaf once the lease has ended:
//!    the hold may live on, with the next task or with other readers, and be lost then.
//! 3. Who has been told in one of the ways finds the others agree: the state comes first, the tokens
//!    that were handed out second, and the futures last.
//! 4. A loss is logged once for each lease that hears of it, after all who are told together have been told.
#![forbid(unsafe_code)]

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use futures::future::{FusedFuture, FutureExt};
use pin_project::pin_project;

use crate::{
    boxed::Boxed,
    name::LockName,
    observe,
    sync::{CancellationToken, Mutex, MutexGuard, lock},
};

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
    /// Peers use a later layout of the servers, beside which ours excludes nobody.
    Superseded,
}

impl LossReason {
    /// For a machine.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::NotOwner => "not_owner",
            Self::Removed => "removed",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "what kept it was closed",
            Self::Expired => "the backend was not heard of in time",
            Self::NotOwner => "the backend says that it is not ours",
            Self::Removed => "what was locked was removed or replaced",
            Self::Superseded => "peers use a later generation of the servers",
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
    heard: Mutex<Heard>,
    /// Of an ear: whose it is, for the log.
    lease: Option<(LockName, &'static str)>,
    /// Its children are handed out, and cancelled before it; futures wait for itself (3).
    lost: CancellationToken,
}

#[derive(Debug)]
struct Heard {
    state: LeaseState,
    deaf: bool,
    ears: Vec<Weak<Inner>>,
}

/// One lease's hearing of a signal, as long as this lives.
#[derive(Debug)]
pub(crate) struct Ear(pub(crate) LossSignal);

impl Ear {
    /// Hears nothing more; whether it has been told of a loss until now, which then is logged (4).
    pub(crate) fn close(&self) -> bool {
        let mut heard = self.0.lock();
        heard.deaf = true;
        matches!(heard.state, LeaseState::Lost(_))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

impl LossSignal {
    /// The signal of a hold that the backend vouches for.
    pub fn new() -> Self {
        Self::hearing(LeaseState::Held, None)
    }

    fn hearing(state: LeaseState, lease: Option<(LockName, &'static str)>) -> Self {
        let heard = Mutex::new(Heard { state, deaf: false, ears: Vec::new() });
        Self(Arc::new(Inner { heard, lease, lost: CancellationToken::new() }))
    }

    /// Whether they are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// For one lease, of that name and backend.
    pub(crate) fn ear(&self, name: &LockName, backend: &'static str) -> Ear {
        let mut heard = self.lock();
        let lease = Some((name.clone(), backend));
        let ear = match heard.state {
            LeaseState::Lost(_) => Self::hearing(LeaseState::Held, lease), // hears it below
            state => Self::hearing(state, lease),
        };
        heard.ears.retain(|ear| ear.strong_count() > 0);
        heard.ears.push(Arc::downgrade(&ear.0));
        let state = heard.state;
        drop(heard);
        if let LeaseState::Lost(reason) = state {
            ear.lose(reason);
        }
        Ear(ear)
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
        Self::lose_all([self], reason).log();
    }

    /// Tells of losses that happen together. What is returned is to be logged once nobody else is to be
    /// told of anything.
    pub(crate) fn lose_all<'a>(
        signals: impl IntoIterator<Item = &'a Self>,
        reason: LossReason,
    ) -> News {
        let mut news = News(Vec::new(), reason);
        for signal in signals {
            signal.tell_loss(&mut news);
        }
        news
    }

    fn tell_loss(&self, news: &mut News) {
        let mut heard = self.lock();
        if heard.deaf {
            return;
        }
        let is_first = !matches!(heard.state, LeaseState::Lost(_));
        if is_first {
            heard.state = LeaseState::Lost(news.1);
        }
        let ears: Vec<_> = heard.ears.iter().filter_map(Weak::upgrade).map(Self).collect();
        drop(heard); // wakes tasks: not under the mutex
        ears.iter().for_each(|ear| ear.tell_loss(news));
        self.0.lost.cancel();
        if is_first && self.0.lease.is_some() {
            news.0.push(self.clone());
        }
    }

    /// What was reported last.
    pub fn state(&self) -> LeaseState {
        self.lock().state
    }

    /// Of what is not final. Under the mutex, or two who tell different things could leave an ear with the
    /// older one; nothing foreign runs there, since nobody is woken.
    fn set(&self, state: LeaseState) {
        let mut heard = self.lock();
        if heard.deaf || matches!(heard.state, LeaseState::Lost(_)) {
            return;
        }
        heard.state = state;
        heard.ears.iter().filter_map(Weak::upgrade).for_each(|ear| Self(ear).set(state));
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        lock(&self.0.heard)
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

/// Losses that have been told and not been logged.
///
/// A log is foreign code: it may be slow, hang, or panic, and must not stand between a loss and whoever has
/// to hear of it.
#[must_use = "a loss is logged"]
pub(crate) struct News(Vec<LossSignal>, LossReason);

impl News {
    pub(crate) fn log(self) {
        for ear in &self.0 {
            if let Some((name, backend)) = &ear.0.lease {
                observe::lost(name, backend, self.1.label(), &self.1);
            }
        }
    }

    /// On a thread that must not hang; or not at all, if there is no other.
    #[cfg(feature = "mysql")]
    pub(crate) fn log_elsewhere(self) {
        if !self.0.is_empty() {
            let thread = std::thread::Builder::new().name("keyward-log".to_owned());
            drop(thread.spawn(move || self.log()));
        }
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
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Lost(#[pin] Boxed<LossReason>);

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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LossReason> {
        self.project().0.poll(cx)
    }
}

impl FusedFuture for Lost {
    fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").finish_non_exhaustive()
    }
}
