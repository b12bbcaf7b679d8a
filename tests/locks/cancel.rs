//! Every await point of every future, dropped parked and dropped woken.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
};

use futures::FutureExt;
use keyward::{Lease, Locks};
use tokio_test::{assert_pending, task::Spawn};

use crate::{
    by_hand, now, paused,
    scripted::{Script, Scripted},
    support::cancellation::{Drop, World, explore},
};

const NAMES: [&str; 3] = ["a", "b", "c"];

type Operation<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Op = for<'a> fn(&'a Busy) -> Operation<'a>;

/// Names that are held by others, who let go one by one.
struct Busy {
    backend: Scripted,
    locks: Locks,
    /// What the operation may use up.
    lease: Cell<Option<Lease>>,
    held: RefCell<Vec<Lease>>,
    /// Waits of others behind the lease.
    queued: RefCell<Vec<Spawn<keyward::futures::Acquiring>>>,
    operation: Op,
}

impl Busy {
    /// `near` is held in the same handle, `far` in another one.
    fn new(script: Script, near: &[&str], far: &[&str], operation: Op) -> Self {
        let backend = Scripted::new(Script { turns: 0, ..script });
        let (locks, other) = (backend.locks(), backend.locks());
        let lock = |locks: &Locks, name: &&str| now(locks.lock_named(*name)).unwrap();
        let near = near.iter().map(|name| lock(&locks, name));
        let far = far.iter().map(|name| lock(&other, name));
        let held = RefCell::new(near.chain(far).collect());
        *backend.script() = script;
        let (lease, queued) = (Cell::default(), RefCell::default());
        Self { backend, locks, lease, held, queued, operation }
    }

    /// With a lease for the operation, and others who wait for it in the same handle.
    fn with_lease(script: Script, mode_shared: bool, waits: usize, operation: Op) -> Self {
        let this = Self::new(Script { turns: 0, ..script }, &[], &[], operation);
        let wait = this.locks.lock_named("a");
        this.lease.set(Some(now(if mode_shared { wait.shared() } else { wait }).unwrap()));
        for _ in 0..waits {
            let mut wait = by_hand(this.locks.lock_named("a"));
            assert_pending!(wait.poll());
            this.queued.borrow_mut().push(wait);
        }
        *this.backend.script() = script;
        this
    }
}

impl World for Busy {
    fn operation(&self) -> Operation<'_> {
        (self.operation)(self)
    }

    fn advance(&self) -> bool {
        self.held.borrow_mut().pop().is_some()
    }

    fn check(&self, k: usize, how: Drop) {
        self.backend.script().turns = 0;
        for mut wait in self.queued.take() {
            assert!(wait.is_woken(), "{how:?} {k}: nobody has let the next one in");
            drop(tokio_test::assert_ready_ok!(wait.poll()));
        }
        for name in NAMES {
            let waiters = self.locks.inspect(name).now_or_never().unwrap().unwrap().waiters;
            assert_eq!(waiters, 0, "{how:?} {k}: {name} is still queued for");
            let held =
                self.held.borrow().iter().any(|lease| lease.name().as_bytes() == name.as_bytes());
            assert_eq!(!held, self.backend.is_free(name), "{how:?} {k}: {name} in the store");
        }
        self.held.take();
        for name in NAMES {
            assert!(self.backend.is_free(name), "{how:?} {k}: {name} is left over");
            drop(now(self.backend.locks().try_lock_named(name)).unwrap());
        }
    }
}

/// A store that answers at once, one that does not, and the same with hand-overs.
fn scripts() -> impl Iterator<Item = Script> {
    (0..3).flat_map(|turns| {
        [false, true].map(|yes| Script {
            turns,
            passes_on: yes,
            admits_readers: yes,
            ..Script::default()
        })
    })
}

/// How often asking a slow store is seen to wait.
const fn asking(script: &Script) -> usize {
    2 * script.turns
}

/// The same where the name is held elsewhere, at least.
fn waiting(script: &Script) -> usize {
    (2 * script.turns).max(1)
}

