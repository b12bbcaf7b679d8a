//! The queue of this process in front of every backend, and what is passed along in it.
//!
//! A task that wants a name first waits for its *turn*, in a [`LockRegistry`] keyed by the backend's
//! native key; only who has the turn asks the backend. So the store sees one waiter of this process
//! for each name, local waiters are served in order, and whatever a store thinks of asking twice
//! (re-entrancy of sessions, of file descriptors) cannot happen.
//!
//! An exclusive hold keeps the turn until it is released. A release with somebody in the queue may
//! *hand over*: the backend's hold stays as it is, with a new token, and goes to the next turn. The
//! backend says how often ([`Hold::pass_on`](crate::contract::Hold::pass_on)). Readers give the turn
//! back once they hold, and *join* each other's hold as long as the backend lets them.
//!
//! Invariants:
//!
//! * **H1** Who calls the backend for a key has that key's turn, but for tries of shared holds, which
//!   do not wait.
//! * **H2** A hold that is kept for handing over is there only while somebody has the turn or is
//!   queued for it: whoever leaves the queue in any way looks after it ([`Leaving`]), and the last one
//!   to leave finds the turn free and frees the hold.
//! * **H3** A hold is dropped before the turn that covers it: the next one must not meet it at the
//!   store.
//! * **H4** Who may be known to the store is counted, from before it is asked until it has confirmed
//!   the release, and sees after being counted whether the gate is closed. So once nobody is counted,
//!   a closed gate holds nothing, and will not.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::OnceCell;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    contract::{Mode, Request, Wait},
    erased::{AnyBackend, AnyHold, BoxHold},
    error::{Error, ErrorKind},
    name::LockName,
    registry::{LockRegistry, NamedGuard},
};

/// A native key; cloned without a copy.
pub(crate) type Key = Arc<[u8]>;
/// Who has it is the only one of this process that may ask the store for its key (H1).
pub(crate) type Turn = NamedGuard<Key>;

/// One backend, and the queue in front of it.
pub(crate) struct Gate {
    pub(crate) backend: Box<dyn AnyBackend>,
    /// The backend's name, for errors and logs.
    pub(crate) label: &'static str,
    polite: Option<Duration>,
    has_shared_mode: bool,
    pub(crate) closed: CancellationToken,
    turns: LockRegistry<Key>,
    kept: Kept,
    writers: Writers,
    /// Counts who may be known to the store (H4).
    holds: TaskTracker,
    backend_closed: OnceCell<()>,
}

/// What a turn finds besides itself.
#[derive(Default)]
struct Kept {
    /// How many there are, so that nobody takes the mutex to find none.
    count: AtomicUsize,
    map: Mutex<HashMap<Key, Keep>>,
}

enum Keep {
    /// For the next turn.
    HandedOver(BoxHold),
    /// For readers to join.
    Readers(Weak<Readers>),
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Keep>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        // A hold is kept before its turn is given up, and a turn is a synchronising handshake: who
        // has the turn after it sees the count.
        self.count.load(Ordering::Relaxed) == 0
    }

    fn put(&self, key: &Key, keep: Keep) {
        let mut map = self.lock();
        let old = map.insert(Arc::clone(key), keep);
        self.count.store(map.len(), Ordering::Relaxed);
        drop(map);
        drop(old); // frees a hold, if at all: not under our mutex
    }

    fn remove_if(&self, key: &[u8], condition: impl FnOnce(&Keep) -> bool) -> Option<Keep> {
        if self.is_empty() {
            return None;
        }
        let mut map = self.lock();
        let keep = if map.get(key).is_some_and(condition) { map.remove(key) } else { None };
        self.count.store(map.len(), Ordering::Relaxed);
        keep
    }

    fn has_handed_over(&self, key: &[u8]) -> bool {
        !self.is_empty() && matches!(self.lock().get(key), Some(Keep::HandedOver(_)))
    }

    fn take_handed_over(&self, key: &[u8]) -> Option<BoxHold> {
        match self.remove_if(key, |keep| matches!(keep, Keep::HandedOver(_))) {
            Some(Keep::HandedOver(hold)) => Some(hold),
            _ => None,
        }
    }

    fn readers(&self, key: &[u8]) -> Option<Arc<Readers>> {
        if self.is_empty() {
            return None;
        }
        match self.lock().get(key) {
            Some(Keep::Readers(readers)) => readers.upgrade(),
            _ => None,
        }
    }
}

