//! After completion a future stays pending, and says so.

use std::time::Duration;

use futures::{FutureExt, future::FusedFuture, pin_mut, select};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};

use crate::Names;

#[test]
fn a_finished_future_is_pending_for_ever() {
    let names = Names::new();
    let mut lock = task::spawn(Box::pin(names.lock_named("a")));
    assert!(!lock.is_terminated());
    drop(assert_ready!(lock.poll()));
    assert!(lock.is_terminated());
    assert_pending!(lock.poll());
    assert!(names.is_empty(), "and it took nothing again");

    let mut read = task::spawn(Box::pin(names.read_named("a")));
    drop(assert_ready!(read.poll()));
    assert!(read.is_terminated());
    assert_pending!(read.poll());

    let mut all = task::spawn(Box::pin(names.lock_all(["a", "b"])));
    assert!(!all.is_terminated());
    drop(assert_ready!(all.poll()));
    assert!(all.is_terminated());
    assert_pending!(all.poll());

    let mut timeout = task::spawn(Box::pin(names.lock_named("a").timeout(Duration::from_secs(1))));
    assert!(!timeout.is_terminated());
    drop(assert_ready_ok!(timeout.poll()));
    assert!(timeout.is_terminated());
    assert_pending!(timeout.poll());
    assert!(names.is_empty());
}

#[test]
fn a_queued_future_is_not_finished() {
    let names = Names::new();
    let guard = names.try_lock_named("a").unwrap();
    let mut lock = task::spawn(Box::pin(names.lock_named("a")));
    assert_pending!(lock.poll());
    assert!(!lock.is_terminated());
    drop(guard);
    assert!(!lock.is_terminated(), "granted, not returned");
    drop(assert_ready!(lock.poll()));
    assert!(lock.is_terminated());
}

#[test]
fn it_works_in_futures_select_loops() {
    let names = Names::new();
    let (a, b) = (names.lock_named("a"), names.lock_named("b"));
    pin_mut!(a, b);
    let mut seen = Vec::new();
    let both = async {
        loop {
            select! {
                guard = a => seen.push(guard.name().clone()),
                guard = b => seen.push(guard.name().clone()),
                complete => break,
            }
        }
    };
    both.now_or_never().unwrap();
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
}
