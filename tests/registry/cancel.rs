//! Every await point of every future, dropped parked and dropped woken.

use std::{cell::RefCell, future::Future, pin::Pin, time::Duration};

use keyward::{NamedGuard, NamedReadGuard};
use tokio_test::{assert_pending, assert_ready, task};

use crate::{
    Names,
    support::cancellation::{Drop, World, explore},
};

/// Keys that are held by others, who let go one by one.
struct Busy {
    names: Names,
    writers: RefCell<Vec<NamedGuard>>,
    readers: RefCell<Vec<NamedReadGuard>>,
    operation: Op,
}

type Operation<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Op = for<'a> fn(&'a Names) -> Operation<'a>;

impl Busy {
    fn new(writers: &[&str], readers: &[&str], operation: Op) -> Self {
        let names = Names::new();
        let lock = |name: &&str| names.try_lock_named(*name).unwrap();
        let read = |name: &&str| names.try_read_named(*name).unwrap();
        Self {
            writers: RefCell::new(writers.iter().map(lock).collect()),
            readers: RefCell::new(readers.iter().map(read).collect()),
            names,
            operation,
        }
    }
}

impl World for Busy {
    fn operation(&self) -> Operation<'_> {
        (self.operation)(&self.names)
    }

    fn advance(&self) -> bool {
        self.writers.borrow_mut().pop().is_some() || self.readers.borrow_mut().pop().is_some()
    }

    fn check(&self, k: usize, how: Drop) {
        let held = self.writers.borrow().len() + self.readers.borrow().len();
        for name in ["a", "b", "c"] {
            assert_eq!(self.names.waiters(name), 0, "{how:?} {k}: {name} is still queued for");
        }
        let holders: usize = ["a", "b", "c"].iter().map(|name| self.names.holders(*name)).sum();
        assert_eq!(holders, held, "{how:?} {k}: something is still held");
        while self.advance() {}
        assert!(self.names.is_empty(), "{how:?} {k}: a key is left over");
    }
}

#[test]
fn lock_named() {
    fn op(names: &Names) -> Operation<'_> {
        let wait = names.lock_named("a");
        Box::pin(async { drop(wait.await) })
    }
    assert_eq!(explore(|| Busy::new(&["a"], &[], op)), 1);
    assert_eq!(explore(|| Busy::new(&[], &["a", "a", "a"], op)), 1);
    assert_eq!(explore(|| Busy::new(&["b"], &[], op)), 0);
}

#[test]
fn read_named() {
    fn op(names: &Names) -> Operation<'_> {
        let wait = names.read_named("a");
        Box::pin(async { drop(wait.await) })
    }
    assert_eq!(explore(|| Busy::new(&["a"], &[], op)), 1);
    assert_eq!(explore(|| Busy::new(&[], &["a"], op)), 0);
}

#[test]
fn lock_all() {
    fn op(names: &Names) -> Operation<'_> {
        let wait = names.lock_all(["c", "a", "b"]);
        Box::pin(async { drop(wait.await) })
    }
    assert_eq!(explore(|| Busy::new(&["c", "b", "a"], &[], op)), 3);
    assert_eq!(explore(|| Busy::new(&["a", "b", "c"], &[], op)), 1, "all are free after the last");
    assert_eq!(explore(|| Busy::new(&["b"], &["c"], op)), 2);
}

#[test]
fn through_a_prefix() {
    fn op(names: &Names) -> Operation<'_> {
        let (outer, inner) = (names.with_prefix(""), names.clone());
        Box::pin(async move {
            let first = outer.lock_named("a").await;
            drop((first, inner.lock_named("b").await));
        })
    }
    assert_eq!(explore(|| Busy::new(&["b", "a"], &[], op)), 2);
}

#[test]
fn timeout() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _inside = runtime.enter();
    fn op(names: &Names) -> Operation<'_> {
        let wait = names.lock_named("a").timeout(Duration::from_secs(1));
        Box::pin(async { drop(wait.await) })
    }
    assert_eq!(explore(|| Busy::new(&["a"], &[], op)), 1);
}

#[test]
fn a_dropped_grant_goes_to_the_next_in_the_queue() {
    let names = Names::new();
    let guard = names.try_lock_named("a").unwrap();
    let mut first = task::spawn(names.lock_named("a"));
    let mut second = task::spawn(names.lock_named("a"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(guard);
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    drop(assert_ready!(second.poll()));
    assert!(names.is_empty());
}

#[test]
fn a_storm_of_cancels_leaves_nothing() {
    let names = Names::new();
    for round in 0..200_usize {
        let guard = names.try_lock_named("a").unwrap();
        let mut waits: Vec<_> = (0..20).map(|_| Some(task::spawn(names.lock_named("a")))).collect();
        for wait in waits.iter_mut().flatten() {
            assert_pending!(wait.poll());
        }
        // A different order each round: 7 and 20 have no common divisor.
        for step in 0..10 {
            waits[(round + step * 7) % 20] = None;
        }
        drop(guard);
        drop(waits);
        assert!(names.is_empty(), "round {round}");
    }
}
