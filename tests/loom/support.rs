//! What the models have in common.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc as StdArc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(crate) use crate::identity::{Identity, Registry};

/// Explores a model with at most `preemptions` forced switches in each run.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A value that only the holder of a key may touch. Loom reports a second holder, and a holder that
/// does not see what the one before has done.
#[derive(Clone)]
pub(crate) struct Guarded(Arc<UnsafeCell<usize>>);

impl Guarded {
    pub(crate) fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(0)))
    }

    /// What the holder of the exclusive lock does.
    pub(crate) fn write(&self) {
        // SAFETY: the lock under test is what makes it so; loom checks it.
        #[expect(unsafe_code, reason = "this access is what the model is about")]
        self.0.with_mut(|value| unsafe { *value += 1 });
    }

    /// What the holder of a shared lock does, or the main thread after everybody has ended.
    pub(crate) fn read(&self) -> usize {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "this access is what the model is about")]
        self.0.with(|value| unsafe { *value })
    }
}

/// A waker that counts. With it a model polls by hand, and decides itself what a wake-up leads to.
pub(crate) struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    pub(crate) fn new() -> (StdArc<Self>, Waker) {
        let counter = StdArc::new(Self(AtomicUsize::new(0)));
        (counter.clone(), counter.into())
    }

    pub(crate) fn woken(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// Polls once.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls `future` once and drops it, with whatever it has by then.
pub(crate) fn poll_and_drop<F: Future>(future: F) {
    let (_, waker) = Counter::new();
    drop(poll(pin!(future), &waker));
}
