//! Named locks among the tasks of one process.
//!
//! | file         | what it is                                                                   |
//! |--------------|------------------------------------------------------------------------------|
//! | `mod.rs`     | [`LockRegistry`]: the verbs and their docs                                   |
//! | `futures.rs` | the named futures                                                            |
//! | `blocking.rs`| the same for callers that are not async                                      |
//! | `guard.rs`   | the guards                                                                   |
//! | `wait.rs`    | one wait: the state machine behind every future                              |
//! | `ask.rs`     | a handle of the table, and a request for one key                             |
//! | `table.rs`   | which keys are held: slots and lifetime; the lock-free protocol              |
//! | `shard.rs`   | the slow half of the table: keys behind a mutex                              |
//! | `queue.rs`   | who holds one key and who waits: FIFO, shared mode, hand-over, cancel        |
//! | `node.rs`    | the memory of one held key, and its recycling                                |
//! | `key.rs`     | borrowed and owned keys                                                      |
//! | `stall.rs`   | debug builds: *still waiting for …*                                          |
//!
//! This is one of the two rooms of the crate where `unsafe` may stand; DESIGN.md has the figures that
//! pay for it and how it is proved. Each engine file starts with its numbered invariants.
#![allow(unsafe_code, reason = "measured: half the time of the safe design; see DESIGN.md")]

mod ask;
#[cfg(not(keyward_loom))]
mod blocking;
pub(crate) mod futures;
mod guard;
mod key;
mod node;
mod queue;
mod shard;
mod stall;
mod table;
mod wait;

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    panic::{RefUnwindSafe, UnwindSafe},
};

use self::{
    ask::{Ask, Handle},
    futures::{LockAll, LockNamed, ReadNamed},
    queue::{Mode, Queue},
    wait::Wait,
};
pub use self::{
    guard::{NamedGuard, NamedGuards, NamedReadGuard},
    key::ToKey,
};
use crate::{error::TryLockError, hash::RandomState};

/// Asynchronous locks, one for each key, made when they are asked for and gone when they are free.
///
/// A registry is what a `HashMap<K, Arc<tokio::sync::Mutex<()>>>` would be if it cleaned up after
/// itself, never raced while doing so, and cost less than one bare `tokio::sync::Mutex`. It locks
/// names, not data: put the data where you like and agree on the name.
///
/// * **Fair.** Whoever asks first gets the key first, exactly: a release hands the key to the first
///   in the queue, and nobody overtakes, `try_lock_named` included. Shared and exclusive requests
///   stand in one queue, so that neither starves the other.
/// * **Cancel-safe.** Dropping a future loses the place in the queue and nothing else, also when the
///   lock has just been handed to it.
/// * **Nothing is left over.** A key that nobody holds or waits for takes no memory, at once. What is
///   kept for reuse is bounded: 32 nodes a thread (10 KB at most), and about 300 bytes in each of 32
///   shards. An empty registry takes 12.4 KB.
/// * **Any runtime.** Waiting needs no runtime at all; only [timeouts](LockNamed::timeout) need Tokio's
///   clock.
///
/// The handle is cheap to clone; clones are the same registry. Two registries made by
/// [`new`](Self::new) are two namespaces. A guard may outlive every handle.
///
/// `K` is the owned form of the keys, and each call takes any borrowed form of it, as `HashMap::get`
/// does. With `String` keys, locking does not allocate in the steady state, whether the key is new,
/// free, or held.
///
/// # When not to use it
///
/// To protect data that has one owner, use `tokio::sync::Mutex`, or a `std::sync::Mutex` if nothing
/// is awaited while holding it. A registry does not reach beyond its process.
///
/// # Deadlocks
///
/// Locks are not re-entrant: a task that locks a key it already holds waits for ever, as with Tokio's
/// mutex. So do two tasks that lock two keys in opposite orders; take several keys with
/// [`lock_all`](Self::lock_all). And so does a queue behind a future that has been polled and is then
/// neither polled nor dropped (see [`futures`](crate::futures)). In debug builds, a wait of more than 5 s is reported
/// through `tracing` with where the key was locked, since when, and how many are queued; and
/// [`holders`](Self::holders) and [`waiters`](Self::waiters) tell at any time.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use keyward::LockRegistry;
///
/// let volumes = LockRegistry::<String>::new();
///
/// let guard = volumes.lock_named("vol-42").await;
/// assert!(volumes.try_lock_named("vol-42").is_err());
/// assert!(volumes.try_lock_named("vol-43").is_ok());
/// drop(guard);
/// assert!(volumes.is_empty());
/// # }
/// ```
pub struct LockRegistry<K: 'static = String, S = RandomState> {
    handle: Handle<K>,
    hasher: S,
}

impl<K: Hash + Eq> LockRegistry<K> {
    /// A new, empty registry: a namespace of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// let by_name = keyward::LockRegistry::<String>::new();
    /// let by_tenant = keyward::LockRegistry::<(u32, String)>::new();
    /// assert!(by_name.is_empty() && by_tenant.is_empty());
    /// ```
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }
}

