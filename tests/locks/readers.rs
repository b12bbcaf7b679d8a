//! Readers of one process share a hold where the backend lets them.

use keyward::Released;
use tokio_test::{assert_pending, assert_ready_ok, task};

use crate::{
    by_hand, now, paused,
    scripted::{Script, Scripted},
};

fn admitting() -> Scripted {
    Scripted::new(Script { admits_readers: true, ..Script::default() })
}

#[test]
fn they_join_where_the_backend_admits_them() {
    let backend = admitting();
    let locks = backend.locks();
    let leases: Vec<_> = (0..4).map(|_| now(locks.lock_named("a").shared()).unwrap()).collect();
    let tried = now(locks.try_lock_named("a").shared()).unwrap();
    assert_eq!(backend.counts().acquires, 1);
    for lease in leases {
        let released = assert_ready_ok!(task::spawn(lease.release()).poll());
        assert_eq!(released, Released::Released);
        assert!(now(locks.try_lock_named("a")).unwrap_err().is_would_block());
    }
    assert_eq!(backend.counts().releases, 0, "one still reads");
    assert!(!backend.is_free("a"));
    let _ = assert_ready_ok!(task::spawn(tried.release()).poll());
    assert_eq!(backend.counts().releases, 1);
    assert!(backend.is_free("a"));
}

#[test]
fn who_leaves_others_reading_has_the_stores_word() {
    let backend = admitting();
    backend.script().confirms = Some(Ok(false));
    let locks = backend.locks();
    let [one, two, last] = [(); 3].map(|()| now(locks.lock_named("a").shared()).unwrap());
    for lease in [one, two] {
        let released = assert_ready_ok!(task::spawn(lease.release()).poll());
        assert_eq!(released, Released::WasLost);
    }
    // The store is asked for more than its word.
    let released = assert_ready_ok!(task::spawn(last.release()).poll());
    assert_eq!(released, Released::Released);
    assert_eq!(backend.counts().releases, 1);
}

#[test]
fn they_ask_the_store_where_it_does_not() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let leases: Vec<_> = (0..3).map(|_| now(locks.lock_named("a").shared()).unwrap()).collect();
    assert_eq!(backend.counts().acquires, 3);
    drop(leases);
    assert!(backend.is_free("a"));

    // And where it did, and does no more: others are queued.
    let backend = admitting();
    let locks = backend.locks();
    let first = now(locks.lock_named("a").shared()).unwrap();
    backend.script().admits_readers = false;
    let second = now(locks.lock_named("a").shared()).unwrap();
    backend.script().admits_readers = true;
    let third = now(locks.lock_named("a").shared()).unwrap();
    assert_eq!(backend.counts().acquires, 2);
    drop(second);
    assert!(!backend.is_free("a"));
    drop((first, third));
    assert!(backend.is_free("a"));
}

#[test]
fn a_writer_comes_between_readers() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = admitting();
    let locks = backend.locks();
    let reader = now(locks.lock_named("a").shared()).unwrap();
    let mut writer = by_hand(locks.lock_named("a"));
    assert_pending!(writer.poll());
    let mut later = by_hand(locks.lock_named("a").shared());
    assert_pending!(later.poll());
    assert!(now(locks.try_lock_named("a").shared()).unwrap_err().is_would_block());
    drop(reader);
    let writer = assert_ready_ok!(writer.poll());
    assert_pending!(later.poll());
    drop(writer);
    drop(assert_ready_ok!(later.poll()));
    assert!(backend.is_free("a"));
}

#[test]
fn nobody_joins_a_hold_that_is_being_released() {
    let backend = admitting();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a").shared()).unwrap();
    let slow = backend.store().releasing.clone().try_write_owned().unwrap();
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    let next = now(locks.lock_named("a").shared()).unwrap();
    assert_eq!(backend.counts().acquires, 2);
    drop(slow);
    let _ = assert_ready_ok!(release.poll());
    assert!(!backend.is_free("a"));
    drop(next);
    assert!(backend.is_free("a"));
}

#[test]
fn a_try_of_a_reader_passes_those_who_wait_for_the_turn() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let reader = now(locks.lock_named("a").shared()).unwrap();
    let stall = backend.store().acquiring.clone().try_write_owned().unwrap();
    let mut next = by_hand(locks.lock_named("a").shared());
    assert_pending!(next.poll());
    drop(stall);
    drop(now(locks.try_lock_named("a").shared()).unwrap());
    drop(assert_ready_ok!(next.poll()));
    drop(reader);
    assert!(backend.is_free("a"));
}

#[test]
fn names_that_differ_share_nothing() {
    let backend = admitting();
    let locks = backend.locks();
    let _a = now(locks.lock_named("a").shared()).unwrap();
    let _b = now(locks.lock_named("b").shared()).unwrap();
    assert_eq!(backend.counts().acquires, 2);
    assert!(now(locks.with_prefix("a").lock_named("b")).is_ok());
}

/// Also where the store does not see him: a hold of this process admits readers of this process.
#[test]
fn no_try_of_a_reader_passes_a_writer_who_waits_at_the_store() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = admitting();
    let locks = backend.locks();
    let reader = now(locks.lock_named("a").shared()).unwrap();
    let mut writer = by_hand(locks.lock_named("a"));
    assert_pending!(writer.poll());
    assert!(now(locks.try_lock_named("a").shared()).unwrap_err().is_would_block());
    drop(now(locks.try_lock_named("b").shared()).unwrap());
    drop(writer);
    drop(now(locks.try_lock_named("a").shared()).unwrap());
    drop(reader);
    assert!(backend.is_free("a"));
}

#[test]
fn a_try_does_not_pass_by_a_writer_who_is_about_to_ask_the_store() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::new(Script { turns: 3, ..Script::default() });
    let locks = backend.locks();
    let mut writer = by_hand(locks.lock_named("a"));
    for _ in 0..2 {
        assert_pending!(writer.poll());
        backend.script().turns = 0;
        let tried = now(locks.try_lock_named("a").shared());
        assert!(tried.unwrap_err().is_would_block(), "the store does not know of the writer yet");
        assert!(now(locks.try_lock_named("b").shared()).is_ok());
    }
    drop(writer);
    assert!(now(locks.try_lock_named("a").shared()).is_ok());
}