#[test]
fn lock_named() {
    let runtime = paused();
    let _inside = runtime.enter();
    fn op(world: &Busy) -> Operation<'_> {
        let wait = world.locks.lock_named("a").into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &[], op)), asking(&script));
        assert!(explore(|| Busy::new(script.clone(), &[], &["a"], op)) >= waiting(&script));
        let asks = if script.passes_on { 0 } else { 2 * script.turns };
        assert_eq!(explore(|| Busy::new(script.clone(), &["a"], &[], op)), asks + 1);
    }
}

#[test]
fn lock_named_within_a_limit() {
    let runtime = paused();
    let _inside = runtime.enter();
    fn op(world: &Busy) -> Operation<'_> {
        let limit = std::time::Duration::from_secs(1);
        let wait = world.locks.lock_named("a").timeout(limit).into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    for script in scripts() {
        assert!(explore(|| Busy::new(script.clone(), &["a"], &[], op)) > 0);
        assert!(explore(|| Busy::new(script.clone(), &[], &["a"], op)) > 0);
    }
}

#[test]
fn try_lock_named() {
    fn op(world: &Busy) -> Operation<'_> {
        let wait = world.locks.try_lock_named("a").into_future();
        Box::pin(async { drop(wait.await) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &[], op)), asking(&script));
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &["a"], op)), script.turns);
        assert_eq!(explore(|| Busy::new(script.clone(), &["a"], &[], op)), 0);
    }
}

#[test]
fn shared() {
    let runtime = paused();
    let _inside = runtime.enter();
    fn op(world: &Busy) -> Operation<'_> {
        let wait = world.locks.lock_named("a").shared().into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &[], op)), asking(&script));
        assert!(explore(|| Busy::new(script.clone(), &[], &["a"], op)) >= waiting(&script));
        let queued = 1 + 2 * script.turns;
        assert_eq!(explore(|| Busy::new(script.clone(), &["a"], &[], op)), queued);
    }
}

#[test]
fn lock_all() {
    let runtime = paused();
    let _inside = runtime.enter();
    fn op(world: &Busy) -> Operation<'_> {
        let wait = world.locks.lock_all(["c", "a", "b"]).into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &[], op)), asking(&script)); // at once
        let far = ["c", "b", "a"]; // given up in the order in which they are asked for
        assert!(explore(|| Busy::new(script.clone(), &[], &far, op)) >= 3 * waiting(&script));
        assert!(explore(|| Busy::new(script.clone(), &["c", "a"], &["b"], op)) >= 2);
    }
}

#[test]
fn release() {
    let runtime = paused();
    let _inside = runtime.enter();
    fn op(world: &Busy) -> Operation<'_> {
        let lease = world.lease.take().unwrap();
        Box::pin(async { assert_eq!(lease.release().await.unwrap(), keyward::Released::Released) })
    }
    for script in scripts() {
        let turns = script.turns;
        for shared in [false, true] {
            let alone = explore(|| Busy::with_lease(script.clone(), shared, 0, op));
            assert_eq!(alone, turns);
        }
        let handed_over = if script.passes_on { 0 } else { turns };
        assert_eq!(explore(|| Busy::with_lease(script.clone(), false, 2, op)), handed_over);
        assert_eq!(explore(|| Busy::with_lease(script.clone(), true, 2, op)), turns);
    }
}

#[test]
fn release_of_several() {
    fn op(world: &Busy) -> Operation<'_> {
        let wait = world.locks.lock_all(["a", "b"]).into_future();
        let turns = std::mem::take(&mut world.backend.script().turns);
        let all = wait.now_or_never().unwrap().unwrap();
        world.backend.script().turns = turns;
        Box::pin(async { assert!(all.release().await.is_ok()) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &[], op)), script.turns); // at once
    }
}

#[test]
fn close() {
    fn op(world: &Busy) -> Operation<'_> {
        Box::pin(world.locks.close())
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &[], &["a"], op)), 0);
        assert_eq!(explore(|| Busy::new(script.clone(), &["a"], &[], op)), 1);
    }
}

#[test]
fn inspect() {
    fn op(world: &Busy) -> Operation<'_> {
        Box::pin(async { assert!(world.locks.inspect("a").await.unwrap().is_held()) })
    }
    for script in scripts() {
        assert_eq!(explore(|| Busy::new(script.clone(), &["a"], &[], op)), script.turns);
    }
}
