//! Futures that are polled by hand, also over real input and output: a wake is awaited, not guessed.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::{PATIENCE, lock, release, soon};
use crate::locks::Locks;

/// How long a future gets to wake itself, before something is done that it may be waiting for. It
/// changes which interleavings are seen, and no verdict.
const GRACE: Duration = Duration::from_millis(20);

/// How many of an operation's await points are tried. A backend that polls has one for each look.
const AWAITS: usize = 12;

/// How often an operation may wake itself before something is done that it may be waiting for.
const PATIENT_POLLS: usize = 4;

/// A future, and whether its waker has been called.
pub(super) struct ByHand<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    listener: Notify,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.listener.notify_one();
    }
}

impl<F: Future + Send> ByHand<F> {
    pub(super) fn new(future: impl IntoFuture<IntoFuture = F>) -> Self {
        Self { future: Box::pin(future.into_future()), bell: Arc::default() }
    }

    pub(super) fn poll(&mut self) -> Poll<F::Output> {
        self.bell.rung.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls it where it must not be ready.
    pub(super) fn must_wait(&mut self, what: &str) {
        assert!(self.poll().is_pending(), "{what} does not wait");
    }

    /// Whether the waker has been called since the last poll.
    pub(super) fn is_woken(&self) -> bool {
        self.bell.rung.load(Ordering::SeqCst)
    }

    /// Waits for the waker, without polling.
    pub(super) fn woken(&self) -> impl Future<Output = ()> + Send + use<F> {
        let bell = Arc::clone(&self.bell);
        async move {
            while !bell.rung.load(Ordering::SeqCst) {
                bell.listener.notified().await;
            }
        }
    }

    /// Polls it whenever it is woken, until it must be ready.
    pub(super) async fn finish(&mut self, what: &str) -> F::Output {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
            let woken = timeout_at(limit, self.woken()).await;
            assert!(woken.is_ok(), "{what}: has not happened within {PATIENCE:?}");
        }
    }

    /// Polls it whenever it is woken, until it wakes no more for a while.
    pub(super) async fn settle(&mut self, what: &str) {
        for _ in 0..PATIENT_POLLS {
            self.must_wait(what);
            if timeout(GRACE, self.woken()).await.is_err() {
                return;
            }
        }
    }
}

/// How an operation is dropped at an await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drop {
    /// Just after its poll.
    Parked,
    /// Once its waker has fired, without polling it again: the lock may be its own by now.
    Woken,
}

/// Drops an operation at each of its await points, in both ways, in a world where `holder` holds the
/// names and gives them up one by one. Afterwards every name must be free.
pub(super) async fn drop_at_every_await<F: Future + Send>(
    holder: &Locks,
    names: &[String],
    operation: impl Fn() -> F + Send + Sync,
) {
    for how in [Drop::Parked, Drop::Woken] {
        let mut awaits = 0;
        while awaits < AWAITS && drop_at(holder, names, &operation, awaits + 1, how).await {
            awaits += 1;
        }
        assert!(awaits > 0, "an operation on held names does not wait");
    }
}

/// False if the operation was ready before its k-th wait.
async fn drop_at<F: Future + Send>(
    holder: &Locks,
    names: &[String],
    operation: &(impl Fn() -> F + Send + Sync),
    k: usize,
    how: Drop,
) -> bool {
    let mut leases = VecDeque::new();
    for name in names {
        leases.push_back(lock(holder, name).await);
    }
    let mut operation = ByHand::new(operation());
    let mut reached = 0;
    let mut patience = PATIENT_POLLS;
    while reached < k && operation.poll().is_pending() {
        reached += 1;
        if reached == k && how == Drop::Parked {
            break;
        }
        // What it waits for may be a lease of ours, or the store.
        while patience == 0 || timeout(GRACE, operation.woken()).await.is_err() {
            patience = PATIENT_POLLS;
            match leases.pop_front() {
                Some(lease) => release(lease).await,
                None => soon("a wait for free names", operation.woken()).await,
            }
        }
        patience -= 1;
    }
    drop(operation);
    drop(leases);
    for name in names {
        release(lock(holder, name).await).await;
    }
    reached == k
}
