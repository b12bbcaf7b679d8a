//! Losses that come at the worst moment. Whatever the order, a hold ends once: released or lost, and the
//! loss is told to the one who had the hold, once.

use std::{future::IntoFuture, pin::Pin, sync::Arc};

use keyward::{
    Lease, LeaseState, Locks, LossReason, Released,
    memory::{MemoryBackend, MemoryFaults},
};
use shuttle::{future::block_on, thread};

use crate::{
    harness::{Model, warned},
    scripted::{Script, Scripted},
    support::{join, join_all, poll, queued, task},
};

pub(crate) const MODELS: &[Model] = &[
    ("a_loss_meets_a_release", a_loss_meets_a_release),
    ("a_loss_meets_a_hand_over", a_loss_meets_a_hand_over),
    ("a_loss_meets_a_drop", a_loss_meets_a_drop),
    ("readers_lose_together", readers_lose_together),
    ("losses_in_memory", losses_in_memory),
    ("what_is_told_agrees", what_is_told_agrees),
    ("work_under_a_lease_that_is_lost", work_under_a_lease_that_is_lost),
];

fn scripted() -> (Scripted, Locks) {
    let backend = Scripted::new(Script { passes_on: true, turns: 1, ..Script::default() });
    let locks = backend.locks();
    (backend, locks)
}

fn memory() -> (MemoryBackend, MemoryFaults, Locks) {
    let store = MemoryBackend::new();
    let (faults, locks) = (store.faults(), Locks::builder().backend(store.clone()));
    (store, faults, locks)
}

fn held(locks: &Locks) -> Lease {
    block_on(locks.lock_named("a").into_future()).unwrap()
}

/// Whether a lease has been lost when it ends: the last word is the release's, and nobody who listens
/// has heard anything else. (A release that meets the loss may come before its news.)
async fn end(lease: Lease) -> bool {
    let mut lost = lease.lost();
    let was_lost = lease.release().await.unwrap() == Released::WasLost;
    let told = poll(Pin::new(&mut lost)).is_some();
    assert!(was_lost || !told, "told of a loss, and released");
    was_lost
}

/// Released or lost, never both and never neither.
fn a_loss_meets_a_release() {
    let (backend, locks) = scripted();
    let lease = held(&locks);
    let severs = thread::spawn({
        let backend = backend.clone();
        move || backend.sever(b"a")
    });
    let was_lost = join(task(end(lease)));
    assert_eq!(severs.join().unwrap(), was_lost);
    assert_eq!(warned(), usize::from(was_lost));
    assert!(backend.is_free("a"));
}

/// The loss is the first holder's or the second's; the second never gets what was lost before.
fn a_loss_meets_a_hand_over() {
    let (backend, locks) = scripted();
    let first = held(&locks);
    let second = queued(locks.lock_named("a").into_future());
    let severs = thread::spawn({
        let backend = backend.clone();
        move || backend.sever(b"a")
    });
    let first = task(end(first));
    let second = task(async move { end(second.await.unwrap()).await });
    let lost = [join(first), join(second)];
    let lost = lost.into_iter().filter(|lost| *lost).count();
    assert_eq!(lost, usize::from(severs.join().unwrap()));
    assert_eq!(warned(), lost);
    assert!(backend.is_free("a"));
}

/// As before, but nobody hears of a loss whose lease is dropped.
fn a_loss_meets_a_drop() {
    let (backend, locks) = scripted();
    let first = held(&locks);
    let second = queued(locks.lock_named("a").into_future());
    let severs = thread::spawn({
        let backend = backend.clone();
        move || backend.sever(b"a")
    });
    let drops = thread::spawn(move || drop(first));
    let second = task(async move {
        let lease = second.await.unwrap();
        let vouched_for = lease.ensure_held().await.is_ok();
        let was_lost = end(lease).await;
        assert!(vouched_for || was_lost);
        was_lost
    });
    drops.join().unwrap();
    let (lost, severed) = (join(second), severs.join().unwrap());
    assert!(severed || !lost, "a loss that nobody has made");
    assert!(backend.is_free("a"));
}

