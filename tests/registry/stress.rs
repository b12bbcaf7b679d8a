//! Many tasks, few keys, real threads.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::{JoinSet, yield_now};

use crate::Names;

/// Which mode of each key is inside: readers count by one, a writer by this.
const WRITER: u64 = 1 << 32;

/// Adds to a key's count as long as it lives, and panics if that is not allowed.
struct Inside<'a>(&'a AtomicU64, u64);

impl<'a> Inside<'a> {
    fn enter(key: &'a AtomicU64, mode: u64) -> Self {
        let before = key.fetch_add(mode, Ordering::Relaxed);
        assert!(before == 0 || (mode == 1 && before < WRITER), "two holders: {before:#x}");
        Self(key, mode)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A small generator, so that each task has its own sequence from its number.
struct Random(u64);

impl Random {
    const fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Polls a future a few times by hand and drops it unless it is ready.
async fn poll_and_drop<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let once = std::future::poll_fn(|cx: &mut Context<'_>| {
            Poll::Ready(match future.as_mut().poll(cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        });
        if let Some(output) = once.await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

async fn mixed_work(names: Names, inside: Arc<[AtomicU64]>, seed: u64, rounds: u64) {
    let mut random = Random(seed);
    for _ in 0..rounds {
        let number = random.below(inside.len() as u64) as usize;
        let (key, name) = (&inside[number], format!("key-{number}"));
        let pause = random.below(4) == 0;
        macro_rules! hold {
            ($guard:expr, $mode:expr) => {
                if let Some(_guard) = $guard {
                    let _inside = Inside::enter(key, $mode);
                    if pause {
                        yield_now().await;
                    }
                }
            };
        }
        match random.below(8) {
            0 => hold!(names.try_lock_named(&name).ok(), WRITER),
            1 => hold!(names.try_read_named(&name).ok(), 1),
            2 => {
                let limit = Duration::from_micros(random.below(50));
                hold!(names.lock_named(&name).timeout(limit).await.ok(), WRITER);
            }
            3 => {
                let polls = 1 + random.below(3);
                hold!(poll_and_drop(names.lock_named(&name), polls).await, WRITER);
            }
            4 => {
                let polls = 1 + random.below(3);
                hold!(poll_and_drop(names.read_named(&name), polls).await, 1);
            }
            5 => hold!(Some(names.read_named(&name).await), 1),
            6 => {
                let other = format!("key-{}", random.below(inside.len() as u64));
                hold!(Some(names.lock_all([&name, &other]).await), WRITER);
            }
            _ => hold!(Some(names.lock_named(&name).await), WRITER),
        }
    }
}

fn counters(keys: usize) -> Arc<[AtomicU64]> {
    (0..keys).map(|_| AtomicU64::new(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once() {
    let names = Names::new();
    let inside = counters(8);
    let mut tasks = JoinSet::new();
    for seed in 0..64 {
        tasks.spawn(mixed_work(names.clone(), inside.clone(), seed, 1500));
    }
    tasks.join_all().await;
    assert!(names.is_empty());
    assert!((0..8).all(|key| names.waiters(&format!("key-{key}")) == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_tasks_on_a_hundred_keys() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new();
    let inside = counters(100);
    let mut tasks = JoinSet::new();
    for task in 0..10_000 {
        let (names, inside) = (names.clone(), inside.clone());
        tasks.spawn(async move {
            for step in 0..3 {
                let key = (task + step * 31) % 100;
                let _guard = names.lock_named(&format!("key-{key}")).await;
                let _inside = Inside::enter(&inside[key], WRITER);
                yield_now().await;
                DONE.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(DONE.load(Ordering::Relaxed), 30_000);
    assert!(names.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn aborted_tasks_leave_nothing() {
    let names = Names::new();
    let inside = counters(4);
    for round in 0..50 {
        let mut tasks = JoinSet::new();
        for seed in 0..32 {
            tasks.spawn(mixed_work(names.clone(), inside.clone(), round * 100 + seed, 1000));
        }
        yield_now().await;
        tasks.shutdown().await;
        assert!(names.is_empty(), "round {round}");
    }
}
