//! What the store sees of a queue: one asker at a time, and a hold that goes from hand to hand.

use keyward::{ErrorKind, Locks, Released};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

use crate::{
    by_hand, now, paused,
    scripted::{Script, Scripted},
};

fn passing() -> (Scripted, Locks) {
    let backend = Scripted::new(Script { passes_on: true, ..Script::default() });
    let locks = backend.locks();
    (backend, locks)
}

#[test]
fn the_store_sees_one_asker_of_a_name() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let (locks, other) = (backend.locks(), backend.locks());
    let lease = now(other.lock_named("a")).unwrap();
    let waits = |n| if n % 3 == 1 { locks.lock_named("a").shared() } else { locks.lock_named("a") };
    let mut waits: Vec<_> = (0..9).map(|n| by_hand(waits(n))).collect();
    for wait in &mut waits {
        assert_pending!(wait.poll());
    }
    assert_eq!(backend.counts().acquires, 2, "the holder, and the first in the queue");
    let mut elsewhere = by_hand(locks.lock_named("b"));
    drop(assert_ready_ok!(elsewhere.poll()));
    drop(lease);
    for mut wait in waits {
        assert!(wait.is_woken());
        drop(assert_ready_ok!(wait.poll()));
    }
    assert_eq!(backend.counts().most_in_flight, 1);
    assert_eq!(backend.counts().acquires, 11);
    assert!(backend.is_free("a"));
}

#[test]
fn a_hold_is_passed_on_without_asking_the_store() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    let mut lease = now(locks.lock_named("a")).unwrap();
    let waits: Vec<_> = (0..5)
        .map(|_| {
            let mut wait = by_hand(locks.lock_named("a"));
            assert_pending!(wait.poll());
            wait
        })
        .collect();
    for (n, mut wait) in waits.into_iter().enumerate() {
        let token = lease.fencing_token();
        if n % 2 == 0 {
            drop(lease);
        } else {
            let released = assert_ready_ok!(task::spawn(lease.release()).poll());
            assert_eq!(released, Released::Released);
        }
        assert!(now(locks.try_lock_named("a")).unwrap_err().is_would_block(), "it has an heir");
        assert!(wait.is_woken());
        lease = assert_ready_ok!(wait.poll());
        assert!(lease.fencing_token() > token);
    }
    let counts = backend.counts();
    assert_eq!((counts.acquires, counts.passed_on, counts.releases), (1, 5, 0));
    let _ = assert_ready_ok!(task::spawn(lease.release()).poll());
    assert_eq!(backend.counts().releases, 1);
    assert!(backend.is_free("a"));
}

/// The next one does not wait for the store's word, who has released the lock does, and so does `close`.
#[test]
fn a_hold_that_is_passed_on_is_confirmed() {
    for word in [Ok(true), Ok(false), Err(ErrorKind::Unavailable)] {
        let runtime = paused();
        let _inside = runtime.enter();
        let (backend, locks) = passing();
        backend.script().confirms = Some(word);
        let lease = now(locks.lock_named("a")).unwrap();
        let mut wait = by_hand(locks.lock_named("a"));
        assert_pending!(wait.poll());
        let slow = backend.store().releasing.clone().try_write_owned().unwrap();
        let mut release = task::spawn(lease.release());
        assert_pending!(release.poll());
        let next = assert_ready_ok!(wait.poll());
        assert_eq!(backend.counts().passed_on, 1);
        let mut close = task::spawn(locks.close());
        assert_pending!(close.poll());
        drop(next);
        assert_pending!(close.poll(), "a release is not confirmed");
        drop(slow);
        let released = assert_ready!(release.poll());
        match word {
            Ok(true) => assert_eq!(released.unwrap(), Released::Released),
            Ok(false) => assert_eq!(released.unwrap(), Released::WasLost),
            Err(kind) => {
                let error = released.unwrap_err();
                assert_eq!((error.kind(), error.backend()), (kind, Some("scripted")));
                assert_eq!(error.name().unwrap().as_bytes(), b"a");
            }
        }
        assert_ready!(close.poll());
        assert!(backend.is_free("a"));
    }
}

