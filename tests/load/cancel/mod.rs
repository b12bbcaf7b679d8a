//! Row 22: every async operation, dropped at each of its await points.
//!
//! For k = 1, 2, … until the operation comes to its end, each time in a fresh world: it is polled to its
//! k-th `Pending`, and then
//!
//! * **parked**: dropped there;
//! * **woken**: the world goes on until its waker has fired, so that what it has waited for may be its
//!   own by now, and it is dropped without another poll;
//! * **moved**: sent to another thread, polled there with another waker, and dropped there, outside of
//!   the runtime.
//!
//! Afterwards whoever comes next must have each name within a bound, nobody may be left in a queue, here
//! or in the store, and when the `Locks` are closed, no session may be left on the server.
//!
//! `tests/support/cancellation.rs` does the same where nothing is real: this one waits for wakes that
//! come over sockets and from threads.

pub(crate) mod keys;
pub(crate) mod leases;
mod operations;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{measure::joined, sessions::millis, stage::Stage};

pub(crate) type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a busy machine may take for what takes milliseconds.
const BOUND: Duration = Duration::from_secs(10);

/// How long an operation may be left without a wake before something is done that it may be waiting for.
/// It changes which interleavings are seen, and no verdict.
const GRACE: Duration = Duration::from_millis(8);

/// A wait that polls has an await point for each look.
const MOST: usize = 40;

/// How the operation is dropped at its await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Parked,
    Woken,
    Moved,
}

impl How {
    const ALL: [Self; 3] = [Self::Parked, Self::Woken, Self::Moved];
}

/// Where the operation is played.
pub(crate) trait World: Sized {
    fn operation(&mut self) -> impl Future<Output = Operation> + Send;

    /// Makes the next thing happen that the operation waits for; false if there is none.
    fn advance(&mut self) -> impl Future<Output = bool> + Send;

    /// Whether nothing of the operation is left, and how soon the next one had the names.
    fn check(self) -> impl Future<Output = Result<Duration, String>> + Send;
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An operation that is polled by hand.
struct ByHand {
    operation: Operation,
    bell: Arc<Bell>,
}

impl ByHand {
    /// True if it has come to its end.
    fn poll(&mut self) -> bool {
        self.bell.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        let is_ready = self.operation.as_mut().poll(&mut Context::from_waker(&waker));
        is_ready == Poll::Ready(())
    }

    fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::SeqCst)
    }
}

/// False if the operation came to its end before its k-th `Pending`.
async fn drop_at(world: &mut impl World, k: usize, how: How) -> Result<bool, String> {
    let mut hand = ByHand { operation: world.operation().await, bell: Arc::default() };
    for pending in 1.. {
        if hand.poll() {
            return Ok(false);
        }
        if pending == k && how != How::Woken {
            break;
        }
        let mut asleep = Instant::now();
        while !hand.is_woken() {
            tokio::time::sleep(millis(1)).await;
            if asleep.elapsed() > GRACE && world.advance().await {
                asleep = Instant::now();
            }
            if asleep.elapsed() > BOUND {
                return Err("nothing will ever wake it".to_owned());
            }
        }
        if pending == k {
            break;
        }
    }
    if how == How::Moved {
        let runtime = tokio::runtime::Handle::current();
        let other = thread::spawn(move || {
            {
                let _inside = runtime.enter();
                hand.bell = Arc::default();
                hand.poll();
            }
            drop(hand);
        });
        return joined(other)
            .await
            .map(|()| true)
            .map_err(|_| "a panic in another thread".to_owned());
    }
    drop(hand);
    Ok(true)
}

/// Plays an operation at all its points and writes its line; how many points there are.
pub(crate) async fn explore<W: World + Send, F: Future<Output = W> + Send>(
    stage: &Stage,
    name: &'static str,
    new: impl Fn() -> F + Send,
) -> usize {
    let (mut points, mut violations) = (0, 0);
    for how in How::ALL {
        for k in 1..=MOST {
            let mut world = new().await;
            let dropped = drop_at(&mut world, k, how).await;
            let checked = world.check().await;
            let goes_on = dropped.as_ref().is_ok_and(|&dropped| dropped);
            let problem = dropped.err().into_iter().chain(checked.as_ref().err().cloned());
            for problem in problem {
                violations += 1;
                stage.violation(format!("{name}, {how:?} at {k}: {problem}"));
            }
            if let Ok(next) = checked {
                stage.took("until the next one has the names", next);
            }
            if !goes_on {
                break;
            }
            points = points.max(k);
            // What comes after that is not tried.
            if k == MOST {
                violations += 1;
                stage.violation(format!("{name}, {how:?}: more than {MOST} points"));
            }
        }
    }
    let label = stage.backend.label();
    stage.line(format!("cancellation {label} {name} {points} points {violations} violations"));
    points
}

/// The line of all operations of a backend.
pub(crate) fn sum(stage: &Stage, points: usize) {
    let (label, violations) = (stage.backend.label(), stage.outcome().violations.len());
    stage.line(format!("cancellation {label} all {points} points {violations} violations"));
}
