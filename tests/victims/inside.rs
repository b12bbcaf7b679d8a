//! A lock between tasks, and what can be wrong with it.
//!
//! Who waits has the receiving end of a oneshot channel, and a release sends the lock to the first one.
//! Right is: what is sent is the guard itself, so that a receiver who goes before he has looked gives it
//! back; who waits is counted by a value that counts him out however he leaves; and the channel is polled
//! with the waker of whoever polls.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use keyward::{
    Capability, Error, FencingToken, LockName, Locks, LossSignal,
    conformance::Fixture,
    contract::{Backend, Hold, Request, Wait},
};
use tokio::sync::oneshot;

use crate::cancellation::{Drop as How, World, explore};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Who goes before it is his turn stays counted, and the lock waits for him.
    LeakedCount,
    /// What is sent to the next one is the news only: if he goes before he reads it, the lock is nobody's.
    OneshotHandOver,
    /// The waker of the first poll is kept, whoever polls later.
    FirstWakerKept,
}

/// One lock.
#[derive(Debug)]
struct Lock {
    state: Mutex<State>,
    flaw: Option<Flaw>,
}

#[derive(Debug, Default)]
struct State {
    held: bool,
    queue: VecDeque<oneshot::Sender<Option<Guard>>>,
    waiting: usize,
}

impl Lock {
    fn new(flaw: Option<Flaw>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), flaw })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Nobody barges: whoever waits comes first.
    fn try_lock(self: &Arc<Self>) -> Option<Guard> {
        let mut state = self.state();
        let free = !state.held && state.waiting == 0;
        state.held |= free;
        free.then(|| Guard(Some(Arc::clone(self))))
    }

    async fn lock(self: Arc<Self>) -> Guard {
        let turn = {
            let mut state = self.state();
            if !state.held && state.waiting == 0 {
                state.held = true;
                return Guard(Some(Arc::clone(&self)));
            }
            let (next, turn) = oneshot::channel();
            state.queue.push_back(next);
            state.waiting += 1;
            let counted = Counted { lock: Arc::clone(&self), served: false };
            Turn { counted, turn, first: None }
        };
        turn.await.unwrap_or_else(|| Guard(Some(self)))
    }

    /// Gives it to the first who is still there.
    fn release(self: Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(next) = state.queue.pop_front() else {
                state.held = false;
                return;
            };
            drop(state);
            let sound = self.flaw != Some(Flaw::OneshotHandOver);
            match next.send(sound.then(|| Guard(Some(Arc::clone(&self))))) {
                Ok(()) => return,
                Err(Some(mut unsent)) => drop(unsent.0.take()), // it is still ours
                Err(None) => {}
            }
        }
    }
}

/// The lock; dropping it is the release.
#[derive(Debug)]
struct Guard(Option<Arc<Lock>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.release();
        }
    }
}

/// One who waits.
struct Counted {
    lock: Arc<Lock>,
    served: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.served || self.lock.flaw != Some(Flaw::LeakedCount) {
            self.lock.state().waiting -= 1;
        }
    }
}

/// The wait for one's turn. Who leaves it is counted out first: then what he may have been sent can be
/// given to whoever comes.
struct Turn {
    counted: Counted,
    turn: oneshot::Receiver<Option<Guard>>,
    first: Option<Waker>,
}

impl Future for Turn {
    type Output = Option<Guard>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Guard>> {
        let first = self.first.get_or_insert_with(|| cx.waker().clone()).clone();
        let kept = self.counted.lock.flaw == Some(Flaw::FirstWakerKept);
        let mut cx = Context::from_waker(if kept { &first } else { cx.waker() });
        let sent = Pin::new(&mut self.turn).poll(&mut cx);
        self.counted.served = sent.is_ready();
        sent.map(|sent| sent.expect("a lock that is waited for is there"))
    }
}

/// Locks by name, as a backend.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    names: Arc<Mutex<HashMap<Vec<u8>, Arc<Lock>>>>,
    flaw: Option<Flaw>,
}

impl Inside {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self { names: Arc::default(), flaw }
    }

    fn named(&self, name: &LockName) -> Arc<Lock> {
        let mut names = self.names.lock().unwrap();
        let lock = names.entry(name.as_bytes().to_vec()).or_insert_with(|| Lock::new(self.flaw));
        Arc::clone(lock)
    }
}

impl Fixture for Inside {
    async fn connect(&self) -> Locks {
        Locks::builder().backend(self.clone())
    }

    fn prefix(&self) -> &str {
        "victim-"
    }

    fn is_private(&self) -> bool {
        true
    }
}

impl Backend for Inside {
    type Hold = Held;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<Held>, Error> {
        let lock = self.named(name);
        let guard = match request.wait {
            Wait::No => lock.try_lock(),
            Wait::Until(_) | Wait::Forever => Some(lock.lock().await),
        };
        Ok(guard.map(|guard| Held(guard, LossSignal::new())))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("inside");
        capability.fair = true;
        capability.event_driven = true;
        capability
    }
}

/// A hold, which cannot be lost.
pub(crate) struct Held(Guard, LossSignal);

impl Hold for Held {
    async fn release(self) -> Result<bool, Error> {
        drop(self.0);
        Ok(true)
    }

    async fn verify(&self) -> Result<(), Error> {
        Ok(())
    }

    fn watch(&self) -> LossSignal {
        self.1.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        None
    }
}

/// A lock that is held by somebody, as the cancellation harness sees it.
struct Busy {
    lock: Arc<Lock>,
    holder: RefCell<Option<Guard>>,
}

impl World for Busy {
    fn operation(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async { drop(Arc::clone(&self.lock).lock().await) })
    }

    fn advance(&self) -> bool {
        self.holder.take().is_some()
    }

    fn check(&self, k: usize, how: How) {
        let state = self.lock.state();
        let (held, waiting) = (state.held, state.waiting);
        drop(state);
        assert_eq!(waiting, 0, "{how:?} {k}: it is still queued for");
        assert_eq!(held, self.holder.borrow().is_some(), "{how:?} {k}: it is still held");
        self.holder.take();
        assert!(self.lock.try_lock().is_some(), "{how:?} {k}: it is not free");
    }
}

/// Drops a wait at every await point, in every way.
pub(crate) fn cancel_everywhere(flaw: Option<Flaw>) {
    let world = || {
        let lock = Lock::new(flaw);
        let holder = RefCell::new(lock.try_lock());
        Busy { lock, holder }
    };
    assert_eq!(explore(world), 1);
}
