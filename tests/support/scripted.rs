//! A backend that does as a test says, and counts what is asked of it.
//!
//! Its store is a [`LockRegistry`], so it excludes like any other, and passes the conformance suite.
//! It can pass on, admit readers, be slow, fail, and lose holds.

#![allow(dead_code, reason = "each of the test binaries that have it uses a part of it")]

use std::{
    borrow::Cow,
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use keyward::{
    Capability, Error, ErrorKind, Fencing, FencingToken, LockName, LockRegistry, Locks, LossReason,
    LossSignal, Mode, NamedGuard, NamedReadGuard, Occupancy,
    contract::{Backend, Confirmation, Hold, Request, Wait},
};
#[cfg(keyward_shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(keyward_shuttle))]
use std::sync::{Mutex, MutexGuard};
use tokio::{sync::RwLock, time::Instant};

#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted(Arc<Store>);

#[derive(Debug, Default)]
pub(crate) struct Store {
    names: LockRegistry<Vec<u8>>,
    script: Mutex<Script>,
    counts: Mutex<Counts>,
    /// While a test has this, an acquisition waits before it asks the store.
    pub(crate) acquiring: Arc<RwLock<()>>,
    /// While a test has this, a release waits before it is confirmed.
    pub(crate) releasing: Arc<RwLock<()>>,
    /// The exclusive holds that have not been freed, by name.
    holds: Mutex<HashMap<Vec<u8>, Arc<Mutex<Inside>>>>,
    /// Of the last hold that was granted.
    signal: Mutex<LossSignal>,
}

/// What it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) passes_on: bool,
    pub(crate) admits_readers: bool,
    /// How often an acquisition is pending before it asks the store, and after.
    pub(crate) turns: usize,
    pub(crate) acquire_fails: Option<ErrorKind>,
    pub(crate) release_fails: Option<ErrorKind>,
    pub(crate) verify_fails: Option<ErrorKind>,
    /// What it says of a hold that it has been asked to confirm; if none, it need not be asked.
    pub(crate) confirms: Option<Result<bool, ErrorKind>>,
    /// Until when it vouches for a hold.
    pub(crate) vouches_until: Option<Instant>,
    /// What of a name is no part of its key: all that comes before the last one of these.
    pub(crate) key_follows: Option<u8>,
}

/// What was asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acquires: usize,
    pub(crate) releases: usize,
    pub(crate) passed_on: usize,
    pub(crate) closes: usize,
    /// Acquisitions that were asked for after it was closed.
    pub(crate) late: usize,
    /// Waiting acquisitions that run now, and the most of one name at a time.
    in_flight: HashMap<Vec<u8>, usize>,
    pub(crate) most_in_flight: usize,
}

impl Scripted {
    pub(crate) fn new(script: Script) -> Self {
        let this = Self::default();
        *this.script() = script;
        this
    }

    pub(crate) fn locks(&self) -> Locks {
        Locks::builder().backend(self.clone())
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.counts.lock().unwrap().clone()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0
    }

    /// Whether nobody holds the name in the store and nobody waits for it.
    pub(crate) fn is_free(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.0.names.holders(name) + self.0.names.waiters(name) == 0
    }

    /// Takes the name away from its exclusive holder; false if there is none.
    pub(crate) fn sever(&self, name: &[u8]) -> bool {
        let Some(hold) = self.0.holds.lock().unwrap().remove(name) else { return false };
        let mut hold = hold.lock().unwrap();
        if hold.guard.is_none() {
            return false; // its own release was faster, and is no loss
        }
        hold.signal.lose(LossReason::Closed); // before others can have it
        hold.guard.take().is_some()
    }

    /// Of whoever was the last to be granted anything: to tell of what the store does not know.
    pub(crate) fn signal(&self) -> LossSignal {
        self.0.signal.lock().unwrap().clone()
    }

    fn asked(&self, name: &LockName, request: Request) -> Option<InFlight> {
        let mut counts = self.0.counts.lock().unwrap();
        counts.acquires += 1;
        counts.late += usize::from(counts.closes > 0);
        if request.wait == Wait::No {
            return None;
        }
        let of_name = counts.in_flight.entry(name.as_bytes().to_vec()).or_default();
        *of_name += 1;
        let now = *of_name;
        counts.most_in_flight = counts.most_in_flight.max(now);
        Some(InFlight(self.clone(), name.clone()))
    }
}

/// A waiting acquisition, as long as its future lives.
struct InFlight(Scripted, LockName);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut counts = self.0.0.counts.lock().unwrap();
        *counts.in_flight.get_mut(self.1.as_bytes()).unwrap() -= 1;
    }
}

/// Pending that often, and woken each time.
struct Turns(usize);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn next_token() -> FencingToken {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TOKENS: AtomicU64 = AtomicU64::new(1);
    FencingToken::new(TOKENS.fetch_add(1, Ordering::Relaxed))
}

impl Backend for Scripted {
    type Hold = ScriptedHold;

