//! A small volume service whose operations carry the locks they need in front of them.
//!
//! `cargo run --release --example synchronized`

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use keyward::{Error, Locks, synchronized};
use tokio::{task::JoinSet, time::sleep};

const VOLUMES: usize = 4;
const TASKS: usize = 32;
const ROUNDS: usize = 20;

struct Volume {
    id: String,
    /// Operations inside it now: never more than one, or the lock is broken.
    inside: AtomicU64,
}

struct Service {
    locks: Locks,
    overlaps: AtomicU64,
    done: AtomicU64,
    busy: AtomicU64,
}

impl Service {
    async fn work(&self, volumes: &[&Volume]) {
        for volume in volumes {
            self.overlaps.fetch_add(volume.inside.fetch_add(1, Relaxed), Relaxed);
        }
        sleep(Duration::from_millis(1)).await;
        for volume in volumes {
            volume.inside.fetch_sub(1, Relaxed);
        }
        self.done.fetch_add(1, Relaxed);
    }

    /// Waits its turn.
    #[synchronized("{volume.id}", locks = self.locks, prefix = "vol-", timeout = "1m")]
    async fn resize(&self, volume: &Volume) -> Result<(), Error> {
        self.work(&[volume]).await;
        Ok(())
    }

    /// Has both, whoever copies in the other direction.
    #[synchronized("{from.id}", "{to.id}", locks = self.locks, prefix = "vol-")]
    async fn copy(&self, from: &Volume, to: &Volume) -> Result<(), Error> {
        self.work(&[from, to]).await;
        Ok(())
    }

    /// Not while somebody is at it: then the body is not entered.
    #[synchronized("{volume.id}", locks = self.locks, prefix = "vol-", blocking = false)]
    async fn delete(&self, volume: &Volume) -> Result<(), Error> {
        self.work(&[volume]).await;
        Ok(())
    }

    async fn operate(&self, step: usize, one: &Volume, other: &Volume) -> Result<(), Error> {
        match step % 3 {
            0 => self.resize(one).await,
            1 => self.copy(one, other).await,
            _ => match self.delete(one).await {
                Err(error) if error.is_would_block() => {
                    self.busy.fetch_add(1, Relaxed);
                    Ok(())
                }
                outcome => outcome,
            },
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let volume = |id: usize| Volume { id: id.to_string(), inside: AtomicU64::new(0) };
    let volumes: &[Volume] = Vec::leak((0..VOLUMES).map(volume).collect());
    let service: &Service = Box::leak(Box::new(Service {
        locks: Locks::connect("memory:").await?,
        overlaps: AtomicU64::new(0),
        done: AtomicU64::new(0),
        busy: AtomicU64::new(0),
    }));
    let work = async |task: usize| {
        for round in 0..ROUNDS {
            let one = (task * 5 + round) % VOLUMES;
            let other = (one + 1 + task % (VOLUMES - 1)) % VOLUMES;
            service.operate(task + round, &volumes[one], &volumes[other]).await?;
        }
        Ok(())
    };
    for outcome in (0..TASKS).map(work).collect::<JoinSet<Result<(), Error>>>().join_all().await {
        outcome?;
    }
    let (done, busy) = (service.done.load(Relaxed), service.busy.load(Relaxed));
    let overlaps = service.overlaps.load(Relaxed);
    println!("operations done  {done:>5}");
    println!("found it busy    {busy:>5}");
    println!("overlaps         {overlaps:>5}  of operations on one volume");
    assert_eq!(done + busy, (TASKS * ROUNDS) as u64);
    assert_eq!(overlaps, 0, "the lock is broken");
    Ok(())
}