impl<K: Hash + Eq, S: BuildHasher> LockRegistry<K, S> {
    /// A new, empty registry that hashes its keys with `hasher`.
    ///
    /// # Examples
    ///
    /// ```
    /// // Keys chosen by strangers who can measure: std's SipHash.
    /// let hasher = std::hash::RandomState::new();
    /// let names = keyward::LockRegistry::<String, _>::with_hasher(hasher);
    /// assert!(names.try_lock_named("vol-1").is_ok());
    /// ```
    pub fn with_hasher(hasher: S) -> Self {
        Self { handle: Handle::new(), hasher }
    }

    /// Waits until the key is free, and holds it.
    ///
    /// The wait cannot fail. The guard holds the key exclusively until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else. In a `select!` loop, poll
    /// one future by `&mut` to keep the place; see [`futures`](crate::futures).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let id = 42;
    /// let guard = registry.lock_named(&format!("vol-{id}")).await;
    /// assert_eq!(guard.name(), "vol-42");
    /// # }
    /// ```
    #[inline(always)] // a future that is built in a call is copied out of it, which costs 8 ns of 12
    #[track_caller]
    pub fn lock_named<'a, Q>(&'a self, key: &'a Q) -> LockNamed<'a, K, Q>
    where
        Q: ToKey<K> + ?Sized,
    {
        LockNamed::new(Wait::new(self.ask(key, Mode::Exclusive)))
    }

    /// Waits until nobody holds the key exclusively, and holds it together with other readers.
    ///
    /// The wait cannot fail. Readers that come after a waiting writer wait behind it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let _one = registry.read_named("catalogue").await;
    /// let _two = registry.read_named("catalogue").await;
    /// assert_eq!(registry.holders("catalogue"), 2);
    /// # }
    /// ```
    #[inline(always)] // a future that is built in a call is copied out of it, which costs 8 ns of 12
    #[track_caller]
    pub fn read_named<'a, Q>(&'a self, key: &'a Q) -> ReadNamed<'a, K, Q>
    where
        Q: ToKey<K> + ?Sized,
    {
        ReadNamed::new(Wait::new(self.ask(key, Mode::Shared)))
    }

    /// Holds the key exclusively if that takes no wait.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the key is held, in whatever mode, or has just been handed to a waiter.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), keyward::TryLockError> {
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let _guard = registry.try_lock_named("vol-1")?;
    /// assert!(registry.try_lock_named("vol-1").is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn try_lock_named<Q>(&self, key: &Q) -> Result<NamedGuard<K>, TryLockError>
    where
        Q: ToKey<K> + ?Sized,
    {
        let ask = self.ask(key, Mode::Exclusive);
        match ask.claim_fast() {
            // SAFETY: an exclusive hold, and ours.
            Some(node) => Ok(unsafe { NamedGuard::new(node) }),
            // SAFETY: as above.
            None => try_slow(&ask).map(|node| unsafe { NamedGuard::new(node) }),
        }
    }

    /// Holds the key together with other readers if that takes no wait.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the key is held exclusively, or somebody is queued for it: a try does not
    /// overtake a waiting writer.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), keyward::TryLockError> {
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let _one = registry.try_read_named("catalogue")?;
    /// let _two = registry.try_read_named("catalogue")?;
    /// assert!(registry.try_lock_named("catalogue").is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn try_read_named<Q>(&self, key: &Q) -> Result<NamedReadGuard<K>, TryLockError>
    where
        Q: ToKey<K> + ?Sized,
    {
        let ask = self.ask(key, Mode::Shared);
        match ask.claim_fast() {
            // SAFETY: a shared hold, and ours.
            Some(node) => Ok(unsafe { NamedReadGuard::new(node) }),
            // SAFETY: as above.
            None => try_slow(&ask).map(|node| unsafe { NamedReadGuard::new(node) }),
        }
    }

