//! Closing: once it returns, the store holds nothing of ours.

use keyward::ErrorKind;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

use crate::{
    by_hand, now, paused,
    scripted::{Script, Scripted},
};

#[test]
fn it_waits_for_leases_and_refuses_new_ones() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut closing = task::spawn(locks.close());
    assert_pending!(closing.poll());
    for refused in
        [locks.lock_named("b"), locks.try_lock_named("b"), locks.lock_named("b").shared()]
    {
        let error = now(refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.name().unwrap().to_string(), "b");
        assert_eq!(error.backend(), Some("scripted"));
    }
    assert_eq!(
        now(locks.clone().with_prefix("b").lock_named("")).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(lease.ensure_held().now_or_never().unwrap().is_ok());
    assert_eq!(backend.counts().closes, 0);
    drop(lease);
    assert!(closing.is_woken());
    assert_ready!(closing.poll());
    assert_eq!(backend.counts().closes, 1);
    assert_eq!(backend.counts().acquires, 1, "the store was not asked for the others");
}

#[test]
fn it_ends_waits_in_the_queue_and_at_the_store() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let (locks, other) = (backend.locks(), backend.locks());
    let lease = now(other.lock_named("a")).unwrap();
    let mut asking = by_hand(locks.lock_named("a"));
    let mut queued = by_hand(locks.lock_named("a").shared());
    let mut all = by_hand(locks.lock_all(["b", "a"]));
    assert_pending!(asking.poll());
    assert_pending!(queued.poll());
    assert_pending!(all.poll());
    let mut closing = task::spawn(locks.close());
    assert_pending!(closing.poll(), "something of ours is queued at the store");
    assert!(asking.is_woken() && queued.is_woken() && all.is_woken());
    for wait in [&mut asking, &mut queued] {
        assert_eq!(assert_ready_err!(wait.poll()).kind(), ErrorKind::Closed);
    }
    assert_eq!(assert_ready_err!(all.poll()).kind(), ErrorKind::Closed);
    assert_ready!(closing.poll());
    drop(lease);
    assert!(backend.is_free("a") && backend.is_free("b"));
}

/// A grant that arrives while the locks are closed: taken, or given back, but never after closing.
#[test]
fn no_lease_is_granted_once_it_has_returned() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let (locks, other) = (backend.locks(), backend.locks());
    let lease = now(other.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    drop(lease); // the store has granted it, and nobody has looked yet
    assert!(wait.is_woken() && !backend.is_free("a"));
    let mut closing = task::spawn(locks.close());
    assert_pending!(closing.poll(), "the store holds a name for us");
    match assert_ready!(wait.poll()) {
        Ok(lease) => {
            assert_pending!(closing.poll(), "a lease is out");
            drop(lease);
        }
        Err(e) => assert_eq!(e.kind(), ErrorKind::Closed),
    }
    assert_ready!(closing.poll());
    assert!(backend.is_free("a"));
}

/// The same with a hold that was passed on, and kept for the next in the queue.
#[test]
fn it_waits_for_what_was_handed_over() {
    let runtime = paused();
    let _inside = runtime.enter();
    for polled in [true, false] {
        let backend = Scripted::new(Script { passes_on: true, ..Script::default() });
        let locks = backend.locks();
        let lease = now(locks.lock_named("a")).unwrap();
        let mut wait = by_hand(locks.lock_named("a"));
        assert_pending!(wait.poll());
        drop(lease);
        assert_eq!(backend.counts().passed_on, 1);
        let mut closing = task::spawn(locks.close());
        assert_pending!(closing.poll(), "the store holds a name for us");
        if polled {
            drop(assert_ready!(wait.poll()));
        } else {
            drop(wait);
        }
        assert!(closing.is_woken());
        assert_ready!(closing.poll());
        assert!(backend.is_free("a"));
    }
}

#[test]
fn it_waits_for_releases_that_are_under_way() {
    for shared in [false, true] {
        let backend = Scripted::default();
        let locks = backend.locks();
        let wait = locks.lock_named("a");
        let lease = now(if shared { wait.shared() } else { wait }).unwrap();
        let slow = backend.store().releasing.clone().try_write_owned().unwrap();
        let mut release = task::spawn(lease.release());
        assert_pending!(release.poll());
        let mut closing = task::spawn(locks.close());
        assert_pending!(closing.poll(), "shared: {shared}: the store has not confirmed");
        drop(slow);
        assert!(release.is_woken());
        let _ = assert_ready_ok!(release.poll());
        assert!(closing.is_woken());
        assert_ready!(closing.poll());
        assert!(backend.is_free("a"));
    }
}

#[test]
fn the_backend_is_closed_once() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let clone = locks.clone();
    let lease = now(locks.lock_named("a")).unwrap();
    let (mut one, mut two) = (task::spawn(locks.close()), task::spawn(clone.close()));
    assert_pending!(one.poll());
    assert_pending!(two.poll());
    drop(lease);
    assert_ready!(one.poll());
    assert_ready!(two.poll());
    assert_ready!(task::spawn(locks.close()).poll());
    assert_eq!(backend.counts().closes, 1);
}

#[test]
fn others_on_the_same_store_go_on() {
    let backend = Scripted::default();
    let (locks, other) = (backend.locks(), backend.locks());
    assert_ready!(task::spawn(locks.close()).poll());
    assert!(now(other.lock_named("a")).is_ok());
}

use futures::FutureExt;