impl Gate {
    pub(crate) fn new(backend: Box<dyn AnyBackend>, polite: Option<Duration>) -> Self {
        let capability = backend.capability();
        Self {
            label: capability.backend,
            has_shared_mode: capability.shared,
            backend,
            polite,
            closed: CancellationToken::new(),
            turns: LockRegistry::new(),
            kept: Kept::default(),
            writers: Writers::default(),
            holds: TaskTracker::new(),
            backend_closed: OnceCell::new(),
        }
    }

    /// The queue of a name: the backend's native key.
    pub(crate) fn key(&self, name: &LockName) -> Result<Key, Error> {
        if name.as_bytes().is_empty() {
            let message = "a lock's name is not empty";
            return Err(Error::new(ErrorKind::InvalidName).with_message(message));
        }
        Ok(match self.backend.native_key(name)? {
            Cow::Borrowed(key) if std::ptr::eq(key, name.as_bytes()) => name.share(),
            key => key.as_ref().into(),
        })
    }

    /// What [`enter`](Self::enter) does as far as that needs no wait, and no future.
    pub(crate) fn enter_now(
        self: &Arc<Self>,
        name: &LockName,
        key: &Key,
        may_wait: bool,
        cx: &mut Context<'_>,
    ) -> Entered {
        let out = self.holds.token();
        if self.holds.is_closed() {
            return Entered::Failed(Error::new(ErrorKind::Closed));
        }
        let turn = if may_wait {
            // It counts as progress of the task, unlike a try.
            match pin!(self.turns.lock_named(key)).poll(cx) {
                Poll::Ready(turn) => turn,
                Poll::Pending => return Entered::Later(None),
            }
        } else {
            match self.turns.try_lock_named(key) {
                Ok(turn) => turn,
                Err(_) => return Entered::Busy,
            }
        };
        let request = self.request(Mode::Exclusive, Wait::No);
        let tried = match self.kept.take_handed_over(key) {
            Some(hold) => Some(Ok(Some(hold))),
            None => self.backend.try_acquire(name, request),
        };
        match tried {
            Some(Ok(Some(hold))) => {
                let gate = Arc::clone(self);
                Entered::Held(Held::Alone(Alone { hold, turn, gate, _out: out }.into()))
            }
            Some(Ok(None)) if !may_wait => Entered::Busy,
            Some(Ok(None)) | None => Entered::Later(Some(turn)),
            Some(Err(e)) => Entered::Failed(e),
        }
    }

