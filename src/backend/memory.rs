//! `memory:`: names held in this process, for tests and for programs with one process.
//!
//! A [`LockRegistry`](crate::LockRegistry) behind the contract, so that code written for leases runs
//! without a store. A hold cannot be lost; tokens come from a counter of the process.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    contract::{Backend, Capability, Fencing, Hold, Mode, Occupancy, Owner, Request, Wait},
    error::Error,
    name::LockName,
    registry::{LockRegistry, NamedGuard, NamedReadGuard},
    token::FencingToken,
    url::{self, BackendUrl},
    watch::LossSignal,
};

/// The tokens of all names: one counter, so that nothing is remembered of names that are free.
static TOKENS: AtomicU64 = AtomicU64::new(1);

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
    names: LockRegistry<Arc<[u8]>>,
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

    fn try_guard(&self, name: &LockName, mode: Mode) -> Option<Guard> {
        let (names, key) = (&self.0.names, &name.share());
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
        let (names, key) = (&self.0.names, &name.share());
        let guard = match (request.mode, request.wait) {
            (_, Wait::No) => self.try_guard(name, request.mode),
            (Mode::Exclusive, _) => Some(Guard::Exclusive(names.lock_named(key).await)),
            (Mode::Shared, _) => Some(Guard::Shared(names.read_named(key).await)),
        };
        Ok(guard.map(MemoryHold::new))
    }

    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<MemoryHold>, Error>> {
        Some(Ok(self.try_guard(name, request.mode).map(MemoryHold::new)))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("memory");
        capability.shared = true;
        capability.fair = true;
        capability.event_driven = true;
        capability.fencing = Fencing::Process;
        capability
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        let Some(exclusive) = self.0.names.is_exclusive(name.as_bytes()) else {
            return Ok(Occupancy::Free);
        };
        let mode = if exclusive { Mode::Exclusive } else { Mode::Shared };
        let owner = Owner { pid: Some(std::process::id()), ..Owner::default() };
        Ok(Occupancy::Held { mode, owner: Some(owner) })
    }
}

/// A hold in a [`MemoryBackend`].
#[derive(Debug)]
pub struct MemoryHold {
    guard: Guard,
    token: Option<FencingToken>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept to be dropped")]
enum Guard {
    Exclusive(NamedGuard<Arc<[u8]>>),
    Shared(NamedReadGuard<Arc<[u8]>>),
}

fn next_token() -> FencingToken {
    FencingToken::new(TOKENS.fetch_add(1, Ordering::Relaxed))
}

impl MemoryHold {
    fn new(guard: Guard) -> Self {
        let token = matches!(guard, Guard::Exclusive(_)).then(next_token);
        Self { guard, token }
    }
}

impl Hold for MemoryHold {
    async fn release(self) -> Result<bool, Error> {
        drop(self.guard);
        Ok(true)
    }

    async fn verify(&self) -> Result<(), Error> {
        Ok(())
    }

    fn watch(&self) -> LossSignal {
        LossSignal::new()
    }

    fn token(&self) -> Option<FencingToken> {
        self.token
    }
}
