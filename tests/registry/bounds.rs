//! Which auto traits the public types have; the compiler is the test.

use std::{
    panic::{RefUnwindSafe, UnwindSafe},
    time::Duration,
};

use futures::future::FusedFuture;
use keyward::{
    Elapsed, LockRegistry, NamedGuard, NamedGuards, NamedReadGuard, TryLockError,
    futures::{LockAll, LockNamed, ReadNamed, Timeout},
    hash::{DefaultHasher, RandomState},
};

use crate::Names;

const fn owned<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin + 'static>() {}
const fn handle<T: Clone + Default + std::fmt::Debug>() {}
const fn error<T: std::error::Error + Clone + Send + Sync + 'static>() {}
fn future<T: FusedFuture + Send + Sync + std::fmt::Debug>(_: &T) {}

#[test]
fn public_types() {
    owned::<LockRegistry>();
    owned::<LockRegistry<(u32, Box<[u8]>)>>();
    owned::<NamedGuard>();
    owned::<NamedReadGuard>();
    owned::<NamedGuards>();
    owned::<NamedGuard<u64>>();
    owned::<RandomState>();
    owned::<DefaultHasher>();
    handle::<LockRegistry>();
    handle::<LockRegistry<u64, std::hash::BuildHasherDefault<std::hash::DefaultHasher>>>();
    error::<TryLockError>();
    error::<Elapsed>();
}

#[test]
fn futures_are_fused_sendable_and_may_be_named() {
    struct Kept<'a> {
        _lock: LockNamed<'a>,
        _read: ReadNamed<'a>,
        _all: LockAll<'a>,
        _timeout: Timeout<LockNamed<'a>>,
    }
    let names = Names::new();
    let kept = Kept {
        _lock: names.lock_named("a"),
        _read: names.read_named("a"),
        _all: names.lock_all(["a"]),
        _timeout: names.lock_named("a").timeout(Duration::ZERO),
    };
    future(&kept._lock);
    future(&kept._read);
    future(&kept._all);
    future(&kept._timeout);
}

#[test]
fn a_guard_is_one_pointer() {
    assert_eq!(size_of::<NamedGuard>(), size_of::<usize>());
    assert_eq!(size_of::<Option<NamedReadGuard>>(), size_of::<usize>());
}
