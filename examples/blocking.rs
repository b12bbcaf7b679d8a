//! Callers that are not async: a batch tool with threads, which locks volumes in a directory of lock
//! files that services share.
//!
//! `cargo run --release --example blocking`

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use keyward::{Lease, Locks, Released};

/// Checks one volume in two steps; what it does must not be done twice at once.
fn check(lease: &Lease, inside: &AtomicUsize) -> Result<(), keyward::Error> {
    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two threads are in one volume");
    thread::sleep(Duration::from_millis(1));
    // Work that blocks cannot be stopped from outside: ask between its steps.
    lease.blocking_ensure_held()?;
    thread::sleep(Duration::from_millis(1));
    inside.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("keyward-blocking-{}", std::process::id()));
    let locks = Locks::blocking_connect(format!("file://{}", directory.display()))?;
    let inside = [const { AtomicUsize::new(0) }; 3];

    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> Result<(), keyward::Error> {
                    for round in 0..30 {
                        let volume = round % inside.len();
                        let lease = locks
                            .lock_named(format!("vol-{volume}"))
                            .timeout(Duration::from_secs(30))
                            .blocking_wait()?;
                        check(&lease, &inside[volume])?;
                        assert_eq!(lease.blocking_release()?, Released::Released);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker has panicked")??;
        }
        Ok(())
    })?;

    // A volume that is in use is left for later, and the error says so.
    let busy = locks.blocking_lock_named("vol-1")?;
    let refused = locks.blocking_try_lock_named("vol-1").unwrap_err();
    println!("skipped: {refused}");
    println!("held:    {:?}", locks.blocking_inspect("vol-1")?.occupancy);
    drop(busy);

    locks.blocking_close()?;
    std::fs::remove_dir_all(&directory)?;
    println!("4 threads checked 3 volumes 120 times, one at a time each");
    Ok(())
}
