//! Losses, errors and delays on demand, for tests of code that has to live with them.
//!
//! Once somebody has asked for the faults of a store, each hold's guard is kept there, and the hold has
//! the key to it ([`Takeable`]).
//!
//! 1. Whoever takes the guard out of the table ends the hold: its release, its drop, or
//!    [`MemoryFaults::lose`], which is never two of them.
//! 2. A loss is told before the guard is dropped, which is when others can have the name.
//! 3. Guards are dropped, and signals told, without our mutex: both wake tasks, which is foreign code.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use super::{Guard, Store};
use crate::{
    error::{Error, ErrorKind},
    name::LockName,
    sync::{Mutex, MutexGuard, lock, time::sleep},
    watch::{LeaseState, LossReason, LossSignal},
};

/// Makes the locks of a [`MemoryBackend`](super::MemoryBackend) fail: for tests of code that has to
/// live with losses, errors and slow stores.
///
/// Returned by [`MemoryBackend::faults`](super::MemoryBackend::faults). Clones are handles on the same
/// store, and so is whatever `MemoryBackend::named(name)` gives for the store of the URL `memory:name`:
/// a test can make faults under code that knows nothing but the URL.
///
/// Ask for it before the locks are taken: what was held before the first handle of a store was made is
/// out of its reach. Names are those that the store sees, prefixes included
/// ([`Locks::with_prefix`](crate::Locks::with_prefix)).
///
/// # Examples
///
/// A function that has to stop when it loses its lock, and the test that it does:
///
/// ```
/// use keyward::{Error, ErrorKind, Locks, LossReason, memory::MemoryBackend};
///
/// async fn report(locks: &Locks, work: impl Future<Output = u64>) -> Result<u64, Error> {
///     let lease = locks.lock_named("report").await?;
///     let lines = lease.run(work).await?; // stops when the lease is lost
///     lease.release().await?;
///     Ok(lines)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// let faults = MemoryBackend::named("reports").faults();
/// let locks = Locks::connect("memory:reports").await?;
///
/// let lost_half_way = async {
///     assert_eq!(faults.lose("report", LossReason::Expired), 1);
///     std::future::pending().await
/// };
/// let error = report(&locks, lost_half_way).await.unwrap_err();
/// assert!(error.is_lost());
///
/// faults.fail_next("report", Error::new(ErrorKind::Unavailable));
/// let error = report(&locks, async { 7 }).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(report(&locks, async { 7 }).await?, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryFaults(Arc<Store>);

impl MemoryFaults {
    pub(super) fn of(store: Arc<Store>) -> Self {
        store.faults.get_or_init(Faults::default);
        Self(store)
    }