    /// Waits until every one of the keys is held.
    ///
    /// The keys are sorted, each is taken once, and they are locked one after the other in that order:
    /// two callers with the same keys in different orders do not deadlock. While it waits for one key
    /// it holds those before. The guards are released together, the last one first. An empty list is
    /// ready at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future releases what it holds and loses the place in the queue, and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let pair = registry.lock_all(["vol-7", "vol-3", "vol-7"]).await;
    /// assert!(pair.names().eq(["vol-3", "vol-7"]));
    /// # }
    /// ```
    #[track_caller]
    pub fn lock_all<'a, Q, I>(&'a self, keys: I) -> LockAll<'a, K, Q>
    where
        I: IntoIterator<Item = &'a Q>,
        Q: ToKey<K> + Ord + ?Sized,
    {
        let mut keys: Vec<&Q> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut waits = Vec::with_capacity(keys.len());
        for key in keys {
            waits.push(self.lock_named(key));
        }
        LockAll::new(waits)
    }

    /// How many guards hold the key now: 0, 1, or the number of readers.
    ///
    /// For people and tests to look at; it may be out of date when it is returned. A lock that has
    /// been handed to a waiter counts from that moment, taken or not.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// assert_eq!(registry.holders("vol-1"), 0);
    /// let _guard = registry.try_lock_named("vol-1");
    /// assert_eq!(registry.holders("vol-1"), 1);
    /// ```
    pub fn holders<Q>(&self, key: &Q) -> usize
    where
        Q: ToKey<K> + ?Sized,
    {
        self.look(key, |queue| queue.holders())
    }

    /// How many futures are queued for the key now.
    ///
    /// For people and tests to look at; it may be out of date when it is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::FutureExt;
    ///
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let _guard = registry.try_lock_named("vol-1");
    /// let mut wait = Box::pin(registry.lock_named("vol-1"));
    /// assert!((&mut wait).now_or_never().is_none());
    /// assert_eq!(registry.waiters("vol-1"), 1);
    /// drop(wait);
    /// assert_eq!(registry.waiters("vol-1"), 0);
    /// ```
    pub fn waiters<Q>(&self, key: &Q) -> usize
    where
        Q: ToKey<K> + ?Sized,
    {
        self.look(key, |queue| queue.queued())
    }

    /// Looks at the registry's own copy of a key that is held, and at whether it is held exclusively.
    ///
    /// It runs under a mutex of the registry, which it must not call.
    #[cfg(not(keyward_loom))]
    pub(crate) fn look_at<Q, R>(&self, key: &Q, f: impl FnOnce(&K, bool) -> R) -> Option<R>
    where
        Q: ToKey<K> + ?Sized,
    {
        let ask = self.ask(key, Mode::Exclusive);
        let name = ask.whole_name();
        let held = self.handle.table().find(&ask, name.as_ref())?;
        let (holders, shared) = held.look(|queue| (queue.holders(), queue.is_shared()));
        (holders > 0).then(|| f(held.key(), !shared))
    }

    fn look<Q>(&self, key: &Q, f: impl FnOnce(&mut Queue) -> usize) -> usize
    where
        Q: ToKey<K> + ?Sized,
    {
        let ask = self.ask(key, Mode::Exclusive);
        let name = ask.whole_name();
        let found = self.handle.table().find(&ask, name.as_ref());
        found.map_or(0, |held| held.look(f))
    }

    #[inline(always)]
    #[track_caller]
    fn ask<'a, Q>(&'a self, key: &'a Q, mode: Mode) -> Ask<'a, K, Q>
    where
        Q: ToKey<K> + ?Sized,
    {
        Ask::new(&self.handle, &self.hasher, key, mode)
    }
}

impl<K, S> LockRegistry<K, S> {
    /// How many keys are held now.
    ///
    /// It reads the whole registry (1,024 words) and is not a snapshot while others lock and release.
    /// At rest it is exact.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let guard = registry.try_lock_named("vol-1");
    /// assert_eq!(registry.len(), 1);
    /// drop(guard);
    /// assert_eq!(registry.len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.handle.table().len()
    }

    /// Whether no key is held now; see [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: Clone> LockRegistry<String, S> {
    /// A handle of the same registry that puts `prefix` before every name.
    ///
    /// `registry.with_prefix("cinder-").lock_named("LIN")` and `registry.lock_named("cinder-LIN")` are
    /// one lock, and [`NamedGuard::name`] is the whole name. Prefixes add up.
    /// [`len`](LockRegistry::len) counts the whole registry.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let cinder = registry.with_prefix("cinder-");
    /// let _guard = cinder.try_lock_named("LIN");
    /// assert!(registry.try_lock_named("cinder-LIN").is_err());
    /// assert!(registry.try_lock_named("LIN").is_ok());
    /// ```
    pub fn with_prefix(&self, prefix: impl AsRef<str>) -> Self {
        let handle = self.handle.with_prefix(prefix.as_ref());
        Self { handle, hasher: self.hasher.clone() }
    }
}

/// The rest of a try whose bucket was not free.
#[cold]
fn try_slow<K, Q>(ask: &Ask<'_, K, Q>) -> Result<std::ptr::NonNull<node::Node<K>>, TryLockError>
where
    K: Eq,
    Q: ToKey<K> + ?Sized,
{
    let mut ready = ask.whole_name();
    let claim = ask.handle.table().claim(ask, &mut ready);
    claim.map_err(|_held| TryLockError::would_block())
}

impl<K, S: Clone> Clone for LockRegistry<K, S> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), hasher: self.hasher.clone() }
    }
}

impl<K: Hash + Eq, S: BuildHasher + Default> Default for LockRegistry<K, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, S> fmt::Debug for LockRegistry<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockRegistry")
            .field("held", &self.len())
            .field("prefix", &self.handle.prefix())
            .finish_non_exhaustive()
    }
}

impl<K: RefUnwindSafe, S: UnwindSafe> UnwindSafe for LockRegistry<K, S> {}
impl<K: RefUnwindSafe, S: RefUnwindSafe> RefUnwindSafe for LockRegistry<K, S> {}
