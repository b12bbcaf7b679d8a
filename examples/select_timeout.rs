//! Waiting with a limit, and waiting while doing something else.
//!
//! `cargo run --example select_timeout`

use std::{pin::pin, time::Duration};

use keyward::LockRegistry;
use tokio::time::{interval, sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let registry = LockRegistry::<String>::new();

    // Somebody holds the volume for a while.
    let guard = registry.lock_named("vol-1").await;
    tokio::spawn(async move {
        sleep(Duration::from_millis(250)).await;
        drop(guard);
    });

    // 1. A limit on the wait: an error, and nothing is left in the queue.
    match registry.lock_named("vol-1").timeout(Duration::from_millis(50)).await {
        Ok(_guard) => println!("vol-1 was free"),
        Err(late) => println!("gave up on vol-1: {late}"),
    }
    assert_eq!(registry.waiters("vol-1"), 0);

    // 2. No wait at all.
    if let Err(busy) = registry.try_lock_named("vol-1") {
        println!("did not wait for vol-1: {busy}");
    }

    // 3. In a select! loop: the future is pinned once and polled by `&mut`, so that it keeps its place
    //    in the queue while the other branch runs. A new `lock_named` in each turn would lose it.
    let mut wait = pin!(registry.lock_named("vol-1"));
    let mut tick = interval(Duration::from_millis(60));
    let guard = loop {
        tokio::select! {
            biased; // the lock first: it queues before the first tick
            guard = &mut wait => break guard,
            _ = tick.tick() => println!("waiting, {} queued", registry.waiters("vol-1")),
        }
    };
    println!("{} is ours", guard.name());
    drop(guard);
    assert!(registry.is_empty());
}