/// Readers that share a hold are lost together, except who has left; who comes then has a hold of its
/// own.
fn readers_lose_together() {
    let (_store, faults, locks) = memory();
    let one = block_on(locks.lock_named("a").shared().into_future()).unwrap();
    let two = block_on(locks.lock_named("a").shared().into_future()).unwrap();
    let loses = thread::spawn(move || faults.lose("a", LossReason::Closed));
    let tasks = [one, two].map(|lease| task(end(lease)));
    let third = task({
        let locks = locks.clone();
        async move { end(locks.lock_named("a").shared().await.unwrap()).await }
    });
    let lost = join_all(tasks).into_iter().filter(|lost| *lost).count() + usize::from(join(third));
    assert!(loses.join().unwrap() <= 3);
    assert_eq!(warned(), lost);
    assert!(block_on(locks.try_lock_named("a").into_future()).is_ok());
}

/// Two processes, three holders, one loss: each holder has a larger token than who had the name before.
fn losses_in_memory() {
    let (store, faults, locks) = memory();
    let other = Locks::builder().backend(store);
    let first = held(&locks);
    let token = first.fencing_token();
    let waits = [&locks, &other].map(|locks| queued(locks.lock_named("a").into_future()));
    let loses = thread::spawn(move || faults.lose("a", LossReason::NotOwner));
    let first = task(end(first));
    let others = waits.map(|wait| {
        task(async move {
            let lease = wait.await.unwrap();
            assert!(lease.fencing_token() > token);
            end(lease).await
        })
    });
    let lost = usize::from(join(first)) + join_all(others).map(usize::from).iter().sum::<usize>();
    assert_eq!(lost, loses.join().unwrap());
    assert_eq!(warned(), lost);
    assert!(block_on(locks.try_lock_named("a").into_future()).is_ok());
}

/// State, tokens and futures of one lease, while the store is in doubt, recovers, and loses it.
fn what_is_told_agrees() {
    let (_store, faults, locks) = memory();
    let lease = Arc::new(held(&locks));
    let doubts = thread::spawn({
        let faults = faults.clone();
        move || {
            faults.suspend("a");
            faults.resume("a");
        }
    });
    let loses = thread::spawn(move || faults.lose("a", LossReason::Removed));
    let lost = LeaseState::Lost(LossReason::Removed);
    let hears = task({
        let lease = Arc::clone(&lease);
        async move {
            let token = lease.cancellation_token();
            assert_eq!(lease.lost().await, LossReason::Removed);
            assert_eq!(lease.state(), lost, "the future comes last");
            assert!(token.is_cancelled() && lease.cancellation_token().is_cancelled());
        }
    });
    let looks = thread::spawn({
        let lease = Arc::clone(&lease);
        move || {
            let token = lease.cancellation_token();
            let mut final_ = false;
            for _ in 0..3 {
                let cancelled = token.is_cancelled();
                let state = lease.state();
                assert!(!(final_ || cancelled) || state == lost, "{state:?} after a loss");
                final_ |= state == lost;
            }
        }
    });
    assert_eq!(loses.join().unwrap(), 1);
    doubts.join().unwrap();
    join(hears);
    looks.join().unwrap();
    assert_eq!(lease.state(), lost);
    let lease = Arc::into_inner(lease).unwrap();
    assert_eq!(block_on(lease.release()).unwrap(), Released::WasLost);
    assert_eq!(warned(), 1);
}

/// The work is dropped by the loss, or was done before it.
fn work_under_a_lease_that_is_lost() {
    let (_store, faults, locks) = memory();
    let lease = held(&locks);
    let (done, dropped) = (Arc::new(()), Arc::new(()));
    let work = {
        let (done, dropped) = (Arc::downgrade(&done), Arc::clone(&dropped));
        async move {
            let _dropped = dropped;
            shuttle::future::yield_now().await;
            done.strong_count()
        }
    };
    let loses = thread::spawn(move || faults.lose("a", LossReason::Expired));
    let runs = task(async move {
        let outcome = lease.run(work).await;
        assert_eq!(Arc::strong_count(&dropped), 1, "the work is still there");
        if let Err(e) = &outcome {
            assert!(e.is_lost(), "{e}");
        }
        (outcome.is_err(), end(lease).await)
    });
    let (stopped, was_lost) = join(runs);
    assert!(was_lost || !stopped);
    assert_eq!(loses.join().unwrap(), usize::from(was_lost));
    drop(done);
}
