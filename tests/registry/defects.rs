//! The mistakes that keyed locks in the field have made, each as a case that would show it here.

use std::future::Future;

use futures::FutureExt;
use tokio::task::{JoinSet, yield_now};
use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

/// An entry that stays when a waiter is cancelled after the lock was handed to it: hold, queue a
/// second lock, drop the guard, drop the future, for thousands of keys that are never used again.
#[test]
fn a_cancelled_grant_leaves_no_entry() {
    let names = Names::new();
    for n in 0..5000 {
        let name = format!("vol-{n}");
        let guard = names.try_lock_named(&name).unwrap();
        let mut wait = task::spawn(names.lock_named(&name));
        assert_pending!(wait.poll());
        drop(guard);
        drop(wait);
        assert!(names.is_empty(), "{name}");
    }
}

/// Two holders by a sweep, or a removal without a count: the entry is removed while another task has
/// found it but is not queued yet. Few keys, each idle most of the time, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removal_races_with_nobody() {
    static INSIDE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let names = Names::new();
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let names = names.clone();
        tasks.spawn(async move {
            for n in 0..20_000 {
                if n % 8 == worker {
                    // Keys that come and go beside it, in the same shards.
                    drop(names.lock_named(&format!("other-{}", n % 7)).await);
                }
                let _guard = names.lock_named("vol-1").await;
                let inside = INSIDE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(inside, 0);
                if n % 64 == 0 {
                    yield_now().await;
                }
                INSIDE.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    tasks.join_all().await;
    assert!(names.is_empty());
}

/// A failed try that builds a guard first and drops it releases somebody else's lock.
#[test]
fn a_failed_try_releases_nothing() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    for _ in 0..100 {
        assert!(names.try_lock_named("vol-1").is_err());
        assert!(names.try_read_named("vol-1").is_err());
        assert_eq!(names.holders("vol-1"), 1);
    }
    drop(guard);
    assert!(names.is_empty());
}

/// Striped locks: two different keys deadlock in one task.
#[test]
fn different_keys_never_block_each_other() {
    let names = Names::new();
    let _first = names.try_lock_named("first").unwrap();
    let held: Vec<_> = (0..20_000)
        .map(|n| {
            names
                .lock_named(&format!("vol-{n}"))
                .now_or_never()
                .unwrap_or_else(|| panic!("vol-{n}"))
        })
        .collect();
    assert_eq!(names.len(), held.len() + 1);
}

/// A map that is poisoned, or whose assertions trip, after a cancellation.
#[test]
fn a_key_works_on_after_every_kind_of_end() {
    let names = Names::new();
    for _ in 0..3 {
        let guard = names.try_lock_named("vol-1").unwrap();
        let mut cancelled = task::spawn(names.lock_named("vol-1"));
        let mut granted = task::spawn(names.lock_named("vol-1"));
        assert_pending!(cancelled.poll());
        assert_pending!(granted.poll());
        drop(cancelled);
        drop(guard);
        drop(assert_ready!(granted.poll()));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = names.try_lock_named("vol-1").unwrap();
            panic!("while holding");
        }));
        assert!(panicked.is_err());
        assert!(names.is_empty());
    }
}

/// Names that are global to the process: two libraries meet by accident.
#[test]
fn two_registries_never_meet() {
    let (one, two) = (Names::new(), Names::new());
    let _guard = one.try_lock_named("vol-1").unwrap();
    assert!(two.try_lock_named("vol-1").is_ok());
}

/// A wake-up lost because the waker was replaced after the grant, or kept because it was not.
#[test]
fn the_newest_waker_is_the_one_that_is_woken() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut wait = Box::pin(names.lock_named("vol-1"));
    let (mut first, mut second) = (task::spawn(()), task::spawn(()));
    first.enter(|cx, _| assert_pending!(wait.as_mut().poll(cx)));
    second.enter(|cx, _| assert_pending!(wait.as_mut().poll(cx)));
    drop(guard);
    assert!(second.is_woken() && !first.is_woken());
    drop(second.enter(|cx, _| assert_ready!(wait.as_mut().poll(cx))));
    assert!(names.is_empty());
}

/// A waker that is dropped or cloned under the lock of the table: dropping it may run a task's
/// destructor, which may release a lock of the same table.
#[test]
fn a_waker_may_hold_a_guard() {
    struct Holder(#[expect(dead_code, reason = "held for its drop")] keyward::NamedGuard);
    impl std::task::Wake for Holder {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    let names = Names::new();
    // All keys in the table at once, so that some share their shard.
    for n in 0..200 {
        let guard = names.try_lock_named("vol-1").unwrap();
        let mut wait = Box::pin(names.lock_named("vol-1"));
        let inner = names.try_lock_named(&format!("inner-{n}")).unwrap();
        let waker = std::sync::Arc::new(Holder(inner)).into();
        let mut cx = std::task::Context::from_waker(&waker);
        assert_pending!(wait.as_mut().poll(&mut cx));
        drop(waker);
        match n % 3 {
            0 => drop(wait),  // drops the waker, hence the inner guard
            1 => drop(guard), // wakes it, which drops it
            _ => {
                let other = futures::task::noop_waker();
                let mut cx = std::task::Context::from_waker(&other);
                assert_pending!(wait.as_mut().poll(&mut cx)); // replaces it
            }
        }
    }
    assert!(names.is_empty());
}
