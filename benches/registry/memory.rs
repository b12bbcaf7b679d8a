//! What is allocated: per operation, per held key, per waiter, and what is left after.

#![expect(unsafe_code, reason = "a counting allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use futures::task::noop_waker_ref;

use crate::{
    contestants::{
        Amalgam, Cleaned, Contestant, Key, KeyLock, KeyMutex, KeyedLock, Keyward, Leaking,
        Lockable, NamedLocker, keys,
    },
    report::Report,
};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted. The bytes are those that are asked for.
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

/// Calls, and bytes that are still there.
fn count<T>(f: impl FnOnce() -> T) -> (f64, f64, T) {
    let (calls, bytes) = (CALLS.load(Relaxed), BYTES.load(Relaxed));
    let value = f();
    let left = BYTES.load(Relaxed).cast_signed() - bytes.cast_signed();
    ((CALLS.load(Relaxed) - calls) as f64, left as f64, value)
}

/// What is ready at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the key is free"),
    }
}

struct Row {
    fresh: f64,
    hot: f64,
    wait: f64,
    waiter_bytes: f64,
    held_bytes: f64,
    left_bytes: f64,
    empty_bytes: f64,
    guard: usize,
    future: usize,
    /// Keys it still knows after 1,000 waiters were cancelled once the lock had been handed to them.
    leaked: Option<usize>,
}

fn measure<C: Contestant>(keys: &'static [Key]) -> Row {
    let (_, empty_bytes, lock) = count(|| -> &'static C { Box::leak(Box::default()) });
    let cycle = |keys: &'static [Key]| {
        for key in keys {
            drop(now(lock.lock(key)));
        }
    };
    cycle(&keys[..64]);
    let (fresh, ..) = count(|| cycle(&keys[1000..2000]));
    let (hot, ..) = count(|| (0..1000).for_each(|_| cycle(&keys[..1])));

    let guard = now(lock.lock(&keys[0]));
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut waits = Vec::with_capacity(100);
    waits.extend((0..100).map(|_| Box::pin(lock.lock(&keys[0]))));
    // The first wait of all may make room that stays.
    assert!(Box::pin(lock.lock(&keys[0])).as_mut().poll(&mut cx).is_pending());
    let future = size_of_val(&*waits[0]);
    let (wait, waiter_bytes, ()) = count(|| {
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut cx).is_pending());
        }
    });
    drop(waits);
    drop(guard);

    let before = lock.len();
    for key in &keys[20_000..21_000] {
        let guard = now(lock.lock(key));
        let mut wait = Box::pin(lock.lock(key));
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        drop(guard);
        drop(wait);
    }
    let leaked = lock.len().zip(before).map(|(after, before)| after - before);

    let mut held = Vec::with_capacity(10_000);
    let (_, held_bytes, ()) =
        count(|| held.extend(keys[2000..12_000].iter().map(|key| now(lock.lock(key)))));
    let (_, freed, ()) = count(|| held.clear());
    Row {
        fresh: fresh / 1000.0,
        hot: hot / 1000.0,
        wait: wait / 100.0,
        waiter_bytes: waiter_bytes / 100.0,
        held_bytes: held_bytes / 10_000.0,
        left_bytes: (held_bytes + freed) / 10_000.0,
        empty_bytes,
        guard: size_of::<C::Guard>(),
        future,
        leaked,
    }
}

pub(crate) fn run(report: &mut Report) {
    let mut ours = None;
    if report.wants("memory") {
        let keys = keys();
        println!("\nmemory (allocations per operation; bytes that were asked for)");
        println!(
            "{:>6} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6} {:>7} {:>7} {:>11} {:>9}",
            "fresh",
            "hot",
            "wait",
            "B/waiter",
            "B/held",
            "B/left",
            "empty",
            "guard",
            "future",
            "leaked",
            "one waiter",
            "one held"
        );
        macro_rules! rows {
            ($($contestant:ident)*) => {
                $(
                    let row = measure::<$contestant>(keys);
                    println!(
                        "{:>6.2} {:>6.2} {:>6.2} {:>9.1} {:>9.1} {:>9.2} {:>9} {:>6} {:>7} {:>7} {:>11.1} {:>9.1}  {}",
                        row.fresh, row.hot, row.wait, row.waiter_bytes, row.held_bytes, row.left_bytes,
                        row.empty_bytes, row.guard, row.future,
                        row.leaked.map_or("-".to_owned(), |keys| keys.to_string()),
                        row.waiter_bytes.max(0.0) + row.future as f64,
                        row.held_bytes + row.guard as f64,
                        $contestant::NAME
                    );
                    if $contestant::NAME == Keyward::NAME {
                        ours = Some(row);
                    }
                )*
            };
        }
        rows!(Keyward Leaking Cleaned Amalgam Lockable KeyedLock KeyLock NamedLocker KeyMutex);
    }
    let of = |f: fn(&Row) -> f64| ours.as_ref().map(f);
    let figures = [
        ("R8.leaked", of(|row| row.leaked.map_or(f64::NAN, |keys| keys as f64)), "keys", "0"),
        ("R8.allocations-fresh", of(|row| row.fresh), "per-op", "0"),
        ("R8.allocations-hot", of(|row| row.hot), "per-op", "0"),
        ("R8.allocations-wait", of(|row| row.wait), "per-op", "0"),
        ("R8.held", of(|row| row.held_bytes), "B", "<=112"),
        ("R8.left", of(|row| row.left_bytes), "B/key", "<=0"),
        ("R8.empty", of(|row| row.empty_bytes), "B", "<=16384"),
        ("R8.waiter", of(|row| row.waiter_bytes), "B", "<=256"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}
