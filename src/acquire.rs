//! One acquisition of a lease: what was asked for, and the future that does it.
//!
//! What it takes to wait is in [`wait`], several names at once in [`several`].
#![forbid(unsafe_code)]

mod several;
mod wait;

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::FusedFuture;
use pin_project::pin_project;

use self::{
    several::begin_all,
    wait::{Asked, about, outcome, wait_for},
};
use crate::{
    boxed::Boxed,
    contract::{Mode, Wait},
    error::{Error, ErrorKind},
    handover::{Entered, Gate},
    lease::{Lease, Leases},
    name::LockName,
    observe, runtime,
    sync::time::{Instant, now},
};

/// A request for a lease ([`Locks::lock_named`](crate::Locks::lock_named)) or for several
/// ([`Locks::lock_all`](crate::Locks::lock_all)): await it, after saying how long it may wait.
///
/// Without more it waits for ever, exclusively. `.await` turns it into an
/// [`Acquiring`](crate::futures::Acquiring); to poll that by `&mut` in a `select!` loop, pin it:
/// `pin!(locks.lock_named("vol-1").into_future())`.
///
/// # Cancel safety
///
/// Dropping the future loses the place in the queue and nothing else, at every point: also when the
/// lock has just been granted to it.
///
/// # Errors
///
/// * [`WouldBlock`](ErrorKind::WouldBlock): held by somebody else, with [`blocking(false)`](Self::blocking).
/// * [`TimedOut`](ErrorKind::TimedOut): not to be had within the [`timeout`](Self::timeout).
/// * [`InvalidName`](ErrorKind::InvalidName): empty, or nothing that the backend can take.
/// * [`Unsupported`](ErrorKind::Unsupported): [`shared`](Self::shared) mode that the backend has not.
/// * [`Closed`](ErrorKind::Closed): the [`Locks`](crate::Locks) were closed, before or meanwhile.
/// * whatever the backend fails with: [`Unavailable`](ErrorKind::Unavailable),
///   [`ResourceLimit`](ErrorKind::ResourceLimit), [`StorageFull`](ErrorKind::StorageFull),
///   [`PermissionDenied`](ErrorKind::PermissionDenied), [`ReadOnly`](ErrorKind::ReadOnly).
///
/// # Panics
///
/// When it has to wait outside of a Tokio runtime, or in one whose time driver is not enabled.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// use std::time::Duration;
///
/// let locks = keyward::Locks::connect("memory:").await?;
/// let lease = locks.lock_named("vol-1").timeout(Duration::from_secs(5)).await?;
/// assert!(locks.lock_named("vol-1").blocking(false).await.is_err());
/// assert!(locks.lock_named("vol-2").shared().await.is_ok());
/// # drop(lease);
/// # Ok(())
/// # }
/// ```
#[must_use = "does nothing unless awaited"]
pub struct Acquire<L = Lease> {
    gate: Arc<Gate>,
    names: Names,
    mode: Mode,
    limit: Limit,
    blocking: bool,
    _lease: PhantomData<fn() -> L>,
}

enum Names {
    One(LockName),
    Many(Vec<LockName>),
}

/// When it is too late.
#[derive(Clone, Copy)]
enum Limit {
    Never,
    After(Duration),
    At(Instant),
}

impl Acquire<Lease> {
    pub(crate) const fn one(gate: Arc<Gate>, name: LockName) -> Self {
        Self::new(gate, Names::One(name))
    }
}

impl Acquire<Leases> {
    pub(crate) const fn many(gate: Arc<Gate>, names: Vec<LockName>) -> Self {
        Self::new(gate, Names::Many(names))
    }
}

impl<L> Acquire<L> {
    const fn new(gate: Arc<Gate>, names: Names) -> Self {
        let (mode, limit) = (Mode::Exclusive, Limit::Never);
        Self { gate, names, mode, limit, blocking: true, _lease: PhantomData }
    }

    /// Asks for a hold together with others who ask for the same.
    ///
    /// Nobody holds the name exclusively meanwhile; of several names, none of them. Where the backend is
    /// [fair](crate::Capability::fair), readers and writers queue together, so that neither starves the
    /// other.
    pub const fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// Limits the wait, counted from the first poll.
    ///
    /// The lock is tried once whatever the limit, so that [`Duration::ZERO`] is a try that fails with
    /// [`TimedOut`](ErrorKind::TimedOut); [`Duration::MAX`] waits for ever. It covers all names
    /// together. Of `timeout` and [`deadline`](Self::deadline) the one that was said last counts.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Limit::After(limit);
        self
    }

    /// Limits the wait to a point in time.
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.limit = Limit::At(deadline);
        self
    }

    /// Whether to wait at all; without, whatever the limit, a held lock is
    /// [`WouldBlock`](ErrorKind::WouldBlock) at once.
    pub const fn blocking(mut self, blocking: bool) -> Self {
        self.blocking = blocking;
        self
    }

    /// What it is called that the lock was not to be had.
    const fn refusal(&self) -> ErrorKind {
        if self.blocking { ErrorKind::TimedOut } else { ErrorKind::WouldBlock }
    }

    /// Whether a lock that is not free is not to be had, without looking at a clock.
    const fn is_try(&self) -> bool {
        !self.blocking || matches!(self.limit, Limit::After(Duration::ZERO))
    }

    fn wait(&self) -> Wait {
        if self.is_try() {
            return Wait::No;
        }
        match self.limit {
            Limit::Never | Limit::After(Duration::MAX) => Wait::Forever,
            // Tried once whatever the limit, also where the store does not answer in one poll: what
            // is late from the start is a try, as is the limit of zero.
            Limit::At(deadline) if deadline <= now() => Wait::No,
            Limit::At(deadline) => Wait::Until(deadline),
            // What overflows the clock is for ever as well.
            Limit::After(limit) => now().checked_add(limit).map_or(Wait::Forever, Wait::Until),
        }
    }
}

