//! Those who poll get their turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use keyward::Locks;

use crate::room::Room;

const GAP: Duration = Duration::from_millis(120);

/// What a Python peer does: try, sleep for 0.1 s, try again.
async fn poll(locks: &Locks) -> u32 {
    for tries in 1.. {
        if locks.try_lock_named("a").await.is_ok() {
            return tries;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!()
}

/// Two processes' worth of tasks that never rest, and one who polls. In each gap the poller has at
/// least one try, so it counts gaps, and no clock decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_gets_its_turn_in_every_gap() {
    for shared in [false, true] {
        let room = Room::new();
        let url = format!("?polite={}ms", GAP.as_millis());
        let (done, acquired) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let locks = room.connect(&url).await.unwrap();
            let (done, acquired) = (Arc::clone(&done), Arc::clone(&acquired));
            tasks.spawn(async move {
                while !done.load(SeqCst) {
                    let wait = locks.lock_named("a");
                    let wait = if shared { wait.shared() } else { wait };
                    let lease = wait.await.unwrap();
                    tokio::time::sleep(Duration::from_micros(500)).await;
                    drop(lease);
                    acquired.fetch_add(1, SeqCst);
                }
            });
        }
        let poller = room.connect("?wait=poll&fencing=off").await.unwrap();
        let start = Instant::now();
        let mut most = 0;
        for _ in 0..5 {
            most = most.max(poll(&poller).await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        done.store(true, SeqCst);
        tasks.join_all().await;
        let (elapsed, acquired) = (start.elapsed(), acquired.load(SeqCst));
        println!("shared {shared}: at most {most} tries, {acquired} locks in {elapsed:?}");
        // A use of 120 ms, a gap of 120 ms, and a try each 100 ms: the fourth at the latest. A busy
        // machine may stretch one hold or another.
        assert!(most <= 12, "{most} tries");
        assert!(acquired > 20, "the others had nothing: {acquired}");
    }
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_told_so_in_a_gap() {
    let room = Room::new();
    let locks = room.connect(&format!("?polite={}ms", GAP.as_millis())).await.unwrap();
    let lease = locks.lock_named("a").await.unwrap();
    tokio::time::sleep(GAP).await;
    drop(lease);
    assert!(locks.try_lock_named("a").await.unwrap_err().is_would_block(), "no gap");
    let start = Instant::now();
    drop(locks.lock_named("a").await.unwrap());
    assert!(start.elapsed() >= GAP / 2, "it did not wait for the end of the gap");
    // A lock that was left alone by itself needs no gap.
    tokio::time::sleep(GAP).await;
    drop(locks.try_lock_named("a").await.unwrap());
    drop(locks.try_lock_named("a").await.unwrap());
}
