//! Which auto traits the public types have; the compiler is the test.

use futures::future::FusedFuture;
use keyward::{
    Acquire, Capability, Error, FencingToken, Lease, LeaseState, Leases, LockName, Locks,
    LocksBuilder, LossSignal, Occupancy, Released, Status,
    futures::{Acquiring, Lost},
};

use crate::{by_hand, memory, now};

const fn owned<T: Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
const fn handle<T: Clone>() {}
const fn error<T: std::error::Error + Clone + Send + Sync + 'static>() {}
fn future<T: FusedFuture + Send + Sync + Unpin + std::fmt::Debug + 'static>(_: &T) {}
fn sendable<T: Future<Output: Send> + Send>(_: T) {}

#[test]
fn public_types() {
    owned::<Locks>();
    owned::<LocksBuilder>();
    owned::<Lease>();
    owned::<Leases>();
    owned::<Acquire>();
    owned::<Acquire<Leases>>();
    owned::<Acquiring>();
    owned::<Acquiring<Leases>>();
    owned::<Lost>();
    owned::<LossSignal>();
    owned::<LockName>();
    owned::<FencingToken>();
    owned::<Released>();
    owned::<LeaseState>();
    owned::<Capability>();
    owned::<Occupancy>();
    owned::<Status>();
    handle::<Locks>();
    handle::<LossSignal>();
    handle::<LockName>();
    error::<Error>();
}

#[test]
fn an_error_is_one_pointer() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

#[test]
fn futures_are_fused_sendable_and_may_be_named() {
    struct Kept {
        one: Acquiring,
        several: Acquiring<Leases>,
        lost: Lost,
        any_lost: Lost,
    }
    let _inside = crate::paused().enter();
    let locks = memory();
    let lease = now(locks.lock_named("held")).unwrap();
    let mut all = by_hand(locks.lock_all(["a", "b"]));
    let all = tokio_test::assert_ready_ok!(all.poll());
    let mut kept = Kept {
        one: locks.lock_named("c").into_future(),
        several: locks.lock_all(["d"]).into_future(),
        lost: lease.lost(),
        any_lost: all.lost(),
    };
    future(&kept.one);
    future(&kept.several);
    future(&kept.lost);
    future(&kept.any_lost);
    assert!(!kept.one.is_terminated() && !kept.lost.is_terminated());
    let mut one = tokio_test::task::spawn(&mut kept.one);
    drop(tokio_test::assert_ready_ok!(one.poll()));
    tokio_test::assert_pending!(one.poll());
    assert!(kept.one.is_terminated());
}

#[test]
fn methods_return_futures_that_may_be_spawned() {
    let locks = memory();
    let lease = now(locks.lock_named("a")).unwrap();
    sendable(locks.inspect("a"));
    sendable(locks.close());
    sendable(locks.collect_garbage(std::time::Duration::ZERO));
    sendable(Locks::connect("memory:"));
    sendable(Locks::from_env());
    sendable(lease.ensure_held());
    sendable(lease.run(async { 1 }));
    sendable(lease.release());
}
