//! A wait for one lock, and those who want it: at most one at a time, one after the other.
//!
//! The wait is in the server's queue; the task that wants the lock only listens. If it loses interest,
//! the next one of this process may take the wait over, with its place in the queue. If nobody does, the
//! wait is *doomed*: the session's task has the server stop it.
//!
//! * **T1** A lock that is granted goes to whoever wants it, or back; never to nobody.
//! * **T2** Doomed is final, and so is over; who comes to such a wait waits for its end, and then asks
//!   anew.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{hold::MySqlHold, pool::Pool, session::Key};
use crate::error::Error;

/// What is between a wait and those who want it.
#[derive(Debug)]
pub(super) struct Waiter {
    state: Mutex<State>,
    /// Somebody has lost interest, or found it again.
    pub(super) changed: Notify,
    /// Somebody has taken it over.
    adopted: Notify,
    /// The session waits no more.
    pub(super) over: CancellationToken,
}

#[derive(Debug)]
enum State {
    Wanted { grant: oneshot::Sender<Result<MySqlHold, Error>>, until: Option<Instant> },
    Unwanted,
    Doomed,
    Over,
}

/// Who wants the lock, as long as this lives.
#[derive(Debug)]
pub(super) struct Wanting {
    waiter: Arc<Waiter>,
    pub(super) grant: oneshot::Receiver<Result<MySqlHold, Error>>,
}

impl Drop for Wanting {
    fn drop(&mut self) {
        let mut state = self.waiter.state();
        if matches!(*state, State::Wanted { .. }) {
            *state = State::Unwanted;
            drop(state);
            self.waiter.changed.notify_one();
        }
        // What was granted just now is dropped with the receiver, and goes back (T1).
    }
}

impl Waiter {
    /// A wait that is wanted until then.
    pub(super) fn new(until: Option<Instant>) -> (Arc<Self>, Wanting) {
        let (sender, grant) = oneshot::channel();
        let state = Mutex::new(State::Wanted { grant: sender, until });
        let (changed, adopted) = (Notify::new(), Notify::new());
        let waiter = Arc::new(Self { state, changed, adopted, over: CancellationToken::new() });
        let wanting = Wanting { waiter: Arc::clone(&waiter), grant };
        (waiter, wanting)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what nobody wants at the moment.
    pub(super) fn adopt(self: &Arc<Self>, until: Option<Instant>) -> Option<Wanting> {
        let mut state = self.state();
        if !matches!(*state, State::Unwanted) {
            return None;
        }
        let (sender, grant) = oneshot::channel();
        *state = State::Wanted { grant: sender, until };
        drop(state);
        self.adopted.notify_waiters();
        Some(Wanting { waiter: Arc::clone(self), grant })
    }

    /// Waits until it is over, or somebody has taken it over: then it is nobody's leftover.
    pub(super) async fn settled(&self) {
        loop {
            let mut adopted = pin!(self.adopted.notified());
            adopted.as_mut().enable(); // before looking, or an adoption in between is missed
            if self.is_wanted() {
                return;
            }
            tokio::select! {
                () = self.over.cancelled() => return,
                () = adopted => {}
            }
        }
    }

    /// Whether somebody is waiting for it.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(*self.state(), State::Wanted { .. })
    }

    /// Until when it is wanted; none, for good, if it is not.
    fn wanted_until(&self) -> Option<Option<Instant>> {
        let mut state = self.state();
        match *state {
            State::Wanted { until, .. } => Some(until),
            _ => {
                *state = State::Over;
                None
            }
        }
    }

    /// Gives up on it if nobody wants it: true if so.
    fn doom(&self) -> bool {
        let mut state = self.state();
        let is_unwanted = matches!(*state, State::Unwanted);
        if is_unwanted {
            *state = State::Doomed;
        }
        is_unwanted
    }

    /// Gives the lock to whoever wants it, or back (T1).
    fn finish(&self, outcome: Result<MySqlHold, Error>) {
        let wanted = std::mem::replace(&mut *self.state(), State::Over);
        if let State::Wanted { grant, .. } = wanted {
            drop(grant.send(outcome));
        }
    }
}

/// The session's side of a wait. Once dropped, it is over, and who wants the lock finds that it has not
/// got it.
pub(super) struct Wait {
    pub(super) key: Key,
    pub(super) waiter: Arc<Waiter>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Wait {
    pub(super) const fn new(
        key: Key,
        waiter: Arc<Waiter>,
        pool: Arc<Pool>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { key, waiter, pool, _permit: permit }
    }

    pub(super) fn wanted_until(&self) -> Option<Option<Instant>> {
        self.waiter.wanted_until()
    }

    pub(super) fn doom(&self) -> bool {
        self.waiter.doom()
    }

    pub(super) fn finish(&self, outcome: Result<MySqlHold, Error>) {
        self.waiter.finish(outcome);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.pool.unlist_wait(&self.key, &self.waiter);
        let left = std::mem::replace(&mut *self.waiter.state(), State::Over);
        drop(left); // tells who wants it; not under the mutex
        self.waiter.over.cancel();
    }
}
