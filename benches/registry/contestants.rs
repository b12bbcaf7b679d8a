//! Who is measured: keyward, the bare primitives, what people write by hand, and the published peers.

use std::{future::Future, hash::BuildHasher, sync::Arc, time::Duration};

use dashmap::DashMap;
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

/// One prebuilt key, in the forms that the contestants take.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) shared: Arc<str>,
}

/// The keys of a run, as many as most workloads want.
#[allow(dead_code, reason = "one of the benches wants more")]
pub(crate) fn keys() -> &'static [Key] {
    so_many_keys(100_000)
}

/// Keys: `vol-<uuid>`, from a fixed seed.
pub(crate) fn so_many_keys(count: usize) -> &'static [Key] {
    let mut state = 0x6b65_7977_6172_6421_u64;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let key = |_| {
        let (a, b) = (next(), next());
        let text = format!(
            "vol-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        assert_eq!(text.len(), 40);
        Key { shared: text.as_str().into(), text }
    };
    Vec::leak((0..count).map(key).collect())
}

/// A keyed lock, or what stands for one. All are leaked, so that guards may borrow for ever.
pub(crate) trait Contestant: Default + Send + Sync + 'static {
    const NAME: &'static str;
    type Guard: Send + 'static;

    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send;

    /// `None` if it has no such thing.
    fn try_lock(&'static self, _: &'static Key) -> Option<Option<Self::Guard>> {
        None
    }

    /// With a limit that is not reached; Tokio's timeout unless it has its own.
    fn lock_within(
        &'static self,
        key: &'static Key,
        limit: Duration,
    ) -> impl Future<Output = Option<Self::Guard>> + Send {
        let lock = tokio::time::timeout(limit, self.lock(key));
        async { lock.await.ok() }
    }

    /// Four keys at once, which its user sorts.
    fn lock_four(
        &'static self,
        keys: [&'static Key; 4],
    ) -> impl Future<Output = impl Send + 'static> + Send {
        async move {
            let mut keys = keys;
            keys.sort_unstable_by(|a, b| a.text.cmp(&b.text));
            let mut guards = Vec::with_capacity(4);
            for key in keys {
                guards.push(self.lock(key).await);
            }
            guards
        }
    }

    /// How many keys it still knows, if it can tell.
    fn len(&self) -> Option<usize> {
        None
    }
}

#[derive(Default)]
pub(crate) struct Keyward(pub(crate) keyward::LockRegistry<String>);

impl Contestant for Keyward {
    const NAME: &'static str = "keyward";
    type Guard = keyward::NamedGuard;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.lock_named(key.text.as_str())
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        Some(self.0.try_lock_named(key.text.as_str()).ok())
    }

    #[inline(always)]
    fn lock_within(
        &'static self,
        key: &'static Key,
        limit: Duration,
    ) -> impl Future<Output = Option<Self::Guard>> + Send {
        let lock = self.0.lock_named(key.text.as_str()).timeout(limit);
        async { lock.await.ok() }
    }

    #[inline(always)]
    fn lock_four(
        &'static self,
        keys: [&'static Key; 4],
    ) -> impl Future<Output = impl Send + 'static> + Send {
        self.0.lock_all(keys.map(|key| key.text.as_str()))
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// T: no key at all.
#[derive(Default)]
pub(crate) struct Bare(pub(crate) [Mutex<()>; 4]);

impl Contestant for Bare {
    const NAME: &'static str = "tokio Mutex, no key (T)";
    type Guard = MutexGuard<'static, ()>;

    #[inline(always)]
    fn lock(&'static self, _: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0[0].lock()
    }

    #[inline(always)]
    fn try_lock(&'static self, _: &'static Key) -> Option<Option<Self::Guard>> {
        Some(self.0[0].try_lock().ok())
    }

    #[inline(always)]
    async fn lock_four(&'static self, _: [&'static Key; 4]) -> impl Send + 'static {
        let [a, b, c, d] = &self.0;
        [a.lock().await, b.lock().await, c.lock().await, d.lock().await]
    }
}

/// One hash, then one of 4,096 mutexes: inexact, two keys may share one.
pub(crate) struct Striped(foldhash::fast::FixedState, Box<[Mutex<()>]>);

impl Default for Striped {
    fn default() -> Self {
        let stripes = (0..4096).map(|_| Mutex::new(())).collect();
        Self(foldhash::fast::FixedState::with_seed(7), stripes)
    }
}

impl Striped {
    #[inline(always)]
    fn stripe(&self, key: &Key) -> &Mutex<()> {
        &self.1[self.0.hash_one(key.text.as_str()) as usize % 4096]
    }
}

impl Contestant for Striped {
    const NAME: &'static str = "1 hash + tokio Mutex, 4096 stripes";
    type Guard = MutexGuard<'static, ()>;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.stripe(key).lock()
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        Some(self.stripe(key).try_lock().ok())
    }
}

