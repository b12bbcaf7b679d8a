//! `memory:`: names held in this process, for tests and for programs with one process.
//!
//! A [`LockRegistry`](crate::LockRegistry) behind the contract, so that code written for leases runs
//! without a store; tokens come from a counter of the process. A hold cannot be lost, unless a test
//! has asked for the [`MemoryFaults`] of the store.
//!
//! 1. What [`inspect`](Backend::inspect) tells of a holder stands in the registry's own copy of the name
//!    (`Entry`), which lives as long as the name is held: there is no second table to keep up to date.
//! 2. As long as nobody has asked for faults, they cost one look at whether somebody has.
#![forbid(unsafe_code)]

mod faults;

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

pub use self::faults::MemoryFaults;
use self::faults::{Faults, Takeable};

use crate::{
    contract::{Backend, Capability, Fencing, Hold, Mode, Occupancy, Owner, Request, Wait},
    error::Error,
    name::LockName,
    registry::{LockRegistry, NamedGuard, NamedReadGuard},
    sync::{AtomicU64, AtomicUsize},
    token::FencingToken,
    url::{self, BackendUrl},
    watch::LossSignal,
};

/// The tokens of all names: one counter, so that nothing is remembered of names that are free. Not by
/// `crate::sync`: it outlives the schedules of a model.
static TOKENS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// The stores that have a name, as long as somebody uses them.
static STORES: Mutex<Option<HashMap<String, Weak<Store>>>> = Mutex::new(None);

/// The backend of `memory:` URLs.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// use keyward::{Locks, memory::MemoryBackend};
///
/// let store = MemoryBackend::new();
/// let (one, two) = (Locks::builder().backend(store.clone()), Locks::builder().backend(store));
/// let _lease = one.lock_named("vol-1").await?;
/// assert!(two.try_lock_named("vol-1").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryBackend(Arc<Store>);

#[derive(Default)]
struct Store {
    names: LockRegistry<Entry>,
    /// Once somebody has asked for them.
    faults: OnceLock<Faults>,
}

/// A name in the registry, and who holds it now.
#[derive(Debug)]
struct Entry {
    name: Arc<[u8]>,
    /// Zero in shared mode, and as long as who has been granted the name does not know it yet.
    token: AtomicU64,
    /// In nanoseconds since 1970, of the first of several readers; zero as the token is.
    since: AtomicU64,
    /// How many readers there are.
    readers: AtomicUsize,
}

impl From<Arc<[u8]>> for Entry {
    fn from(name: Arc<[u8]>) -> Self {
        Self {
            name,
            token: AtomicU64::new(0),
            since: AtomicU64::new(0),
            readers: AtomicUsize::new(0),
        }
    }
}