    async fn acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Result<Option<ScriptedHold>, Error> {
        let _in_flight = self.asked(name, request);
        let script = self.script().clone();
        Turns(script.turns).await;
        drop(self.0.acquiring.read().await);
        if let Some(kind) = script.acquire_fails {
            return Err(Error::new(kind).with_source(std::io::Error::other("as the test says")));
        }
        let (names, key) = (&self.0.names, name.as_bytes());
        let guard = match (request.mode, request.wait) {
            (Mode::Exclusive, Wait::No) => names.try_lock_named(key).ok().map(Guard::Exclusive),
            (Mode::Shared, Wait::No) => names.try_read_named(key).ok().map(Guard::Shared),
            (Mode::Exclusive, _) => Some(Guard::Exclusive(names.lock_named(key).await)),
            (Mode::Shared, _) => Some(Guard::Shared(names.read_named(key).await)),
        };
        let Some(guard) = guard else { return Ok(None) };
        let token = (request.mode == Mode::Exclusive).then(next_token);
        let inside = Inside { guard: Some(guard), signal: LossSignal::new() };
        *self.0.signal.lock().unwrap() = inside.signal.clone();
        let inside = Arc::new(Mutex::new(inside));
        if token.is_some() {
            self.0.holds.lock().unwrap().insert(key.to_vec(), Arc::clone(&inside));
        }
        let hold = ScriptedHold { backend: self.clone(), key: key.to_vec(), inside, token };
        Turns(script.turns).await; // a store answers after it has granted
        Ok(Some(hold))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("scripted");
        capability.shared = true;
        capability.fair = true;
        capability.event_driven = true;
        capability.fencing = Fencing::Process;
        capability.loss_told_within = Some(std::time::Duration::ZERO);
        capability
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        let name = name.as_bytes();
        let begins = self.script().key_follows.and_then(|at| name.iter().rposition(|&b| b == at));
        Ok(Cow::Borrowed(&name[begins.map_or(0, |at| at + 1)..]))
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        let turns = self.script().turns;
        Turns(turns).await;
        let held = self.0.holds.lock().unwrap().contains_key(name.as_bytes());
        let mode = if held { Mode::Exclusive } else { Mode::Shared };
        Ok(match self.0.names.holders(name.as_bytes()) {
            0 => Occupancy::Free,
            _ => Occupancy::Held { mode, owner: None },
        })
    }

    async fn close(&self) {
        self.0.counts.lock().unwrap().closes += 1;
    }
}

/// What a hold and its store both know.
#[derive(Debug)]
struct Inside {
    /// None once it was severed.
    guard: Option<Guard>,
    signal: LossSignal,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept to be dropped")]
enum Guard {
    Exclusive(NamedGuard<Vec<u8>>),
    Shared(NamedReadGuard<Vec<u8>>),
}

#[derive(Debug)]
pub(crate) struct ScriptedHold {
    backend: Scripted,
    key: Vec<u8>,
    inside: Arc<Mutex<Inside>>,
    token: Option<FencingToken>,
}

impl ScriptedHold {
    /// Frees it; false if it had been severed.
    fn free(&self) -> bool {
        let mut holds = self.backend.0.holds.lock().unwrap();
        holds.retain(|_, hold| !Arc::ptr_eq(hold, &self.inside));
        drop(holds);
        let guard = self.inside.lock().unwrap().guard.take();
        guard.is_some()
    }
}

impl Drop for ScriptedHold {
    fn drop(&mut self) {
        self.free();
    }
}

impl Hold for ScriptedHold {
    async fn release(self) -> Result<bool, Error> {
        self.backend.0.counts.lock().unwrap().releases += 1;
        drop(self.backend.0.releasing.read().await);
        let (turns, fails) = {
            let script = self.backend.script();
            (script.turns, script.release_fails)
        };
        Turns(turns).await;
        let ours = self.free();
        fails.map_or(Ok(ours), |kind| Err(Error::new(kind)))
    }

    async fn verify(&self) -> Result<(), Error> {
        if let Some(kind) = self.backend.script().verify_fails {
            return Err(Error::new(kind));
        }
        match self.inside.lock().unwrap().guard {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::Lost)),
        }
    }

    fn watch(&self) -> LossSignal {
        self.inside.lock().unwrap().signal.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        self.token
    }

    fn valid_until(&self) -> Option<Instant> {
        self.backend.script().vouches_until
    }

    fn pass_on(&mut self) -> bool {
        let mut inside = self.inside.lock().unwrap();
        if !self.backend.script().passes_on || inside.guard.is_none() {
            return false;
        }
        inside.signal = LossSignal::new(); // a loss of the next holder is none of the last one's
        drop(inside);
        self.token = Some(next_token());
        self.backend.0.counts.lock().unwrap().passed_on += 1;
        true
    }

    fn confirm(&self) -> Option<Confirmation> {
        let confirms = self.backend.script().confirms?;
        let backend = self.backend.clone();
        Some(Box::pin(async move {
            drop(backend.0.releasing.read().await);
            confirms.map_err(Error::new)
        }))
    }

    fn admits_reader(&self) -> bool {
        let nobody_waits = self.backend.0.names.waiters(&*self.key) == 0;
        nobody_waits && self.backend.script().admits_readers
    }
}
