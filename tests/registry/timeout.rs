//! Waits with a limit, on Tokio's paused clock.

use std::{pin::pin, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

use crate::Names;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_free_key_is_locked_whatever_the_limit() {
    let names = Names::new();
    for limit in [Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::MAX] {
        assert!(names.lock_named("a").timeout(limit).await.is_ok());
        assert!(names.read_named("a").timeout(limit).await.is_ok());
    }
}

#[test]
fn a_free_key_needs_no_runtime() {
    let names = Names::new();
    assert!(names.lock_named("a").timeout(SECOND).now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_times_out_at_the_limit() {
    let names = Names::new();
    let _guard = names.lock_named("a").await;
    for limit in [Duration::ZERO, Duration::from_millis(1), SECOND, 3600 * SECOND] {
        let start = Instant::now();
        let late = names.lock_named("a").timeout(limit).await.unwrap_err();
        assert_eq!(late.to_string(), "the lock was not to be had within the time limit");
        let (waited, tick) = (start.elapsed(), Duration::from_millis(1));
        assert!(waited >= limit && waited <= limit + tick, "{limit:?}: {waited:?}");
        assert_eq!(names.waiters("a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_from_the_first_poll() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let wait = names.lock_named("a").timeout(SECOND);
    advance(10 * SECOND).await;
    let mut wait = task::spawn(wait);
    assert_pending!(wait.poll());
    drop(guard);
    drop(assert_ready_ok!(wait.poll()));
}

#[tokio::test(start_paused = true)]
async fn a_grant_in_time_wins_even_if_it_is_seen_late() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let mut wait = task::spawn(names.lock_named("a").timeout(SECOND));
    assert_pending!(wait.poll());
    drop(guard);
    advance(5 * SECOND).await;
    drop(assert_ready_ok!(wait.poll()));
}

#[tokio::test(start_paused = true)]
async fn the_place_is_given_up_before_the_error_is_returned() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let mut wait = task::spawn(names.lock_named("a").timeout(SECOND));
    let mut next = task::spawn(names.lock_named("a"));
    assert_pending!(wait.poll());
    assert_pending!(next.poll());
    advance(2 * SECOND).await;
    assert_ready_err!(wait.poll());
    drop(guard);
    assert!(next.is_woken(), "the one that timed out is not in the way, though it still exists");
    drop(assert_ready!(next.poll()));
    drop(wait);
    assert!(names.is_empty());
}

#[tokio::test(start_paused = true)]
async fn for_ever_is_for_ever() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let mut wait = task::spawn(names.lock_named("a").timeout(Duration::MAX));
    assert_pending!(wait.poll());
    advance(365 * 24 * 3600 * SECOND).await;
    assert_pending!(wait.poll());
    drop(guard);
    drop(assert_ready_ok!(wait.poll()));
}

#[tokio::test(start_paused = true)]
async fn select_with_a_sleep_keeps_the_place() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let mut wait = pin!(names.lock_named("a"));
    let mut ticks = 0;
    let mut guard = Some(guard);
    let held = loop {
        tokio::select! {
            held = &mut wait => break held,
            () = tokio::time::sleep(SECOND) => {
                ticks += 1;
                assert_eq!(names.waiters("a"), 1);
                if ticks == 3 {
                    guard = None;
                }
            }
        }
    };
    assert_eq!((ticks, held.name().as_str(), guard.is_none()), (3, "a", true));
}
