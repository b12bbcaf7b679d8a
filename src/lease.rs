//! What a hold of a backend's name is to its holder.
#![forbid(unsafe_code)]

use std::fmt;

use futures::future::join_all;

use crate::{
    error::{Error, ErrorKind},
    handover::Held,
    name::LockName,
    observe::{self, Holding},
    sync::{
        CancellationToken, OnceLock,
        time::{Instant, now},
    },
    token::FencingToken,
    watch::{Ear, LeaseState, LossReason, LossSignal, Lost},
};

/// What [`Lease::release`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "it was ours or it was not")]
pub enum Released {
    /// It was ours until now.
    Released,
    /// It had been lost before: others may have held the lock meanwhile.
    WasLost,
}

/// The hold of a named lock in a backend: as long as it lives and is not [lost](Self::lost), nobody
/// else holds the name, or in shared mode, nobody holds it exclusively.
///
/// Returned by [`Locks::lock_named`](crate::Locks::lock_named) and its variants. It is owned: it may be
/// kept in a struct, sent to another task or thread, and outlive its [`Locks`](crate::Locks).
///
/// # Releasing
///
/// Dropping it releases the name soon: the drop never blocks, never panics and needs no runtime, and
/// whether the backend has heard of it is not told. **[`release`](Self::release) is the only confirmed
/// way.** Bind a lease to a name: `let _ = locks.lock_named("vol-1").await?` releases at once.
///
/// # Losing
///
/// Unlike a guard, a lease can be lost while it is held: its lock file is deleted, its server
/// restarts. Then others may lock the name. Do the work in [`run`](Self::run), or watch
/// [`lost`](Self::lost), and give the [`fencing_token`](Self::fencing_token) to whatever is written to:
/// between a loss and its news lies some time, and only the store that is written to can refuse what
/// comes too late. For the tasks that use the same [`Locks`](crate::Locks) the name stays taken until the
/// lost lease is dropped or released, but for tries in shared mode, which ask the store at once. What each
/// backend guarantees, and how late a loss is told, is in
/// [`Capability`](crate::contract::Capability).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// use keyward::{Locks, Released};
///
/// let locks = Locks::connect("memory:").await?;
/// let lease = locks.lock_named("report").await?;
/// let written = lease.run(async { "the report" }).await?; // stops if the lease is lost
/// lease.ensure_held().await?; // asks the backend
/// assert_eq!(lease.release().await?, Released::Released);
/// # let _ = written;
/// # Ok(())
/// # }
/// ```
#[must_use = "if unused the lock is released at once"]
#[clippy::has_significant_drop]
pub struct Lease {
    held: Held,
    /// Made when somebody first asks for it.
    ear: OnceLock<Ear>,
    /// Dropped last, and then it tells of the release.
    holding: Holding,
}

impl Lease {
    pub(crate) fn new(name: LockName, backend: &'static str, held: Held) -> Self {
        Self { held, ear: OnceLock::new(), holding: Holding::begin(name, backend) }
    }

    /// The name that is held, prefix included.
    pub const fn name(&self) -> &LockName {
        &self.holding.name
    }

