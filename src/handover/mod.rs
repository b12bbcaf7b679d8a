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
#![forbid(unsafe_code)]

mod held;
mod kept;
mod waits;
mod writers;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

pub(crate) use self::held::Held;
use self::{
    held::Readers,
    kept::{Keep, Kept},
    waits::Waits,
    writers::Writers,
};
use crate::{
    contract::{Mode, Request, Wait},
    erased::{AnyBackend, BoxHold},
    error::{Error, ErrorKind},
    name::LockName,
    observe,
    registry::{LockRegistry, NamedGuard},
    sync::{CancellationToken, OnceCell, TaskTracker, TaskTrackerToken},
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
    pub(crate) waits: Waits,
    /// Counts who may be known to the store (H4).
    holds: TaskTracker,
    backend_closed: OnceCell<()>,
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
            waits: Waits::default(),
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
        // Who is queued for the length of a poll is somebody to hand over to as well.
        let _leaving = Leaving { gate: self, key };
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
            Some(hold) => {
                observe::handed_over(name, self.label);
                Some(Ok(Some(hold)))
            }
            None => self.backend.try_acquire(name, request),
        };
        match tried {
            Some(Ok(Some(hold))) => Entered::Held(Held::alone(hold, turn, Arc::clone(self), out)),
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
                Mode::Shared => self.read(name, key, wait, out.clone()).await,
            };
        };
        match mode {
            Mode::Exclusive => {
                let hold = match self.kept.take_handed_over(key) {
                    Some(hold) => {
                        observe::handed_over(name, self.label);
                        Some(hold)
                    }
                    None => self.ask_alone(name, key, wait).await?,
                };
                let Some(hold) = hold else { return Ok(None) };
                Ok(Some(Held::alone(hold, turn, Arc::clone(self), out)))
            }
            Mode::Shared => {
                drop(self.kept.take_handed_over(key));
                self.read(name, key, wait, out.clone()).await // ours outlives `_leaving` (H4)
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
        let readers = Readers::new(hold, Arc::clone(key), Arc::clone(self), out);
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
