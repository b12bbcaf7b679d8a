//! Handles with a prefix, and registries as namespaces.

use std::time::Duration;

use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn a_prefixed_name_is_the_whole_name() {
    let names = Names::new();
    let cinder = names.with_prefix("cinder-");
    let guard = cinder.try_lock_named("LIN").unwrap();
    assert_eq!(guard.name(), "cinder-LIN");
    assert!(names.try_lock_named("cinder-LIN").is_err());
    assert!(cinder.try_lock_named("LIN").is_err());
    assert!(names.try_lock_named("LIN").is_ok());
    assert!(cinder.try_lock_named("cinder-LIN").is_ok());
    assert_eq!(
        (cinder.holders("LIN"), names.holders("cinder-LIN"), names.holders("LIN")),
        (1, 1, 0)
    );
    assert_eq!((cinder.len(), names.len()), (1, 1));
    drop(guard);
    assert!(names.is_empty());
}

#[test]
fn prefixes_add_up_and_an_empty_one_is_none() {
    let names = Names::new();
    let inner = names.with_prefix("a-").with_prefix("").with_prefix(String::from("b-"));
    let guard = inner.try_lock_named("c").unwrap();
    assert_eq!(guard.name(), "a-b-c");
    assert!(names.with_prefix("a-").try_lock_named("b-c").is_err());
    let clone = inner.clone();
    drop(inner);
    assert!(clone.try_lock_named("c").is_err(), "a clone keeps it");
}

#[test]
fn prefixed_waits_queue_with_the_others() {
    let names = Names::new();
    let cinder = names.with_prefix("cinder-");
    let guard = names.try_lock_named("cinder-LIN").unwrap();
    let mut first = task::spawn(cinder.lock_named("LIN"));
    let mut second = task::spawn(names.read_named("cinder-LIN"));
    let mut third = task::spawn(cinder.read_named("LIN"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!((cinder.waiters("LIN"), names.waiters("cinder-LIN")), (3, 3));
    drop(guard);
    drop(assert_ready!(first.poll()));
    assert_eq!(assert_ready!(second.poll()).name(), assert_ready!(third.poll()).name());
    assert!(names.is_empty());
}

#[test]
fn every_verb_knows_the_prefix() {
    let names = Names::new();
    let cinder = names.with_prefix("cinder-");
    let held = |count: usize| {
        assert_eq!(names.holders("cinder-a"), count);
    };
    let guard = assert_ready!(task::spawn(cinder.lock_named("a")).poll());
    held(1);
    drop(guard);
    let guards =
        (cinder.try_read_named("a"), assert_ready!(task::spawn(cinder.read_named("a")).poll()));
    held(2);
    drop(guards);
    let guard = cinder.blocking_lock_named("a");
    held(1);
    drop(guard);
    let guards = assert_ready!(task::spawn(cinder.lock_all(["b", "a"])).poll());
    assert!(guards.names().eq(["cinder-a", "cinder-b"]));
    held(1);
    drop(guards);
    let guard = assert_ready!(task::spawn(cinder.lock_named("a").timeout(Duration::ZERO)).poll());
    held(1);
    drop(guard);
    held(0);
}

#[test]
fn registries_are_namespaces() {
    let (one, two) = (Names::new(), Names::new());
    let clone = one.clone();
    let _guard = one.try_lock_named("a").unwrap();
    assert!(two.try_lock_named("a").is_ok());
    assert!(clone.try_lock_named("a").is_err(), "a clone is the same one");
}