    /// The backend that it is held in, as its URL's scheme.
    pub const fn backend(&self) -> &'static str {
        self.holding.backend
    }

    /// The number to give to whatever is written to; see [`FencingToken`].
    ///
    /// `None` in shared mode, where there is no order to tell, and if the backend has no tokens or
    /// they are switched off.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.held.hold().token()
    }

    /// Until when the backend vouches for the lease without hearing from the store again; it moves
    /// on as long as the store answers.
    ///
    /// `None` if there is no such time, as for `memory:` and `file:`.
    pub fn valid_until(&self) -> Option<Instant> {
        self.held.hold().valid_until()
    }

    /// What the backend has last found, without asking it now.
    ///
    /// How old that may be is in [`Capability`](crate::contract::Capability::loss_told_within). The
    /// first call of this, [`lost`](Self::lost), [`run`](Self::run) or
    /// [`cancellation_token`](Self::cancellation_token) makes the backend look.
    pub fn state(&self) -> LeaseState {
        let signal = self.signal();
        if self.is_expired() {
            signal.lose(LossReason::Expired);
        }
        signal.state()
    }

    /// Whether the time until which it was vouched for is over. The backend says so too, but this
    /// process may have been stopped until now, and not have come to it.
    fn is_expired(&self) -> bool {
        self.valid_until().is_some_and(|until| until <= now())
    }

    /// Waits until the lease is lost, which it may never be.
    ///
    /// The future borrows nothing. Releasing the lease does not resolve it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// # async fn work() {}
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let lease = locks.lock_named("vol-1").await?;
    /// tokio::select! {
    ///     () = work() => {}
    ///     reason = lease.lost() => eprintln!("stopped: {reason}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) -> Lost {
        self.signal().lost()
    }

    /// A token that is cancelled when the lease is lost, for code that takes one.
    ///
    /// Cancelling it yourself tells nobody else.
    pub fn cancellation_token(&self) -> CancellationToken {
        self.signal().cancellation_token()
    }

    /// Asks the backend whether the lease is still held.
    ///
    /// The answer was true when the backend gave it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`Lost`](ErrorKind::Lost) if it is not, or if a loss has been told before;
    /// [`Unavailable`](ErrorKind::Unavailable) and the like if the backend does not answer.
    pub async fn ensure_held(&self) -> Result<(), Error> {
        self.still_held()?;
        self.held.hold().verify().await.map_err(|e| self.about(e))
    }

    /// The same without asking the backend.
    pub(crate) fn still_held(&self) -> Result<(), Error> {
        match self.state() {
            LeaseState::Held | LeaseState::Suspended => Ok(()),
            LeaseState::Lost(reason) => Err(self.lost_error(reason)),
        }
    }

    /// Releases the lock and waits for the backend to confirm it.
    ///
    /// With other tasks of this process in the queue, the lock may go to the first of them directly;
    /// that is a release as well.
    ///
    /// # Cancel safety
    ///
    /// The lock is released even if the future is dropped; then without confirmation.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) and the like if the backend did not confirm it. The
    /// lease is gone, and the name is free when the backend finds out.
    pub async fn release(self) -> Result<Released, Error> {
        let Self { held, ear, holding } = self;
        let Holding { name, backend, .. } = &holding;
        let released = held.release().await;
        // In one step: a loss that is being told meanwhile is told here as well, and logged once, by us or
        // by who tells it.
        let told = ear.get().is_some_and(Ear::close);
        match released {
            Ok(true) if !told => Ok(Released::Released),
            Ok(_) => {
                if !told {
                    let reason = LossReason::NotOwner;
                    observe::lost(name, backend, reason.label(), &reason);
                }
                Ok(Released::WasLost)
            }
            Err(e) => Err(e.with_name(name).with_backend(backend)),
        }
    }

    fn signal(&self) -> &LossSignal {
        &self.ear.get_or_init(|| self.held.hold().watch().ear(self.name(), self.backend())).0
    }

    pub(crate) fn lost_error(&self, reason: LossReason) -> Error {
        let message = format!("the lease was lost: {reason}");
        self.about(Error::new(ErrorKind::Lost).with_message(message))
    }

    fn about(&self, error: Error) -> Error {
        error.with_name(self.name()).with_backend(self.backend())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", self.name())
            .field("backend", &self.backend())
            .field("fencing_token", &self.fencing_token())
            .finish_non_exhaustive()
    }
}

/// The leases of several names, released together, the last one first.
///
/// Returned by [`Locks::lock_all`](crate::Locks::lock_all).
#[must_use = "if unused the locks are released at once"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Leases(Vec<Lease>);

impl Leases {
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, lease: Lease) {
        self.0.push(lease);
    }

    /// All of them, for somebody who can reach them by reference only.
    #[cfg(feature = "tower")]
    pub(crate) fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    pub(crate) fn as_slice(&self) -> &[Lease] {
        &self.0
    }

    /// The leases, in the order in which they were taken: sorted by the names that the
    /// backend knows them by, each lock once.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Lease> {
        self.0.iter()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, because no name was given.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until one of them is lost; see [`Lease::lost`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub fn lost(&self) -> Lost {
        Lost::any(self.0.iter().map(Lease::lost).collect())
    }

    /// Asks the backend whether all of them are still held; see [`Lease::ensure_held`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// Of the first that is not.
    pub async fn ensure_held(&self) -> Result<(), Error> {
        for lease in &self.0 {
            lease.ensure_held().await?;
        }
        Ok(())
    }

    /// Releases all of them, the last one first, and waits for the backend to confirm it.
    ///
    /// # Cancel safety
    ///
    /// The locks are released even if the future is dropped; then without confirmation.
    ///
    /// # Errors
    ///
    /// The first error; the others are released all the same.
    pub async fn release(mut self) -> Result<Released, Error> {
        // Begun in that order, and confirmed as the backend comes to it.
        let releases = std::mem::take(&mut self.0).into_iter().rev().map(Lease::release);
        let mut outcome = Ok(Released::Released);
        for released in join_all(releases).await {
            outcome = match (outcome, released) {
                (Err(first), _) => Err(first),
                (Ok(Released::WasLost), Ok(_)) => Ok(Released::WasLost),
                (Ok(_), this) => this,
            };
        }
        outcome
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}