    /// Waits for the turn and for the backend; `None` if the wait that was asked for is over.
    ///
    /// Who has the turn already brings it along.
    ///
    /// Cancel-safe: whatever is dropped, [`Leaving`] is dropped after it, and what counts it last.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        name: &LockName,
        key: &Key,
        mode: Mode,
        wait: Wait,
        turn: Option<Turn>,
    ) -> Result<Option<Held>, Error> {
        let out = self.holds.token();
        if self.holds.is_closed() {
            return Err(Error::new(ErrorKind::Closed));
        }
        if mode == Mode::Shared && !self.has_shared_mode {
            let message = "the backend has no shared mode";
            return Err(Error::new(ErrorKind::Unsupported).with_message(message));
        }
        let _leaving = Leaving { gate: self, key };
        let turn = match (turn, wait) {
            (Some(turn), _) => Some(turn),
            (None, Wait::No) => self.turns.try_lock_named(key).ok(),
            (None, Wait::Until(_) | Wait::Forever) => Some(self.turns.lock_named(key).await),
        };
        let Some(turn) = turn else {
            // A try of a shared hold need not stand in the queue: readers in front of it may be
            // about to share. A writer of ours who waits at the store is not overtaken; whether those
            // of other processes are is the backend's to say.
            return match mode {
                Mode::Exclusive => Ok(None),
                Mode::Shared if self.writers.wait_for(key) => Ok(None),
                Mode::Shared => self.read(name, key, wait, out).await,
            };
        };
        match mode {
            Mode::Exclusive => {
                let hold = match self.kept.take_handed_over(key) {
                    Some(hold) => Some(hold),
                    None => self.ask_alone(name, key, wait).await?,
                };
                let Some(hold) = hold else { return Ok(None) };
                let gate = Arc::clone(self);
                Ok(Some(Held::Alone(Alone { hold, turn, gate, _out: out }.into())))
            }
            Mode::Shared => {
                drop(self.kept.take_handed_over(key));
                self.read(name, key, wait, out).await
            }
        }
    }

    /// Joins the readers of this process, or asks the backend.
    async fn read(
        self: &Arc<Self>,
        name: &LockName,
        key: &Key,
        wait: Wait,
        out: TaskTrackerToken,
    ) -> Result<Option<Held>, Error> {
        if let Some(readers) = self.kept.readers(key)
            && readers.hold().admits_reader()
        {
            return Ok(Some(Held::Together(readers)));
        }
        let Some(hold) = self.ask(name, Mode::Shared, wait).await? else {
            return Ok(None);
        };
        let readers =
            Readers { hold: Some(hold), key: Arc::clone(key), gate: Arc::clone(self), out };
        let readers = Arc::new(readers);
        self.kept.put(key, Keep::Readers(Arc::downgrade(&readers)));
        Ok(Some(Held::Together(readers)))
    }

    async fn ask(&self, name: &LockName, mode: Mode, wait: Wait) -> Result<Option<BoxHold>, Error> {
        self.backend.acquire(name, self.request(mode, wait)).await
    }

    const fn request(&self, mode: Mode, wait: Wait) -> Request {
        let mut request = Request::new(mode, wait);
        request.polite = self.polite;
        request
    }

    /// Asks for an exclusive hold. While that waits, no try of a reader passes it by.
    async fn ask_alone(
        &self,
        name: &LockName,
        key: &Key,
        wait: Wait,
    ) -> Result<Option<BoxHold>, Error> {
        let mut ask = pin!(self.ask(name, Mode::Exclusive, wait));
        let mut waiting = None;
        std::future::poll_fn(|cx| {
            let outcome = ask.as_mut().poll(cx);
            if outcome.is_pending() && waiting.is_none() {
                waiting = Some(self.writers.enter(key));
            }
            outcome
        })
        .await
    }

    /// How many tasks of this process are queued for the key, without the one who has the turn.
    pub(crate) fn waiters(&self, key: &Key) -> usize {
        self.turns.waiters(key)
    }

    /// Ends the waits, waits until no hold is out, and closes the backend, once for all callers.
    pub(crate) async fn close(&self) {
        self.holds.close();
        self.closed.cancel();
        self.holds.wait().await;
        self.backend_closed.get_or_init(|| self.backend.close()).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("backend", &self.backend)
            .field("polite", &self.polite)
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

/// The keys for which a writer of this process waits at the store: one each, since he has the turn.
#[derive(Default)]
struct Writers {
    /// As in [`Kept`]; who misses one that comes just now has come before it.
    count: AtomicUsize,
    keys: Mutex<HashSet<Key>>,
}

struct Waiting<'a> {
    writers: &'a Writers,
    key: &'a [u8],
}

impl Writers {
    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, key: &[u8]) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.lock().contains(key)
    }

    fn enter<'a>(&'a self, key: &'a Key) -> Waiting<'a> {
        let mut keys = self.lock();
        keys.insert(Arc::clone(key));
        self.count.store(keys.len(), Ordering::Relaxed);
        Waiting { writers: self, key }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut keys = self.writers.lock();
        keys.remove(self.key);
        self.writers.count.store(keys.len(), Ordering::Relaxed);
    }
}

