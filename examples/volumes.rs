//! A small volume service: many tasks create, resize, snapshot and delete a few volumes by name.
//!
//! `cargo run --release --example volumes`

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use keyward::LockRegistry;
use tokio::{task::JoinSet, time::sleep};

const VOLUMES: u64 = 8;
const TASKS: u64 = 64;
const ROUNDS: u64 = 60;

#[derive(Default)]
struct Service {
    locks: LockRegistry,
    /// Operations inside each volume now: never more than one, or the lock is broken.
    inside: [AtomicU64; VOLUMES as usize],
    overlaps: AtomicU64,
    done: AtomicU64,
    conflicts: AtomicU64,
    timeouts: AtomicU64,
    longest_wait: AtomicU64,
}

impl Service {
    /// What every operation does while it holds its volume.
    async fn work(&self, volume: u64, asked: Instant) {
        self.longest_wait.fetch_max(asked.elapsed().as_millis() as u64, Relaxed);
        let inside = &self.inside[volume as usize];
        self.overlaps.fetch_add(inside.fetch_add(1, Relaxed), Relaxed);
        sleep(Duration::from_millis(1)).await;
        inside.fetch_sub(1, Relaxed);
        self.done.fetch_add(1, Relaxed);
    }

    async fn operate(&self, volume: u64, step: u64) {
        let (name, asked) = (format!("vol-{volume}"), Instant::now());
        if step % 4 < 2 {
            let _guard = self.locks.lock_named(&name).await; // create, resize: wait their turn
            self.work(volume, asked).await;
        } else if step % 4 == 2 {
            tokio::select! { // snapshot: whoever asked for it goes away after a while
                _guard = self.locks.lock_named(&name) => self.work(volume, asked).await,
                () = sleep(Duration::from_millis(5)) => { self.timeouts.fetch_add(1, Relaxed); }
            }
        } else if let Ok(_guard) = self.locks.try_lock_named(&name) {
            self.work(volume, asked).await; // delete: not if the volume is in use
        } else {
            self.conflicts.fetch_add(1, Relaxed);
        }
    }
}

#[tokio::main]
async fn main() {
    let service: &Service = Box::leak(Box::default());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} operations, {eta} left");
    let bar = ProgressBar::new(TASKS * ROUNDS).with_style(style.expect("a valid template"));
    let work = async |task: u64, bar: ProgressBar| {
        for round in 0..ROUNDS {
            service.operate((task * 5 + round) % VOLUMES, task + round).await;
            bar.inc(1);
        }
    };
    (0..TASKS).map(|task| work(task, bar.clone())).collect::<JoinSet<()>>().join_all().await;
    bar.finish_and_clear();

    let overlaps = service.overlaps.load(Relaxed);
    println!("operations done       {:>7}", service.done.load(Relaxed));
    println!("conflicts (try_lock)  {:>7}", service.conflicts.load(Relaxed));
    println!("timeouts (select!)    {:>7}", service.timeouts.load(Relaxed));
    println!("longest wait       {:>7} ms", service.longest_wait.load(Relaxed));
    println!("overlaps              {overlaps:>7}  of operations on one volume");
    println!("names in memory       {:>7}  after the last one", service.locks.len());
    assert!(overlaps == 0 && service.locks.is_empty(), "the lock is broken");
}
