//! One key, one holder.

use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn a_held_key_is_waited_for_and_handed_over() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    let mut wait = task::spawn(names.lock_named("vol-1"));
    assert_pending!(wait.poll());
    assert!(!wait.is_woken());
    drop(guard);
    assert!(wait.is_woken());
    assert!(names.try_lock_named("vol-1").is_err(), "handed over, not let go");
    let guard = assert_ready!(wait.poll());
    assert_eq!(guard.name(), "vol-1");
}

#[test]
fn other_keys_are_free() {
    let names = Names::new();
    let _held: Vec<_> = (0..100).map(|i| names.try_lock_named(&format!("vol-{i}"))).collect();
    for i in 0..100 {
        assert!(names.try_lock_named(&format!("vol-{i}")).is_err());
        assert!(names.try_lock_named(&format!("vol-{i}x")).is_ok());
    }
    assert_eq!(names.len(), 100);
}

#[test]
fn a_future_does_nothing_until_it_is_polled() {
    let names = Names::new();
    let wait = names.lock_named("vol-1");
    assert!(names.is_empty());
    drop(wait);
    assert!(names.try_lock_named("vol-1").is_ok());
}

#[test]
fn idle_keys_are_gone_at_once() {
    let names = Names::new();
    for round in 0..3 {
        let held: Vec<_> =
            (0..5000).map(|i| names.try_lock_named(&format!("{round}-{i}")).unwrap()).collect();
        assert_eq!(names.len(), 5000);
        drop(held);
        assert!(names.is_empty());
    }
}

#[test]
fn holders_and_waiters_are_counted() {
    let names = Names::new();
    assert_eq!((names.holders("vol-1"), names.waiters("vol-1")), (0, 0));
    let guard = names.try_lock_named("vol-1").unwrap();
    assert_eq!((names.holders("vol-1"), names.waiters("vol-1")), (1, 0));
    let mut waits: Vec<_> = (0..3).map(|_| task::spawn(names.lock_named("vol-1"))).collect();
    for (already, wait) in waits.iter_mut().enumerate() {
        assert_eq!(names.waiters("vol-1"), already);
        assert_pending!(wait.poll());
    }
    assert_eq!((names.holders("vol-1"), names.waiters("vol-1")), (1, 3));
    assert_eq!((names.holders("vol-2"), names.waiters("vol-2")), (0, 0));
    drop(guard);
    assert_eq!((names.holders("vol-1"), names.waiters("vol-1")), (1, 2), "handed over, not taken");
    drop(waits);
    assert_eq!((names.holders("vol-1"), names.waiters("vol-1")), (0, 0));
    assert!(names.is_empty());
}

#[test]
fn looking_does_not_disturb() {
    let names = Names::new();
    let guard = names.try_lock_named("vol-1").unwrap();
    assert_eq!(names.holders("vol-1"), 1);
    assert!(names.try_lock_named("vol-1").is_err());
    drop(guard);
    assert_eq!(names.holders("vol-1"), 0);
    assert!(names.try_lock_named("vol-1").is_ok());
}

#[test]
fn debug_shows_what_matters() {
    let names = Names::new().with_prefix("cinder-");
    let guard = names.try_lock_named("LIN").unwrap();
    assert_eq!(format!("{guard:?}"), r#"NamedGuard("cinder-LIN")"#);
    assert_eq!(format!("{names:?}"), r#"LockRegistry { held: 1, prefix: Some("cinder-"), .. }"#);
    assert_eq!(format!("{:?}", names.lock_named("LIN")), "LockNamed { .. }");
    drop(guard);
    let guard = names.try_read_named("LIN").unwrap();
    assert_eq!(format!("{guard:?}"), r#"NamedReadGuard("cinder-LIN")"#);
}

#[test]
fn errors_read_well() {
    let names = Names::new();
    let _guard = names.try_lock_named("vol-1").unwrap();
    let busy = names.try_lock_named("vol-1").unwrap_err();
    assert_eq!(busy.to_string(), "the lock is held and waiting was not asked for");
    let source: Box<dyn std::error::Error + Send + Sync> = busy.into();
    assert!(source.source().is_none());
}
