//! First come, first served, exactly.

use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn waiters_get_the_key_in_the_order_in_which_they_asked() {
    let names = Names::new();
    let mut guard = names.try_lock_named("vol-1").unwrap();
    let mut waits: Vec<_> = (0..100).map(|_| task::spawn(names.lock_named("vol-1"))).collect();
    for wait in &mut waits {
        assert_pending!(wait.poll());
    }
    for turn in 0..waits.len() {
        drop(guard);
        for (place, wait) in waits.iter().enumerate().skip(turn) {
            assert_eq!(wait.is_woken(), place == turn, "turn {turn}, place {place}");
        }
        guard = assert_ready!(waits[turn].poll());
    }
    drop(guard);
    drop(waits);
    assert!(names.is_empty());
}

#[test]
fn a_newcomer_does_not_overtake_one_that_was_woken() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut first = task::spawn(names.lock_named("vol-1"));
    assert_pending!(first.poll());
    drop(guard);
    let mut second = task::spawn(names.lock_named("vol-1"));
    assert_pending!(second.poll());
    assert!(names.try_lock_named("vol-1").is_err());
    drop(assert_ready!(first.poll()));
    assert!(second.is_woken());
    drop(assert_ready!(second.poll()));
}

#[test]
fn the_place_is_that_of_the_first_poll() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut made_first = task::spawn(names.lock_named("vol-1"));
    let mut polled_first = task::spawn(names.lock_named("vol-1"));
    assert_pending!(polled_first.poll());
    assert_pending!(made_first.poll());
    drop(guard);
    assert!(polled_first.is_woken() && !made_first.is_woken());
}

#[test]
fn polling_again_keeps_the_place() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut first = task::spawn(names.lock_named("vol-1"));
    let mut second = task::spawn(names.lock_named("vol-1"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    for _ in 0..10 {
        assert_pending!(first.poll());
    }
    drop(guard);
    assert!(first.is_woken() && !second.is_woken());
}

#[test]
fn a_waiter_that_leaves_the_middle_does_not_disturb_the_order() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut waits: Vec<_> = (0..5).map(|_| Some(task::spawn(names.lock_named("vol-1")))).collect();
    for wait in waits.iter_mut().flatten() {
        assert_pending!(wait.poll());
    }
    for gone in [2, 0, 4] {
        waits[gone] = None;
    }
    assert_eq!(names.waiters("vol-1"), 2);
    drop(guard);
    let guard = assert_ready!(waits[1].as_mut().unwrap().poll());
    assert!(!waits[3].as_ref().unwrap().is_woken());
    drop(guard);
    drop(assert_ready!(waits[3].as_mut().unwrap().poll()));
    drop(waits);
    assert!(names.is_empty());
}