impl<L> Acquire<L>
where
    Self: IntoFuture<Output = Result<L, Error>>,
{
    /// Blocks the thread until it is decided: for callers that are not async.
    ///
    /// # Errors
    ///
    /// As the future has.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::blocking_connect("memory:")?;
    /// let lease = locks.lock_named("vol-1").shared().blocking_wait()?;
    /// # drop(lease);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn blocking_wait(self) -> Result<L, Error> {
        runtime::block_on(self.into_future())
    }
}

/// Of one name as of several, for code that takes either.
impl From<Acquire<Lease>> for Acquire<Leases> {
    fn from(one: Acquire<Lease>) -> Self {
        let Acquire { gate, names, mode, limit, blocking, _lease } = one;
        Self { gate, names, mode, limit, blocking, _lease: PhantomData }
    }
}

impl IntoFuture for Acquire<Lease> {
    type Output = Result<Lease, Error>;
    type IntoFuture = Acquiring<Lease>;

    fn into_future(self) -> Acquiring<Lease> {
        Acquiring { begin: Some((self, begin_one)), wait: None }
    }
}

impl IntoFuture for Acquire<Leases> {
    type Output = Result<Leases, Error>;
    type IntoFuture = Acquiring<Leases>;

    fn into_future(self) -> Acquiring<Leases> {
        Acquiring { begin: Some((self, begin_all)), wait: None }
    }
}

/// What the first poll has come to.
enum Begun<L> {
    Done(Result<L, Error>),
    Waits(Boxed<Result<L, Error>>),
}

type Begin<L> = fn(Acquire<L>, &mut Context<'_>) -> Begun<L>;

fn begin_one(acquire: Acquire<Lease>, cx: &mut Context<'_>) -> Begun<Lease> {
    let Names::One(name) = &acquire.names else {
        unreachable!("of several names there are several leases")
    };
    let gate = &acquire.gate;
    let key = match gate.key(name) {
        Ok(key) => key,
        Err(e) => return Begun::Done(Err(about(gate, name, e))),
    };
    let asked = Asked { gate, name, mode: acquire.mode };
    let begun = observe::clock();
    let entered = match acquire.mode {
        Mode::Exclusive => gate.enter_now(name, &key, !acquire.is_try(), cx),
        Mode::Shared => Entered::Later(None),
    };
    let held = match entered {
        Entered::Held(held) => Ok(held),
        Entered::Busy => Err(Error::new(acquire.refusal())),
        Entered::Failed(e) => Err(e),
        Entered::Later(turn) => {
            return Begun::Waits(Boxed::new(async move {
                let (wait, refusal) = (acquire.wait(), acquire.refusal());
                let Acquire { gate, names: Names::One(name), mode, .. } = &acquire else {
                    unreachable!("looked at above")
                };
                wait_for(Asked { gate, name, mode: *mode }, &key, wait, turn, refusal).await
            }));
        }
    };
    let lease = asked.settle(held);
    asked.observed().ended(begun, &outcome(&lease));
    Begun::Done(lease)
}

/// The future of an [`Acquire`]: of one lease, or of several.
///
/// It does nothing until it is polled, borrows nothing, and stays pending once it has returned its
/// result. Dropping it at any point loses the place in the queue and nothing else.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Acquiring<L = Lease> {
    /// What is asked for, until the first poll: a lock that is free costs no box.
    begin: Option<(Acquire<L>, Begin<L>)>,
    #[pin]
    wait: Option<Boxed<Result<L, Error>>>,
}

impl<L> Future for Acquiring<L> {
    type Output = Result<L, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some((acquire, begin)) = this.begin.take() {
            match begin(acquire, cx) {
                Begun::Done(outcome) => return Poll::Ready(outcome),
                Begun::Waits(wait) => this.wait.set(Some(wait)),
            }
        }
        let Some(wait) = this.wait.as_mut().as_pin_mut() else { return Poll::Pending };
        let outcome = ready!(wait.poll(cx));
        this.wait.set(None);
        Poll::Ready(outcome)
    }
}

impl<L> FusedFuture for Acquiring<L> {
    fn is_terminated(&self) -> bool {
        self.begin.is_none() && self.wait.is_none()
    }
}

impl<L> fmt::Debug for Acquiring<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquiring").finish_non_exhaustive()
    }
}

impl<L> fmt::Debug for Acquire<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = match &self.names {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        };
        f.debug_struct("Acquire")
            .field("names", &names)
            .field("mode", &self.mode)
            .field("blocking", &self.blocking)
            .finish_non_exhaustive()
    }
}
