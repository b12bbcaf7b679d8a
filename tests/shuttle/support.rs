//! What the models have in common.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use shuttle::{
    future::{JoinHandle, block_on, spawn},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

pub(crate) use crate::identity::Registry;

/// Sees who is inside at the same time.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<AtomicUsize>);

impl Witness {
    const ALONE: usize = 1 << 16;

    /// What an exclusive holder does: others may come in between, if the lock lets them.
    pub(crate) fn alone(&self) {
        assert_eq!(self.0.fetch_add(Self::ALONE, SeqCst), 0, "somebody else is inside");
        assert_eq!(self.0.fetch_sub(Self::ALONE, SeqCst), Self::ALONE, "somebody has come in");
    }

    /// What a shared holder does.
    pub(crate) fn together(&self) {
        assert!(self.0.fetch_add(1, SeqCst) < Self::ALONE, "a writer is inside");
        assert!(self.0.fetch_sub(1, SeqCst) < Self::ALONE, "a writer has come in");
    }
}

/// What has happened, in order.
#[derive(Clone)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn note(&self, what: T) {
        self.0.lock().unwrap().push(what);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A task, and its end.
pub(crate) fn task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    spawn(work)
}

pub(crate) fn join<T>(task: JoinHandle<T>) -> T {
    block_on(task).unwrap()
}

pub(crate) fn join_all<T, const N: usize>(tasks: [JoinHandle<T>; N]) -> [T; N] {
    tasks.map(join)
}

/// Polls once, for nobody.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A wait that stands in its queue.
pub(crate) type Queued<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Begins a wait, which must not be over at once: so a model says who comes first.
pub(crate) fn queued<F: Future + Send + 'static>(wait: F) -> Queued<F::Output> {
    let mut wait: Queued<F::Output> = Box::pin(wait);
    assert!(poll(wait.as_mut()).is_none(), "it should have queued");
    wait
}

/// A wait that another task may drop at any time: parked, woken, or done and not taken.
pub(crate) struct Shared<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    wait: Option<Queued<T>>,
    waker: Option<Waker>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Shared<T> {
    pub(crate) fn new(wait: Queued<T>) -> Self {
        Self(Arc::new(Mutex::new(Slot { wait: Some(wait), waker: None })))
    }

    /// None if it is dropped before.
    pub(crate) async fn run(self) -> Option<T> {
        poll_fn(|cx| {
            let mut slot = self.0.lock().unwrap();
            slot.waker = Some(cx.waker().clone());
            let Some(wait) = slot.wait.as_mut() else { return Poll::Ready(None) };
            let outcome = wait.as_mut().poll(cx).map(Some);
            if outcome.is_ready() {
                slot.wait = None;
            }
            outcome
        })
        .await
    }

    /// Drops it, if it is not over, and tells who runs it.
    pub(crate) fn cancel(&self) {
        let mut slot = self.0.lock().unwrap();
        let (wait, waker) = (slot.wait.take(), slot.waker.take());
        drop(slot);
        drop(wait);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
