//! In the steady state nothing allocates: not a lock, a wait, a hand-over, a timeout of a free key, a
//! cancel or an unlock, of new keys and of old ones. And asking for a held key never does.
//!
//! A binary of its own, with one test, because it counts what the whole process allocates.
// In debug builds, waits register with the stall watch, which does allocate.
#![cfg(not(debug_assertions))]
#![expect(unsafe_code, reason = "a counting allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::{Future, IntoFuture},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use keyward::LockRegistry;

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `f` allocates: calls, and bytes that are still there.
fn count<T>(f: impl FnOnce() -> T) -> (usize, isize, T) {
    let (calls, bytes) = (CALLS.load(Relaxed), BYTES.load(Relaxed));
    let value = f();
    (CALLS.load(Relaxed) - calls, BYTES.load(Relaxed).cast_signed() - bytes.cast_signed(), value)
}

fn ready<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it had to wait"),
    }
}

#[test]
fn steady_state() {
    let (_, empty, names) = count(LockRegistry::<String>::new);
    assert!(empty <= 16 * 1024, "an empty registry takes {empty} bytes");
    let keys: Vec<String> = (0..20_000).map(|n| format!("vol-{n:036}")).collect();
    let numbers = LockRegistry::<u64>::new();
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());

    let mut work = |keys: &[String]| {
        for key in keys {
            drop(ready(names.lock_named(key.as_str())));
            drop(ready(names.lock_named("hot")));
            drop(ready(names.read_named(key)));
            drop(ready(names.lock_named(key).timeout(Duration::from_secs(5))));
            let guard = names.try_lock_named(key).unwrap();
            assert!(names.try_lock_named(key).is_err());
            let mut cancelled = pin!(names.lock_named(key));
            let mut granted = pin!(names.lock_named(key));
            assert!(granted.as_mut().poll(&mut cx).is_pending());
            assert!(cancelled.as_mut().poll(&mut cx).is_pending());
            drop(guard);
            assert!(granted.as_mut().poll(&mut cx).is_ready());
            drop(ready(numbers.lock_named(&7)));
        }
    };
    work(&keys[..2000]);
    let (calls, bytes, ()) = count(|| work(&keys[2000..]));
    assert_eq!((calls, bytes), (0, 0));
    assert!(names.is_empty());

    // Looking up a held key, in a thread that has no spare nodes to hide behind.
    let guard = names.try_lock_named("held").unwrap();
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let (calls, _, ()) = count(|| {
                assert!(names.try_lock_named("held").is_err());
                let mut wait = pin!(names.lock_named("held"));
                let mut cx = Context::from_waker(futures::task::noop_waker_ref());
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            });
            assert_eq!(calls, 0);
        });
        looks.join().unwrap();
    });
    drop(guard);

    // What a held 40-byte key takes, and what is left of 10,000 of them.
    let mut held = Vec::with_capacity(10_000);
    let (_, before, ()) =
        count(|| held.extend(keys[..10_000].iter().map(|key| names.try_lock_named(key))));
    let each = before / 10_000;
    assert!(each <= 112, "a held key takes {each} bytes");
    let (_, freed, ()) = count(|| held.clear());
    let left = before + freed;
    assert!(left < 10_000, "{left} bytes are left: less than one for each key");
    drop(names);

    long_names();
    large_keys();
    threads();
    registries();
    leases();
}

/// A buffer of up to 256 bytes is kept for the next name, a longer one is not.
fn long_names() {
    let names = LockRegistry::<String>::new();
    let hold = |name: &str| drop(ready(names.lock_named(name)));
    let (kept, longer) = ("k".repeat(256), "l".repeat(257));
    // All the spares that this thread has, to know which one is next; elsewhere, not to meet their keys.
    let other = LockRegistry::<String>::new();
    let spares: Vec<_> = (0..1_000).map(|n| ready(other.lock_named(&format!("{n}")))).collect();
    hold(&kept);
    assert_eq!(count(|| hold(&kept)).0, 0);
    hold(&longer);
    let (calls, bytes, ()) = count(|| hold("short"));
    assert_eq!((calls, bytes), (1, 5), "the buffer of the longer one is gone");
    drop(spares);
}

/// Keys that are too large for a spare are freed, smaller ones leave their memory for the next one.
fn large_keys() {
    let large = LockRegistry::<[u64; 16]>::new();
    let (calls, bytes, ()) = count(|| drop(ready(large.lock_named(&[7; 16]))));
    assert_eq!((calls, bytes), (1, 0));
    let small = LockRegistry::<u32>::new();
    drop(ready(small.lock_named(&1)));
    let (calls, bytes, ()) = count(|| drop(ready(small.lock_named(&2))));
    assert_eq!((calls, bytes), (0, 0));
    let (_, taken, held) =
        count(|| -> Vec<_> { (0..10_000).map(|n| small.try_lock_named(&n)).collect() });
    let (_, freed, ()) = count(|| drop(held));
    assert!(taken + freed < 10_000, "{} bytes are left of 10,000 keys", taken + freed);
}

/// A thread that ends leaves none of its spares behind.
fn threads() {
    let names = LockRegistry::<String>::new();
    let numbers = LockRegistry::<u32>::new();
    let use_both = || {
        std::thread::scope(|scope| {
            // Joined, and so with all that ends with a thread.
            let hold = || drop((ready(names.lock_named("a")), ready(numbers.lock_named(&1))));
            scope.spawn(hold).join().unwrap();
        });
    };
    use_both();
    assert_eq!(count(use_both).1, 0);
}

/// Of names that were read and waited for nothing stays in the queue before a backend.
fn leases() {
    use keyward::{Locks, memory::MemoryBackend};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let store = MemoryBackend::new();
    let [ours, others] = [store.clone(), store].map(|store| Locks::builder().backend(store));
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    let mut work = |numbers: std::ops::Range<usize>| {
        for n in numbers {
            let name = format!("vol-{n}");
            drop(ready(ours.lock_named(&name).shared().into_future()).unwrap());
            let held = ready(others.lock_named(&name).into_future()).unwrap();
            let mut wait = Box::pin(ours.lock_named(&name).into_future());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            drop((wait, held));
        }
    };
    work(0..2_000);
    let (_, bytes, ()) = count(|| work(2_000..12_000));
    assert!(bytes < 10_000, "{bytes} bytes are left of 10,000 names");
}

/// What a registry has is freed with its last handle, or with its last guard.
fn registries() {
    let (_, bytes, ()) = count(|| {
        for _ in 0..10 {
            let names = LockRegistry::<u64>::new();
            let handle = names.clone();
            let guard = ready(names.lock_named(&1));
            drop(names);
            drop(guard);
            let guard = ready(handle.lock_named(&1));
            drop(handle);
            drop(guard);
        }
    });
    assert_eq!(bytes, 0);
}
