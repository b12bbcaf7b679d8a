//! A forked child shares the descriptors of its parent, and must not touch its locks.
#![allow(unsafe_code, reason = "fork")]

use keyward::Lease;

use crate::room::{Room, again, is_inner};

/// In a process of its own with one test thread: a fork of a process whose other threads are at work
/// may find the allocator locked.
#[test]
fn a_child_that_drops_a_lease_unlocks_nothing() {
    if !is_inner() {
        return again("fork::a_child_that_drops_a_lease_unlocks_nothing", |binary| {
            std::process::Command::new(binary)
        });
    }
    let room = Room::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (locks, other) = runtime.block_on(async { (room.locks().await, room.locks().await) });
    let lease = runtime.block_on(locks.lock_named("a").into_future()).unwrap();
    assert_eq!(in_child(|| drop(lease_again(&lease))), 0);
    let busy = runtime.block_on(other.try_lock_named("a").into_future()).unwrap_err();
    assert!(busy.is_would_block(), "the child has unlocked it");
    runtime.block_on(lease.ensure_held()).unwrap();
    // In the child it is known not to be the child's.
    let lost = in_child(|| {
        let error = futures::executor::block_on(lease.ensure_held()).unwrap_err();
        std::process::exit(if error.is_lost() { 42 } else { 1 });
    });
    assert_eq!(lost, 42);
    // A child that does unlock what it shares is noticed by who asks.
    let unlocked = in_child(unlock_everything);
    assert_eq!(unlocked, 0);
    let error = runtime.block_on(lease.ensure_held()).unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("unlocked"), "{error}");
}

/// The same lease once more, as the child has it.
fn lease_again(lease: &Lease) -> Lease {
    // SAFETY: only in a child that leaves by `_exit` after one of the two was dropped; the parent's
    // memory is another.
    unsafe { std::ptr::read(lease) }
}

/// The exit code of a child that does that.
fn in_child(act: impl FnOnce()) -> i32 {
    // SAFETY: one thread is at work; the child does little and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        act();
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is written to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WEXITSTATUS(status)
}

/// Unlocks every descriptor that there is.
fn unlock_everything() {
    for fd in 3..256 {
        // SAFETY: plain data; and a descriptor that is not open, or no file, is an error that is ignored.
        unsafe {
            let mut flock: libc::flock = std::mem::zeroed();
            flock.l_type = libc::F_UNLCK as i16;
            libc::fcntl(fd, libc::F_OFD_SETLK, &raw const flock);
        }
    }
}

/// An idle file is open in both of them: what the child locked, the parent could lock as well.
#[test]
fn a_child_cannot_lock_with_its_parents_locks() {
    if !is_inner() {
        return again("fork::a_child_cannot_lock_with_its_parents_locks", |binary| {
            std::process::Command::new(binary)
        });
    }
    let room = Room::new();
    let locks = keyward::Locks::blocking_connect(room.url()).unwrap();
    drop(locks.blocking_lock_named("a").unwrap());
    let refused = in_child(|| {
        let error = locks.blocking_try_lock_named("a").map(drop).unwrap_err();
        assert!(error.to_string().contains("connect anew"), "{error}");
        let anew = keyward::Locks::blocking_connect(room.url()).unwrap();
        let lease = anew.blocking_try_lock_named("a").unwrap();
        std::process::exit(if lease.fencing_token().is_some() { 42 } else { 1 });
    });
    assert_eq!(refused, 42);
}
