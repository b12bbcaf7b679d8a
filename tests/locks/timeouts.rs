//! Waits with a limit, on Tokio's paused clock.

use std::time::Duration;

use keyward::ErrorKind;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};

use crate::{
    by_hand, memory,
    scripted::{Script, Scripted},
};

const SECOND: Duration = Duration::from_secs(1);
/// The clock's.
const TICK: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_held_name_times_out_at_the_limit() {
    let backend = Scripted::default();
    let (locks, other) = (backend.locks(), backend.locks());
    let _lease = locks.lock_named("a").await.unwrap();
    for limit in [Duration::ZERO, Duration::from_nanos(1), TICK, SECOND, 100 * SECOND] {
        for locks in [&locks, &other] {
            for shared in [false, true] {
                let wait = locks.lock_named("a").timeout(limit);
                let start = Instant::now();
                let late = if shared { wait.shared().await } else { wait.await }.unwrap_err();
                assert_eq!(late.kind(), ErrorKind::TimedOut);
                let waited = start.elapsed();
                assert!(waited >= limit && waited <= limit + TICK, "{limit:?}: {waited:?}");
            }
        }
    }
    assert_eq!(locks.inspect("a").await.unwrap().waiters, 0);
}

#[tokio::test(start_paused = true)]
async fn a_free_name_is_locked_whatever_the_limit() {
    let locks = memory();
    let limits =
        [Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::MAX - TICK, Duration::MAX];
    for limit in limits {
        drop(locks.lock_named("a").timeout(limit).await.unwrap());
        drop(locks.lock_all(["a", "b"]).timeout(limit).await.unwrap());
    }
    drop(locks.lock_named("a").deadline(Instant::now()).await.unwrap());
    advance(SECOND).await;
    drop(locks.lock_named("a").deadline(Instant::now() - SECOND).await.unwrap());
}

/// A store is not asked in one poll: it has to be given the time to answer once.
#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_a_try_also_of_a_slow_store() {
    let backend = Scripted::new(Script { turns: 3, ..Script::default() });
    let locks = backend.locks();
    let lease = locks.lock_named("a").timeout(Duration::ZERO).await.unwrap();
    let late = locks.lock_named("a").timeout(Duration::ZERO).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    drop(lease);
    drop(locks.lock_named("a").deadline(Instant::now()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_from_the_first_poll() {
    let locks = memory();
    let lease = locks.lock_named("a").await.unwrap();
    let mut wait = by_hand(locks.lock_named("a").timeout(SECOND));
    advance(10 * SECOND).await;
    assert_pending!(wait.poll());
    drop(lease);
    drop(assert_ready_ok!(wait.poll()));
}

#[tokio::test(start_paused = true)]
async fn no_limit_waits_for_ever() {
    let locks = memory();
    let lease = locks.lock_named("a").await.unwrap();
    let year = 365 * 24 * 3600 * SECOND;
    let mut waits = [
        by_hand(locks.lock_named("a")),
        by_hand(locks.lock_named("a").timeout(Duration::MAX)),
        by_hand(locks.lock_named("a").timeout(Duration::MAX - TICK)),
        by_hand(locks.lock_named("a").timeout(1000 * year)),
    ];
    for wait in &mut waits {
        assert_pending!(wait.poll());
    }
    advance(2 * year).await;
    for wait in &mut waits {
        assert_pending!(wait.poll());
    }
    drop(lease);
    for wait in &mut waits {
        drop(assert_ready_ok!(wait.poll()));
    }
}

#[tokio::test(start_paused = true)]
async fn of_limit_and_deadline_the_last_one_counts() {
    let locks = memory();
    let _lease = locks.lock_named("a").await.unwrap();
    let start = Instant::now();
    let late = locks.lock_named("a").deadline(start + 9 * SECOND).timeout(SECOND).await;
    assert!(late.unwrap_err().is_timed_out() && start.elapsed() < 2 * SECOND);
    let late = locks.lock_named("a").timeout(SECOND).deadline(start + 9 * SECOND).await;
    assert!(late.unwrap_err().is_timed_out() && start.elapsed() >= 9 * SECOND);
    let busy = locks.lock_named("a").timeout(SECOND).blocking(false).await.unwrap_err();
    assert!(busy.is_would_block());
    let late = locks.try_lock_named("a").blocking(true).timeout(SECOND).await.unwrap_err();
    assert!(late.is_timed_out());
}

#[tokio::test(start_paused = true)]
async fn a_limit_covers_all_names_together() {
    let locks = memory();
    let a = locks.lock_named("a").await.unwrap();
    let _b = locks.lock_named("b").await.unwrap();
    let start = Instant::now();
    let mut all = by_hand(locks.lock_all(["a", "b", "c"]).timeout(10 * SECOND));
    assert_pending!(all.poll());
    advance(9 * SECOND).await;
    drop(a);
    assert_pending!(all.poll());
    assert!(locks.try_lock_named("a").await.is_err(), "it has that one now");
    advance(2 * SECOND).await;
    let late = assert_ready_err!(all.poll());
    assert!(late.is_timed_out());
    assert_eq!(late.name().unwrap().to_string(), "b");
    assert!(start.elapsed() < 12 * SECOND);
    assert!(locks.try_lock_named("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_a_store_that_does_not_answer() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let stall = backend.store().acquiring.clone().try_write_owned().unwrap();
    let mut wait = by_hand(locks.lock_named("a").timeout(SECOND));
    assert_pending!(wait.poll());
    let mut queued = by_hand(locks.lock_named("a").timeout(SECOND));
    assert_pending!(queued.poll());
    advance(2 * SECOND).await;
    assert!(assert_ready_err!(wait.poll()).is_timed_out());
    assert!(assert_ready_err!(queued.poll()).is_timed_out());
    drop(stall);
    drop(locks.lock_named("a").await.unwrap());
    assert!(backend.is_free("a"));
}