impl Borrow<Arc<[u8]>> for Entry {
    fn borrow(&self) -> &Arc<[u8]> {
        &self.name
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Entry {}

impl std::hash::Hash for Entry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Entry {
    fn granted(&self, token: Option<FencingToken>) {
        if token.is_none() && self.readers.fetch_add(1, Relaxed) != 0 {
            return; // another reader was here first
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanos = now.as_secs().wrapping_mul(1_000_000_000) + u64::from(now.subsec_nanos());
        self.since.store(nanos, Relaxed);
        self.token.store(token.map_or(0, FencingToken::get), Relaxed);
    }

    /// The next one may already be granted the name when others look, and not know it yet.
    fn released(&self) {
        self.since.store(0, Relaxed);
        self.token.store(0, Relaxed);
    }

    fn owner(&self, mode: Mode) -> Owner {
        let (since, token) = (self.since.load(Relaxed), self.token.load(Relaxed));
        let after_1970 = |since| SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(since));
        Owner {
            pid: Some(std::process::id()),
            since: (since != 0).then_some(since).and_then(after_1970),
            token: (mode == Mode::Exclusive && token != 0).then(|| FencingToken::new(token)),
            ..Owner::default()
        }
    }
}

impl MemoryBackend {
    /// A store of its own; clones are the same store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store of that name, the same for everybody in this process who names it.
    pub fn named(name: &str) -> Self {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        let stores = stores.get_or_insert_default();
        stores.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = stores.get(name).and_then(Weak::upgrade) {
            return Self(store);
        }
        let store = Arc::default();
        stores.insert(name.to_owned(), Arc::downgrade(&store));
        Self(store)
    }

    /// The faults that can be made in this store, for tests of code that handles losses.
    ///
    /// They reach every hold that is granted in the store from now on, by whichever [`Locks`](crate::Locks)
    /// and URL. From the first call on, the store's [`capability`](crate::Locks::capability) is that of one
    /// whose holds can be lost.
    pub fn faults(&self) -> MemoryFaults {
        MemoryFaults::of(Arc::clone(&self.0))
    }

    fn hold(&self, guard: Guard) -> MemoryHold {
        let token = guard.granted();
        let kept = match self.0.faults.get() {
            None => Kept::Here(guard),
            Some(_) => Kept::InStore(Box::new(Takeable::new(&self.0, guard))),
        };
        MemoryHold { kept, token }
    }

    fn try_guard(&self, name: &LockName, mode: Mode) -> Option<Guard> {
        let (names, key) = (&self.0.names, name.shared_bytes());
        match mode {
            Mode::Exclusive => names.try_lock_named(key).ok().map(Guard::Exclusive),
            Mode::Shared => names.try_read_named(key).ok().map(Guard::Shared),
        }
    }

    pub(super) fn from_url(url: BackendUrl) -> Result<Self, Error> {
        let name = url::decode(url.rest())?;
        url.finish()?;
        Ok(if name.is_empty() { Self::new() } else { Self::named(&name) })
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryBackend").field(&self.0.names).finish()
    }
}

impl Backend for MemoryBackend {
    type Hold = MemoryHold;

    async fn acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Result<Option<MemoryHold>, Error> {
        if let Some(faults) = self.0.faults.get() {
            Box::pin(faults.asked(name)).await?;
        }
        let (names, key) = (&self.0.names, name.shared_bytes());
        let guard = match (request.mode, request.wait) {
            (_, Wait::No) => self.try_guard(name, request.mode),
            (Mode::Exclusive, _) => Some(Guard::Exclusive(names.lock_named(key).await)),
            (Mode::Shared, _) => Some(Guard::Shared(names.read_named(key).await)),
        };
        Ok(guard.map(|guard| self.hold(guard)))
    }

    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<MemoryHold>, Error>> {
        if let Some(faults) = self.0.faults.get()
            && let Err(e) = faults.asked_now(name)?
        {
            return Some(Err(e));
        }
        Some(Ok(self.try_guard(name, request.mode).map(|guard| self.hold(guard))))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("memory");
        capability.shared = true;
        capability.fair = true;
        capability.event_driven = true;
        capability.fencing = Fencing::Process;
        capability.loss_told_within = self.0.faults.get().map(|_| Duration::ZERO);
        capability
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        let held = self.0.names.look_at(name.shared_bytes(), |entry, exclusive| {
            let mode = if exclusive { Mode::Exclusive } else { Mode::Shared };
            Occupancy::Held { mode, owner: Some(entry.owner(mode)) }
        });
        Ok(held.unwrap_or(Occupancy::Free))
    }
}

/// A hold in a [`MemoryBackend`].
#[derive(Debug)]
pub struct MemoryHold {
    kept: Kept,
    token: Option<FencingToken>,
}

#[derive(Debug)]
enum Kept {
    Here(Guard),
    /// Where it can be taken away.
    InStore(Box<Takeable>),
}

#[derive(Debug)]
enum Guard {
    Exclusive(NamedGuard<Entry>),
    Shared(NamedReadGuard<Entry>),
}

impl Guard {
    fn name(&self) -> &Arc<[u8]> {
        match self {
            Self::Exclusive(guard) => &guard.name().name,
            Self::Shared(guard) => &guard.name().name,
        }
    }

    fn granted(&self) -> Option<FencingToken> {
        match self {
            Self::Exclusive(guard) => {
                let token = Some(FencingToken::new(TOKENS.fetch_add(1, Relaxed)));
                guard.name().granted(token);
                token
            }
            Self::Shared(guard) => {
                guard.name().granted(None);
                None
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match self {
            Self::Exclusive(guard) => guard.name().released(),
            Self::Shared(guard) => {
                guard.name().readers.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Hold for MemoryHold {
    async fn release(self) -> Result<bool, Error> {
        match self.kept {
            Kept::Here(guard) => {
                drop(guard);
                Ok(true)
            }
            // In a box, so that the others do not pay for its size.
            Kept::InStore(takeable) => Box::pin(takeable.release()).await,
        }
    }

    async fn verify(&self) -> Result<(), Error> {
        match &self.kept {
            Kept::Here(_) => Ok(()),
            Kept::InStore(takeable) => takeable.verify(),
        }
    }

    fn watch(&self) -> LossSignal {
        match &self.kept {
            Kept::Here(_) => LossSignal::new(),
            Kept::InStore(takeable) => takeable.signal(),
        }
    }

    fn token(&self) -> Option<FencingToken> {
        self.token
    }
}