    /// Takes the name away from everybody who holds it now, and returns how many that were: more than
    /// one if it is held in shared mode.
    ///
    /// As in a real store, the holders are told first, in every way there is, and from then on others
    /// can have the name. Tasks that use the same [`Locks`](crate::Locks) as a holder wait until it has
    /// dropped or released its lost lease; others get the name at once, with a larger token. A release that is under way
    /// ([`delay`](Self::delay)) finds that the lease was lost.
    ///
    /// A lock that has been granted to a task which has not been polled since is not held yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::{LeaseState, Locks, LossReason, Released, memory::MemoryBackend};
    ///
    /// let store = MemoryBackend::new();
    /// let faults = store.faults();
    /// let (locks, other) = (Locks::builder().backend(store.clone()), Locks::builder().backend(store));
    ///
    /// let lease = locks.lock_named("vol-1").await?;
    /// assert_eq!(faults.lose("vol-1", LossReason::Closed), 1);
    /// assert_eq!(lease.state(), LeaseState::Lost(LossReason::Closed));
    /// let next = other.try_lock_named("vol-1").await?;
    /// assert!(next.fencing_token() > lease.fencing_token());
    /// assert_eq!(lease.release().await?, Released::WasLost);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lose(&self, name: impl Into<LockName>, reason: LossReason) -> usize {
        let lost = self.faults().lock().holds.remove(name.into().shared_bytes());
        let lost = lost.unwrap_or_default();
        let news = LossSignal::lose_all(lost.iter().map(|hold| &hold.signal), reason); // 2
        let holds = lost.len();
        drop(lost); // and only then can others have the name
        news.log();
        holds
    }

    /// Lets the store not answer for the holds that the name has now, and returns how many that are.
    ///
    /// They are [`Suspended`](LeaseState::Suspended): nobody else can have the name, but
    /// [`ensure_held`](crate::Lease::ensure_held) and [`release`](crate::Lease::release) fail with
    /// [`Unavailable`](ErrorKind::Unavailable). The name is free after such a release all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::{LeaseState, Locks, memory::MemoryBackend};
    ///
    /// let store = MemoryBackend::new();
    /// let faults = store.faults();
    /// let lease = Locks::builder().backend(store).lock_named("vol-1").await?;
    /// faults.suspend("vol-1");
    /// assert_eq!(lease.state(), LeaseState::Suspended);
    /// faults.resume("vol-1");
    /// assert_eq!(lease.state(), LeaseState::Held);
    /// # Ok(())
    /// # }
    /// ```
    pub fn suspend(&self, name: impl Into<LockName>) -> usize {
        self.tell(&name.into(), LossSignal::suspend)
    }

    /// Lets the store answer again for the holds that the name has now, and returns how many that are.
    pub fn resume(&self, name: impl Into<LockName>) -> usize {
        self.tell(&name.into(), LossSignal::resume)
    }

    /// Lets the store fail the next time that it is asked for the name, once, also if the name is not
    /// free. Called again, the time after that fails as well.
    ///
    /// A wait that has been begun is not asked for again. The tasks of one [`Locks`](crate::Locks) ask
    /// one after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::{Error, ErrorKind, Locks, memory::MemoryBackend};
    ///
    /// let store = MemoryBackend::new();
    /// let full = Error::new(ErrorKind::StorageFull).with_message("no room for another lock");
    /// store.faults().fail_next("vol-1", full);
    /// let locks = Locks::builder().backend(store);
    /// let error = locks.lock_named("vol-1").await.unwrap_err();
    /// assert_eq!(error.to_string(), r#"no room for another lock (lock "vol-1", memory)"#);
    /// assert!(locks.lock_named("vol-1").await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_next(&self, name: impl Into<LockName>, error: Error) {
        let name = name.into();
        let key = Arc::clone(name.shared_bytes());
        self.faults().lock().failures.entry(key).or_default().push_back(error);
    }

    /// Lets the store take that long, from now on, before it does what an acquisition or a release asks
    /// for; [`Duration::ZERO`] ends it.
    ///
    /// By Tokio's clock, so that a test with a paused clock does not take that long. A drop, which waits
    /// for nothing, frees the name at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    /// use keyward::{Locks, memory::MemoryBackend};
    ///
    /// let store = MemoryBackend::new();
    /// store.faults().delay(Duration::from_secs(60));
    /// let locks = Locks::builder().backend(store);
    /// let late = locks.lock_named("vol-1").timeout(Duration::from_millis(1)).await.unwrap_err();
    /// assert!(late.is_timed_out());
    /// # }
    /// ```
    pub fn delay(&self, delay: Duration) {
        self.faults().lock().delay = delay;
    }

    fn faults(&self) -> &Faults {
        self.0.faults.get_or_init(Faults::default)
    }

    fn tell(&self, name: &LockName, tell: fn(&LossSignal)) -> usize {
        let table = self.faults().lock();
        let holds = table.holds.get(name.shared_bytes()).into_iter().flatten();
        let signals: Vec<_> = holds.map(|hold| hold.signal.clone()).collect();
        drop(table); // 3
        signals.iter().for_each(tell);
        signals.len()
    }
}