/// Whoever drops it does not ask, and a release that is dropped has been made.
#[test]
fn a_confirmation_may_be_dropped() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    backend.script().confirms = Some(Ok(true));
    let _slow = backend.store().releasing.clone().try_write_owned().unwrap();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut first = by_hand(locks.lock_named("a"));
    let mut second = by_hand(locks.lock_named("a"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    drop(release);
    drop(assert_ready_ok!(first.poll()));
    drop(assert_ready_ok!(second.poll()));
    assert_ready!(task::spawn(locks.close()).poll());
    assert!(backend.is_free("a"));
}

#[test]
fn a_backend_may_refuse_to_pass_on() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut first = by_hand(locks.lock_named("a"));
    let mut second = by_hand(locks.lock_named("a"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(lease);
    let lease = assert_ready_ok!(first.poll());
    backend.script().passes_on = false;
    drop(lease);
    drop(assert_ready_ok!(second.poll()));
    let counts = backend.counts();
    assert_eq!((counts.acquires, counts.passed_on), (2, 1));
}

/// H3: the next one must not meet our hold at the store.
#[test]
fn the_turn_is_kept_until_the_store_has_confirmed() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    let slow = backend.store().releasing.clone().try_write_owned().unwrap();
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    assert!(!wait.is_woken());
    assert_eq!(backend.counts().acquires, 1);
    drop(slow);
    assert_eq!(assert_ready_ok!(release.poll()), Released::Released);
    drop(release);
    assert!(wait.is_woken());
    drop(assert_ready_ok!(wait.poll()));
}

#[test]
fn what_was_passed_on_is_freed_if_the_only_heir_is_gone() {
    let runtime = paused();
    let _inside = runtime.enter();
    for shared in [false, true] {
        for release in [false, true] {
            let (backend, locks) = passing();
            let lease = now(locks.lock_named("a")).unwrap();
            let wait = locks.lock_named("a");
            let mut wait = by_hand(if shared { wait.shared() } else { wait });
            assert_pending!(wait.poll());
            if release {
                let _ = assert_ready_ok!(task::spawn(lease.release()).poll());
            } else {
                drop(lease);
            }
            assert!(wait.is_woken());
            drop(wait);
            assert!(backend.is_free("a"), "shared: {shared}, release: {release}");
            assert!(now(backend.locks().try_lock_named("a")).is_ok());
        }
    }
}

#[test]
fn an_heir_that_is_gone_leaves_it_to_the_next() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut waits: Vec<_> = (0..4).map(|_| by_hand(locks.lock_named("a"))).collect();
    for wait in &mut waits {
        assert_pending!(wait.poll());
    }
    drop(lease);
    let mut last = waits.pop().unwrap();
    for wait in waits {
        assert!(wait.is_woken() && !last.is_woken());
        drop(wait);
    }
    assert!(last.is_woken());
    let lease = assert_ready_ok!(last.poll());
    assert_eq!((backend.counts().acquires, backend.counts().passed_on), (1, 1));
    drop(lease);
    assert!(backend.is_free("a"));
}

#[test]
fn an_heir_whose_time_is_up_leaves_nothing() {
    paused().block_on(async {
        let (backend, locks) = passing();
        let lease = locks.lock_named("a").await.unwrap();
        let second = std::time::Duration::from_secs(1);
        let mut wait = by_hand(locks.lock_named("a").timeout(second));
        assert_pending!(wait.poll());
        tokio::time::advance(2 * second).await;
        drop(lease);
        // It has been granted, and that is seen first.
        drop(assert_ready_ok!(wait.poll()));
        assert!(backend.is_free("a"));
    });
}

#[test]
fn readers_after_a_writer_do_not_inherit_its_hold() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut one = by_hand(locks.lock_named("a").shared());
    let mut two = by_hand(locks.lock_named("a").shared());
    assert_pending!(one.poll());
    assert_pending!(two.poll());
    drop(lease);
    let one = assert_ready_ok!(one.poll());
    let two = assert_ready_ok!(two.poll());
    assert_eq!((one.fencing_token(), two.fencing_token()), (None, None));
    drop((one, two));
    assert!(backend.is_free("a"));
}

