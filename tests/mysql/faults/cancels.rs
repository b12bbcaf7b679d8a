//! Waits that are given up at each point at which they can be.

use futures::{FutureExt, poll};
use keyward::Locks;

use super::room::{connect, kill_all, millis, must_be_held, secs, soon, until_clean, url};
use crate::server::{Kind, Server};

/// The future is polled that often, and between polls whatever it waits for happens: so it is dropped
/// once with each thing done and not yet noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_dropped_anywhere_leaves_nothing() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = url(&server, "ttl=30");
        let names = ["a", "b", "c", "d"];
        for polls in 1..=5 {
            for is_granted in [false, true] {
                let (holder, locks) = (connect(&url).await, connect(&url).await);
                let mut counts = Vec::new();
                for _ in 0..3 {
                    drop_after(polls, is_granted, &names, &holder, &locks).await;
                    until_clean(&server, &names, secs(5)).await;
                    counts.push(server.connections().await);
                }
                // What was opened the first time is there to be used, but for what a busy machine has
                // not finished yet; and not four more each time.
                assert!(counts[2] < counts[0] + 4, "after {polls} polls: {counts:?} sessions");
                for name in names {
                    let lease = soon(name, locks.lock_named(name).into_future()).await;
                    must_be_held(lease.unwrap()).await;
                }
                tokio::join!(soon("closing", holder.close()), soon("closing", locks.close()));
            }
        }
    }
}

async fn drop_after(polls: usize, is_granted: bool, names: &[&str], holder: &Locks, locks: &Locks) {
    let (mut leases, mut waits) = (Vec::new(), Vec::new());
    for &name in names {
        leases.push(holder.lock_named(name).await.unwrap());
        waits.push(locks.lock_named(name).into_future().boxed());
    }
    for _ in 0..polls {
        for wait in &mut waits {
            assert!(poll!(wait).is_pending());
        }
        tokio::time::sleep(millis(20)).await;
    }
    if is_granted {
        for lease in leases {
            must_be_held(lease).await;
        }
        tokio::time::sleep(millis(20)).await;
    }
    drop(waits);
}

/// The same for those who ask who holds a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_dropped_anywhere_leaves_nothing() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let locks = connect(url(&server, "ttl=30")).await;
        for polls in 1..4 {
            kill_all(&server).await;
            drop(locks.inspect("a").await); // which finds the control session dead
            let mut asking = locks.inspect("a").boxed();
            for _ in 0..polls {
                if poll!(asking.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(millis(20)).await;
            }
            drop(asking);
        }
        locks.inspect("a").await.unwrap();
        let count = server.connections().await;
        assert!(count <= 3, "{count} sessions");
        soon("closing", locks.close()).await;
        soon("the end of the sessions", async {
            while server.connections().await > 0 {
                tokio::time::sleep(millis(5)).await;
            }
        })
        .await;
    }
}