/// Restores H2 when somebody leaves the queue of a key: frees a hold that nobody will come for.
struct Leaving<'a> {
    gate: &'a Gate,
    key: &'a Key,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.gate.kept.has_handed_over(self.key) {
            return; // or a try of somebody else could meet ours for nothing
        }
        // Not free: then somebody has the turn, and looks after it when he leaves.
        if let Ok(_turn) = self.gate.turns.try_lock_named(self.key) {
            drop(self.gate.kept.take_handed_over(self.key));
        }
    }
}

/// How far [`Gate::enter_now`] has come.
pub(crate) enum Entered {
    /// Somebody else holds it, and there is to be no wait.
    Busy,
    Failed(Error),
    Held(Held),
    /// It takes a wait, with the turn if we have it.
    Later(Option<Turn>),
}

/// A hold, as a lease keeps it.
pub(crate) enum Held {
    Alone(DropAlone),
    Together(Arc<Readers>),
}

impl Held {
    pub(crate) fn hold(&self) -> &dyn AnyHold {
        match self {
            Self::Alone(alone) => &*alone.0.as_ref().expect("taken only to be dropped").hold,
            Self::Together(readers) => readers.hold(),
        }
    }

    /// Frees it, with the backend's word; false if it was ours no more.
    ///
    /// Cancel-safe: it is freed all the same.
    pub(crate) async fn release(self) -> Result<bool, Error> {
        match self {
            Self::Alone(mut alone) => match alone.0.take() {
                Some(alone) => alone.release().await,
                None => Ok(true),
            },
            // The last reader asks the backend; for the others the hold lives on.
            Self::Together(readers) => match Arc::into_inner(readers) {
                Some(mut readers) => {
                    let hold = readers.hold.take();
                    let _out = readers.out.clone(); // H4
                    drop(readers); // nobody joins any more
                    match hold {
                        Some(hold) => hold.release().await,
                        None => Ok(true),
                    }
                }
                None => Ok(true),
            },
        }
    }
}

/// An exclusive hold and the turn that covers it. The order of the fields is H3.
struct Alone {
    hold: BoxHold,
    turn: Turn,
    gate: Arc<Gate>,
    _out: TaskTrackerToken,
}

impl Alone {
    /// Gives the hold to the next task of this process, if there is one and the backend allows it.
    fn hand_over(mut self) -> Result<(), Self> {
        if self.turn.waiters() == 0 || !self.hold.pass_on() {
            return Err(self);
        }
        let Self { hold, turn, gate, _out } = self;
        let key = Arc::clone(turn.name());
        gate.kept.put(&key, Keep::HandedOver(hold));
        let leaving = Leaving { gate: &gate, key: &key };
        drop(turn);
        drop(leaving);
        Ok(())
    }

    async fn release(self) -> Result<bool, Error> {
        match self.hand_over() {
            Ok(()) => Ok(true),
            Err(Self { hold, turn, gate, _out }) => {
                let _after = (turn, gate, _out);
                hold.release().await
            }
        }
    }
}

/// Hands over, or frees.
pub(crate) struct DropAlone(Option<Alone>);

impl From<Alone> for DropAlone {
    fn from(alone: Alone) -> Self {
        Self(Some(alone))
    }
}

impl Drop for DropAlone {
    fn drop(&mut self) {
        drop(self.0.take().map(Alone::hand_over));
    }
}

/// A shared hold of this process, and of all its tasks that have joined it.
pub(crate) struct Readers {
    /// None once its release has begun.
    hold: Option<BoxHold>,
    key: Key,
    gate: Arc<Gate>,
    out: TaskTrackerToken,
}

impl Readers {
    fn hold(&self) -> &dyn AnyHold {
        &**self.hold.as_ref().expect("taken by the last reader only")
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let gone = |keep: &Keep| match keep {
            Keep::Readers(readers) => readers.strong_count() == 0,
            Keep::HandedOver(_) => false,
        };
        drop(self.gate.kept.remove_if(&self.key, gone));
    }
}
