//! Many readers and a few writers of one image: shared mode, fair to both.
//!
//! `cargo run --release --example read_mostly`

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use keyward::LockRegistry;
use tokio::{task::JoinSet, time::sleep};

const READERS: usize = 40;
const WRITERS: usize = 2;
const READS: usize = 50;
const WRITES: usize = 20;

#[derive(Default)]
struct Image {
    locks: LockRegistry,
    /// Two halves that a writer changes one after the other: a reader must never see them differ.
    halves: [AtomicU64; 2],
    torn: AtomicUsize,
    together: AtomicUsize,
    most_together: AtomicUsize,
}

impl Image {
    async fn read(&self) {
        let _guard = self.locks.read_named("img-1").await;
        self.most_together.fetch_max(self.together.fetch_add(1, Relaxed) + 1, Relaxed);
        let first = self.halves[0].load(Relaxed);
        sleep(Duration::from_millis(1)).await;
        self.torn.fetch_add(usize::from(first != self.halves[1].load(Relaxed)), Relaxed);
        self.together.fetch_sub(1, Relaxed);
    }

    async fn write(&self) {
        let _guard = self.locks.lock_named("img-1").await;
        self.halves[0].fetch_add(1, Relaxed);
        sleep(Duration::from_millis(1)).await;
        self.halves[1].fetch_add(1, Relaxed);
    }
}

#[tokio::main]
async fn main() {
    let image: &Image = Box::leak(Box::default());
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..READERS {
        tasks.spawn(async {
            for _ in 0..READS {
                image.read().await;
            }
        });
    }
    for _ in 0..WRITERS {
        tasks.spawn(async {
            for _ in 0..WRITES {
                image.write().await;
            }
        });
    }
    tasks.join_all().await;

    println!("{} reads and {} writes in {:?}", READERS * READS, WRITERS * WRITES, start.elapsed());
    println!(
        "at most {} readers at once, {} torn reads",
        image.most_together.load(Relaxed),
        image.torn.load(Relaxed)
    );
    assert_eq!(image.torn.load(Relaxed), 0);
    assert_eq!(image.halves[1].load(Relaxed), (WRITERS * WRITES) as u64);
    assert!(image.locks.is_empty());
}
