//! One acquisition of a lease: what was asked for, and the future that does it.
//!
//! The clock is read only once a first poll has found that there is a wait. From then on the wait is
//! polled together with its deadline, the closing of its [`Locks`](crate::Locks), and the alarm that
//! says *still waiting for …* after [`FIRST_WARNING`] and then each time the wait has doubled.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::FusedFuture;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    boxed::Boxed,
    contract::{Mode, Occupancy, Wait},
    error::{Error, ErrorKind},
    handover::{Gate, Held},
    lease::{Lease, Leases},
    name::LockName,
    runtime,
};

/// How long a wait is before the first warning.
const FIRST_WARNING: Duration = Duration::from_secs(5);

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

    /// Asks for a hold together with others who ask for the same.
    ///
    /// Nobody holds the name exclusively meanwhile. Readers and writers queue together, so that
    /// neither starves the other.
    pub const fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
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

    fn wait(&self) -> Wait {
        if !self.blocking {
            return Wait::No;
        }
        match self.limit {
            Limit::Never | Limit::After(Duration::MAX) => Wait::Forever,
            // Tried once whatever the limit, also where the store does not answer in one poll: what
            // is late from the start is a try.
            Limit::After(Duration::ZERO) => Wait::No,
            Limit::At(deadline) if deadline <= Instant::now() => Wait::No,
            Limit::At(deadline) => Wait::Until(deadline),
            // What overflows the clock is for ever as well.
            Limit::After(limit) => {
                Instant::now().checked_add(limit).map_or(Wait::Forever, Wait::Until)
            }
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

impl IntoFuture for Acquire<Lease> {
    type Output = Result<Lease, Error>;
    type IntoFuture = Acquiring<Lease>;

    fn into_future(self) -> Acquiring<Lease> {
        let run = async move {
            let (wait, refusal) = (self.wait(), self.refusal());
            match self.names {
                Names::One(name) => acquire(&self.gate, name, self.mode, wait, refusal).await,
                Names::Many(_) => unreachable!("of several names there are several leases"),
            }
        };
        Acquiring(Boxed::new(run))
    }
}

impl IntoFuture for Acquire<Leases> {
    type Output = Result<Leases, Error>;
    type IntoFuture = Acquiring<Leases>;

    fn into_future(self) -> Acquiring<Leases> {
        let run = async move {
            let (wait, refusal) = (self.wait(), self.refusal());
            let mut leases = Leases::none();
            let names = match self.names {
                Names::One(name) => vec![name],
                Names::Many(names) => distinct(&self.gate, names)?,
            };
            for name in names {
                leases.push(acquire(&self.gate, name, self.mode, wait, refusal).await?);
            }
            Ok(leases)
        };
        Acquiring(Boxed::new(run))
    }
}

/// The names in locking order, and of those that are one lock only the first.
///
/// The order is that of the native keys: names that are one lock to the store may be sorted
/// differently among others, and then two callers would take the same locks in opposite orders.
fn distinct(gate: &Gate, names: Vec<LockName>) -> Result<Vec<LockName>, Error> {
    let mut keyed = Vec::with_capacity(names.len());
    for name in names {
        let key = gate.key(&name).map_err(|e| about(gate, &name, e))?;
        keyed.push((key.into_owned(), name));
    }
    keyed.sort();
    keyed.dedup_by(|next, kept| next.0 == kept.0);
    Ok(keyed.into_iter().map(|(_, name)| name).collect())
}

fn about(gate: &Gate, name: &LockName, error: Error) -> Error {
    error.with_name(name).with_backend(gate.label)
}

async fn acquire(
    gate: &Arc<Gate>,
    name: LockName,
    mode: Mode,
    wait: Wait,
    refusal: ErrorKind,
) -> Result<Lease, Error> {
    let held = held(gate, &name, mode, wait).await;
    match held.and_then(|held| held.ok_or_else(|| Error::new(refusal))) {
        Ok(held) => {
            tracing::debug!(lock.name = ?name, lock.backend = gate.label, "acquired");
            Ok(Lease::new(name, gate.label, held))
        }
        Err(error) => Err(about(gate, &name, error)),
    }
}

/// `None` if it was not to be had within the wait.
async fn held(
    gate: &Arc<Gate>,
    name: &LockName,
    mode: Mode,
    wait: Wait,
) -> Result<Option<Held>, Error> {
    let key = gate.key(name)?;
    let mut enter = pin!(gate.enter(name, key.clone(), mode, wait));
    let first = std::future::poll_fn(|cx| Poll::Ready(enter.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(outcome) => outcome,
        Poll::Pending if wait == Wait::No => enter.await,
        Poll::Pending => {
            let mut late = pin!(late(wait));
            let mut closed = pin!(gate.closed.cancelled());
            let mut warnings = pin!(warnings(gate, name, &key));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(outcome) = enter.as_mut().poll(cx) {
                    return Poll::Ready(outcome);
                }
                if late.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                if closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Error::new(ErrorKind::Closed)));
                }
                warnings.as_mut().poll(cx).map(|never| match never {})
            })
            .await
        }
    }
}

async fn late(wait: Wait) {
    match wait {
        Wait::Until(deadline) => sleep_until(deadline).await,
        Wait::No | Wait::Forever => std::future::pending().await,
    }
}

/// Says whom we are waiting for, now and then.
async fn warnings(gate: &Gate, name: &LockName, key: &[u8]) -> std::convert::Infallible {
    let (since, mut pause) = (Instant::now(), FIRST_WARNING);
    loop {
        sleep(pause).await;
        let owner = match gate.backend.inspect(name).await {
            Ok(Occupancy::Held { owner: Some(owner), .. }) => owner.to_string(),
            Ok(Occupancy::Held { owner: None, .. }) => "somebody".to_owned(),
            Ok(Occupancy::Free) => "nobody now".to_owned(),
            Err(error) => format!("somebody: {error}"),
        };
        tracing::warn!(
            lock.name = ?name,
            lock.backend = gate.label,
            waited = ?since.elapsed(),
            owner,
            queued = gate.waiters(key),
            "still waiting for a named lock"
        );
        pause = since.elapsed();
    }
}

/// The future of an [`Acquire`]: of one lease, or of several.
///
/// It does nothing until it is polled, borrows nothing, and stays pending once it has returned its
/// result. Dropping it at any point loses the place in the queue and nothing else.
#[must_use = "futures do nothing unless polled"]
pub struct Acquiring<L = Lease>(Boxed<Result<L, Error>>);

impl<L> Future for Acquiring<L> {
    type Output = Result<L, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl<L> FusedFuture for Acquiring<L> {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
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