type Map = DashMap<String, Arc<Mutex<()>>>;

fn entry(map: &Map, key: &Key) -> Arc<Mutex<()>> {
    if let Some(found) = map.get(key.text.as_str()) {
        return found.clone();
    }
    map.entry(key.text.clone()).or_default().clone()
}

/// What people write first: it never forgets a key.
#[derive(Default)]
pub(crate) struct Leaking(Map);

impl Contestant for Leaking {
    const NAME: &'static str = "DashMap of Arc<Mutex>, leaks";
    type Guard = OwnedMutexGuard<()>;

    #[inline(always)]
    async fn lock(&'static self, key: &'static Key) -> Self::Guard {
        entry(&self.0, key).lock_owned().await
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        Some(entry(&self.0, key).try_lock_owned().ok())
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// What people write next: the entry goes when nobody but the map has it.
#[derive(Default)]
pub(crate) struct Cleaned(Map);

pub(crate) struct CleanedGuard {
    locks: &'static Cleaned,
    key: &'static Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for CleanedGuard {
    fn drop(&mut self) {
        drop(self.guard.take());
        self.locks.0.remove_if(self.key.text.as_str(), |_, lock| Arc::strong_count(lock) == 1);
    }
}

impl Contestant for Cleaned {
    const NAME: &'static str = "DashMap of Arc<Mutex>, cleaned";
    type Guard = CleanedGuard;

    #[inline(always)]
    async fn lock(&'static self, key: &'static Key) -> Self::Guard {
        // Its own statement, or the map's shard stays locked across the await.
        let lock = self.0.entry(key.text.clone()).or_default().clone();
        let guard = lock.lock_owned().await;
        CleanedGuard { locks: self, key, guard: Some(guard) }
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        let lock = self.0.entry(key.text.clone()).or_default().clone();
        let guard = lock.try_lock_owned().ok();
        Some(guard.map(|guard| CleanedGuard { locks: self, key, guard: Some(guard) }))
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

#[derive(Default)]
pub(crate) struct Amalgam(amalgam::locking::KeyedLock);

impl Contestant for Amalgam {
    const NAME: &'static str = "amalgam-cache KeyedLock 0.4";
    type Guard = amalgam::locking::KeyGuard;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.lock(&key.text)
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        Some(self.0.try_lock(&key.text))
    }
}

#[derive(Default)]
pub(crate) struct Lockable(lockable::LockPool<Arc<str>>);

impl Contestant for Lockable {
    const NAME: &'static str = "lockable 0.2, Arc<str>";
    type Guard = <lockable::LockPool<Arc<str>> as lockable::Lockable<Arc<str>, ()>>::Guard<'static>;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.async_lock(key.shared.clone())
    }

    #[inline(always)]
    fn try_lock(&'static self, key: &'static Key) -> Option<Option<Self::Guard>> {
        Some(self.0.try_lock(key.shared.clone()))
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.num_locked())
    }
}

pub(crate) struct KeyedLock(keyed_lock::r#async::KeyedLock<Arc<str>>);

impl Default for KeyedLock {
    fn default() -> Self {
        Self(keyed_lock::r#async::KeyedLock::new())
    }
}

impl Contestant for KeyedLock {
    const NAME: &'static str = "keyed-lock 0.2, Arc<str>";
    type Guard = keyed_lock::r#async::Guard<'static, Arc<str>>;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.lock(key.shared.clone())
    }
}

#[derive(Default)]
pub(crate) struct KeyLock(key_lock::KeyLock<String>);

impl Contestant for KeyLock {
    const NAME: &'static str = "key-lock 0.1";
    type Guard = OwnedMutexGuard<()>;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.lock(key.text.clone())
    }
}

#[derive(Default)]
pub(crate) struct NamedLocker;

impl Contestant for NamedLocker {
    const NAME: &'static str = "async-named-locker 0.1";
    type Guard = async_named_locker::Locker;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        async_named_locker::Locker::get_locker(key.text.as_str())
    }
}

#[derive(Default)]
pub(crate) struct KeyMutex(key_mutex::tokio::KeyMutex<String, ()>);

impl Contestant for KeyMutex {
    const NAME: &'static str = "key-mutex 0.1";
    type Guard = key_mutex::tokio::OwnedMutexGuard<String, ()>;

    #[inline(always)]
    fn lock(&'static self, key: &'static Key) -> impl Future<Output = Self::Guard> + Send {
        self.0.lock(key.text.clone())
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The floor of the workloads that spawn and yield: the same with no lock at all.
#[derive(Default)]
pub(crate) struct NoLock;

impl Contestant for NoLock {
    const NAME: &'static str = "no lock (floor)";
    type Guard = ();

    #[inline(always)]
    async fn lock(&'static self, _: &'static Key) {}

    #[inline(always)]
    async fn lock_four(&'static self, _: [&'static Key; 4]) -> impl Send + 'static {}
}