#[test]
fn a_failing_acquisition_does_not_poison_the_queue() {
    let runtime = paused();
    let _inside = runtime.enter();
    for shared in [false, true] {
        let backend = Scripted::default();
        let locks = backend.locks();
        let stall = backend.store().acquiring.clone().try_write_owned().unwrap();
        let wait = || if shared { locks.lock_named("a").shared() } else { locks.lock_named("a") };
        let mut waits: Vec<_> = (0..3).map(|_| by_hand(wait())).collect();
        backend.script().acquire_fails = Some(ErrorKind::Unavailable);
        for wait in &mut waits {
            assert_pending!(wait.poll());
        }
        drop(stall);
        let error = assert_ready_err!(waits[0].poll());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let error = assert_ready_err!(waits[1].poll());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "it has asked as well");
        backend.script().acquire_fails = None;
        drop(assert_ready_ok!(waits[2].poll()));
        assert!(backend.is_free("a"));
    }
}

#[test]
fn a_failing_release_lets_the_next_one_in() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    backend.script().release_fails = Some(ErrorKind::Unavailable);
    let error = assert_ready_err!(task::spawn(lease.release()).poll());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(assert_ready_ok!(wait.poll()));
}

#[test]
fn a_dropped_release_releases() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    let slow = backend.store().releasing.clone().try_write_owned().unwrap();
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    drop(release);
    assert!(wait.is_woken());
    drop(assert_ready_ok!(wait.poll()));
    drop(slow);
    assert!(backend.is_free("a"));
}

#[test]
fn a_release_that_is_never_polled_releases() {
    let (backend, locks) = passing();
    let lease = now(locks.lock_named("a")).unwrap();
    drop(lease.release());
    assert!(backend.is_free("a"));
}

/// A loss of the next holder is none of the one before.
#[test]
fn listeners_of_a_lease_that_was_passed_on_stay_silent() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (backend, locks) = passing();
    let lease = now(locks.lock_named("a")).unwrap();
    let (mut first, token) = (task::spawn(lease.lost()), lease.cancellation_token());
    assert_pending!(first.poll());
    let mut wait = by_hand(locks.lock_named("a"));
    assert_pending!(wait.poll());
    drop(lease);
    let lease = assert_ready_ok!(wait.poll());
    let mut second = task::spawn(lease.lost());
    assert_pending!(second.poll());
    assert!(backend.sever(b"a"));
    assert_ready!(second.poll());
    assert_pending!(first.poll());
    assert!(!token.is_cancelled());
    assert_eq!(assert_ready_ok!(task::spawn(lease.release()).poll()), Released::WasLost);
}

#[test]
fn nothing_is_passed_on_where_nobody_waits() {
    let (backend, locks) = passing();
    drop(now(locks.lock_named("a")).unwrap());
    let _ = assert_ready_ok!(task::spawn(now(locks.lock_named("a")).unwrap().release()).poll());
    let counts = backend.counts();
    assert_eq!((counts.acquires, counts.passed_on), (2, 0));
    assert!(backend.is_free("a"));
}

#[test]
fn names_of_one_key_have_one_queue() {
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::new(Script { key_follows: Some(b'/'), ..Script::default() });
    let locks = backend.locks();
    let lease = now(locks.lock_named("x/a")).unwrap();
    for other in ["y/a", "a", "x/a"] {
        assert!(now(locks.try_lock_named(other)).unwrap_err().is_would_block(), "{other}");
    }
    assert!(now(locks.try_lock_named("x/b")).is_ok());
    let mut wait = by_hand(locks.lock_named("y/a"));
    assert_pending!(wait.poll());
    assert_eq!(backend.counts().acquires, 2, "the other waits for its turn, not at the store");
    drop(lease);
    drop(assert_ready_ok!(wait.poll()));
}
