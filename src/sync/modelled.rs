//! What the lock paths use of Tokio's, made of shuttle's primitives: as much of it as they use.
//!
//! 1. Every call is at least one step that others may come before or after.
//! 2. Nobody is woken under a mutex.
//! 3. A future that is dropped leaves no waker behind.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};

use super::{Mutex, lock};

/// A condition that becomes true once, and who waits for it.
#[derive(Debug, Default)]
struct Event<S> {
    state: S,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// What can be waited for.
trait Condition: Sized {
    fn is_met(&self) -> bool;
}

/// Waits until the event's condition is met.
#[derive(Debug)]
struct Met<S: Condition> {
    event: Arc<Mutex<Event<S>>>,
    place: Option<u64>,
}

impl<S: Condition> Met<S> {
    fn new(event: &Arc<Mutex<Event<S>>>) -> Self {
        Self { event: Arc::clone(event), place: None }
    }
}

impl<S: Condition> Future for Met<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let this = &mut *self;
        let mut event = lock(&this.event);
        if event.state.is_met() {
            return Poll::Ready(());
        }
        let place = *this.place.get_or_insert_with(|| {
            event.next += 1;
            event.next
        });
        event.wakers.insert(place, waker);
        Poll::Pending
    }
}

impl<S: Condition> Drop for Met<S> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            lock(&self.event).wakers.remove(&place);
        }
    }
}

/// Changes the state, and wakes those who wait if the condition is met then.
fn change<S: Condition, R>(event: &Mutex<Event<S>>, change: impl FnOnce(&mut S) -> R) -> R {
    let mut event = lock(event);
    let result = change(&mut event.state);
    let woken =
        if event.state.is_met() { std::mem::take(&mut event.wakers) } else { BTreeMap::new() };
    drop(event);
    woken.into_values().for_each(Waker::wake);
    result
}

/// `tokio_util::sync::CancellationToken`.
#[derive(Clone, Debug, Default)]
#[allow(unnameable_types, unreachable_pub, reason = "it stands for a type that has a name")]
pub struct CancellationToken(Arc<Mutex<Event<Cancelled>>>);

#[derive(Debug, Default)]
struct Cancelled {
    cancelled: bool,
    children: Vec<Weak<Mutex<Event<Self>>>>,
}

impl Condition for Cancelled {
    fn is_met(&self) -> bool {
        self.cancelled
    }
}

impl CancellationToken {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Of a cancelled token it is cancelled at once.
    pub(crate) fn child_token(&self) -> Self {
        let child = Self::new();
        let parent_is_cancelled = {
            let mut event = lock(&self.0);
            event.state.children.push(Arc::downgrade(&child.0));
            event.state.cancelled
        };
        if parent_is_cancelled {
            child.cancel();
        }
        child
    }

    /// The children first, as in the original: who hears of it here finds them cancelled.
    pub(crate) fn cancel(&self) {
        loop {
            let child = change(&self.0, |state| {
                let child = state.children.pop();
                state.cancelled |= child.is_none();
                child
            });
            match child {
                Some(child) => drop(child.upgrade().map(|child| Self(child).cancel())),
                None => break,
            }
        }
    }

    #[allow(missing_docs, unreachable_pub, reason = "as its type")]
    pub fn is_cancelled(&self) -> bool {
        lock(&self.0).state.cancelled
    }

    pub(crate) fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        Met::new(&self.0)
    }

    pub(crate) fn cancelled_owned(self) -> impl Future<Output = ()> + Send + use<> {
        Met::new(&self.0)
    }
}

/// `tokio_util::task::TaskTracker`.
#[derive(Debug, Default)]
pub(crate) struct TaskTracker(Arc<Mutex<Event<Tracked>>>);

#[derive(Debug, Default)]
struct Tracked {
    count: usize,
    closed: bool,
}

impl Condition for Tracked {
    fn is_met(&self) -> bool {
        self.closed && self.count == 0
    }
}

impl TaskTracker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn token(&self) -> TaskTrackerToken {
        TaskTrackerToken::of(&self.0)
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.0).state.closed
    }

    pub(crate) fn close(&self) {
        change(&self.0, |state| state.closed = true);
    }

    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        Met::new(&self.0)
    }
}

/// `tokio_util::task::task_tracker::TaskTrackerToken`.
#[derive(Debug)]
pub(crate) struct TaskTrackerToken(Arc<Mutex<Event<Tracked>>>);

impl TaskTrackerToken {
    fn of(event: &Arc<Mutex<Event<Tracked>>>) -> Self {
        change(event, |state| state.count += 1);
        Self(Arc::clone(event))
    }
}

impl Clone for TaskTrackerToken {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for TaskTrackerToken {
    fn drop(&mut self) {
        change(&self.0, |state| state.count -= 1);
    }
}

/// `tokio::sync::OnceCell`.
#[derive(Debug)]
pub(crate) struct OnceCell<T> {
    /// Who initialises it.
    turn: BatchSemaphore,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceCell<T> {
    pub(crate) fn new() -> Self {
        let turn = BatchSemaphore::new(1, Fairness::StrictlyFair);
        Self { turn, value: std::sync::OnceLock::new() }
    }

    pub(crate) async fn get_or_init<F>(&self, init: impl FnOnce() -> F + Send) -> &T
    where
        T: Send + Sync,
        F: Future<Output = T> + Send,
    {
        if let Some(value) = self.value.get() {
            return value;
        }
        self.turn.acquire(1).await.expect("never closed");
        let _turn = Turn(&self.turn);
        match self.value.get() {
            Some(value) => value,
            None => {
                let value = init().await;
                self.value.get_or_init(|| value)
            }
        }
    }
}

/// Ended in whatever way.
struct Turn<'a>(&'a BatchSemaphore);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

/// `std::sync::OnceLock`: its own would block the one thread that all tasks of a model share.
#[derive(Debug, Default)]
pub(crate) struct OnceLock<T> {
    turn: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { turn: Mutex::new(()), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _turn = lock(&self.turn);
        match self.get() {
            Some(value) => value,
            None => {
                let value = init();
                self.value.get_or_init(|| value)
            }
        }
    }
}