impl fmt::Debug for MemoryFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults().lock();
        f.debug_struct("MemoryFaults")
            .field("held", &faults.holds.len())
            .field("delay", &faults.delay)
            .finish_non_exhaustive()
    }
}

/// What a store keeps for its faults.
#[derive(Default)]
pub(super) struct Faults(Mutex<Table>);

#[derive(Default)]
struct Table {
    holds: HashMap<Arc<[u8]>, Vec<Live>>,
    failures: HashMap<Arc<[u8]>, VecDeque<Error>>,
    delay: Duration,
}

/// A hold that can be taken away.
struct Live {
    signal: LossSignal,
    _guard: Guard,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }

    /// Takes as long as it has to; an error if this is to fail.
    pub(super) async fn asked(&self, name: &LockName) -> Result<(), Error> {
        self.pass_time().await;
        self.lock().fail(name)
    }

    /// The same on the spot; `None` if it takes time.
    pub(super) fn asked_now(&self, name: &LockName) -> Option<Result<(), Error>> {
        let mut table = self.lock();
        table.delay.is_zero().then(|| table.fail(name))
    }

    async fn pass_time(&self) {
        let delay = self.lock().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }

    /// Ends the hold, unless it has been lost (1).
    fn take(&self, key: &[u8], signal: &LossSignal) -> Option<Live> {
        let mut table = self.lock();
        let holds = table.holds.get_mut(key)?;
        let position = holds.iter().position(|hold| hold.signal.is(signal))?;
        let hold = holds.swap_remove(position);
        if holds.is_empty() {
            table.holds.remove(key);
        }
        Some(hold)
    }
}

impl Table {
    fn fail(&mut self, name: &LockName) -> Result<(), Error> {
        let key = name.shared_bytes();
        let Some(errors) = self.failures.get_mut(key) else { return Ok(()) };
        let error = errors.pop_front();
        if errors.is_empty() {
            self.failures.remove(key);
        }
        error.map_or(Ok(()), Err)
    }
}

/// A hold whose guard is in the store, where it can be taken away. Dropping it frees the name.
pub(super) struct Takeable {
    store: Arc<Store>,
    key: Arc<[u8]>,
    signal: LossSignal,
}

impl Takeable {
    pub(super) fn new(store: &Arc<Store>, guard: Guard) -> Self {
        let (key, signal) = (Arc::clone(guard.name()), LossSignal::new());
        let this = Self { store: Arc::clone(store), key, signal };
        let kept = Live { signal: this.signal.clone(), _guard: guard };
        this.faults().lock().holds.entry(Arc::clone(&this.key)).or_default().push(kept);
        this
    }

    fn faults(&self) -> &Faults {
        self.store.faults.get_or_init(Faults::default)
    }

    /// Cancel-safe: dropped while the store takes its time, it frees the name.
    pub(super) async fn release(self) -> Result<bool, Error> {
        self.faults().pass_time().await;
        let suspended = self.signal.state() == LeaseState::Suspended;
        let ours = self.faults().take(&self.key, &self.signal).is_some();
        if ours && suspended { Err(unanswered()) } else { Ok(ours) }
    }

    pub(super) fn verify(&self) -> Result<(), Error> {
        match self.signal.state() {
            LeaseState::Held => Ok(()),
            LeaseState::Suspended => Err(unanswered()),
            LeaseState::Lost(_) => Err(Error::new(ErrorKind::Lost)),
        }
    }

    pub(super) fn signal(&self) -> LossSignal {
        self.signal.clone()
    }
}

impl Drop for Takeable {
    fn drop(&mut self) {
        drop(self.faults().take(&self.key, &self.signal));
    }
}

impl fmt::Debug for Takeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeable").field("state", &self.signal.state()).finish_non_exhaustive()
    }
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Unavailable).with_message("the store does not answer, as a test has it")
}
