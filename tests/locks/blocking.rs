//! Callers that are not async.

use std::{sync::mpsc, thread, time::Duration};

use futures::FutureExt;
use keyward::{ErrorKind, Locks, Released};

use crate::memory;

#[test]
fn every_blocking_twin() {
    let locks = Locks::blocking_connect("memory:").unwrap();
    let lease = locks.blocking_lock_named("a").unwrap();
    assert!(locks.blocking_try_lock_named("a").unwrap_err().is_would_block());
    assert_eq!(lease.blocking_release().unwrap(), Released::Released);
    let lease = locks.blocking_try_lock_named("a").unwrap();
    let limit = Duration::from_millis(5);
    assert!(locks.lock_named("a").timeout(limit).blocking_wait().unwrap_err().is_timed_out());
    drop(lease);
    let all = locks.lock_all(["b", "a"]).timeout(Duration::MAX).blocking_wait().unwrap();
    assert_eq!(all.len(), 2);
    drop(all);
    let readers = [(); 2].map(|()| locks.lock_named("a").shared().blocking_wait().unwrap());
    drop(readers);
    assert!(Locks::blocking_connect("nothing:").is_err());

    let locks = Locks::builder().prefix("p-").blocking_connect("memory:").unwrap();
    let lease = locks.blocking_lock_named("a").unwrap();
    lease.blocking_ensure_held().unwrap();
    let status = locks.blocking_inspect("a").unwrap();
    assert!(status.is_held() && status.name.to_string() == "p-a", "{status:?}");
    let all = locks.blocking_lock_all(["b", "c"]).unwrap();
    all.blocking_ensure_held().unwrap();
    assert_eq!(all.blocking_release().unwrap(), Released::Released);
    assert_eq!(locks.blocking_collect_garbage(Duration::ZERO).unwrap(), 0);
    drop(lease);
    locks.blocking_close().unwrap();
    assert_eq!(locks.blocking_lock_named("a").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn threads_take_turns_with_tasks() {
    let locks = memory();
    let first = locks.blocking_lock_named("a").unwrap();
    let (send, order) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (locks, send) = (locks.clone(), send.clone());
            let thread = thread::spawn({
                let locks = locks.clone();
                move || {
                    let lease = locks.blocking_lock_named("a").unwrap();
                    send.send(n).unwrap();
                    let _ = lease.blocking_release().unwrap();
                }
            });
            // The first asks the store; the others queue behind it.
            while locks.inspect("a").now_or_never().unwrap().unwrap().waiters != n + 1 {
                thread::yield_now();
            }
            thread
        })
        .collect();
    drop(first);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(order.iter().take(4).eq(0..4));
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[tokio::test]
async fn they_panic_within_a_runtime() {
    type Call = fn(Locks);
    let calls: [Call; 5] = [
        |_| drop(Locks::blocking_connect("memory:")),
        |locks| drop(locks.blocking_lock_named("a")),
        |locks| drop(locks.blocking_try_lock_named("a")),
        |locks| drop(locks.lock_named("a").blocking_wait()),
        |locks| drop(locks.lock_named("a").now_or_never_lease().blocking_release()),
    ];
    let locks = memory();
    for (n, call) in calls.into_iter().enumerate() {
        let inner = locks.clone();
        let panic = tokio::spawn(async move { call(inner) }).await.unwrap_err().into_panic();
        let said = message(&*panic);
        assert!(
            said.contains("Cannot block the current thread from within a runtime")
                || said.contains("Cannot start a runtime from within a runtime"),
            "call {n}: {said}"
        );
        drop(locks.lock_named("a").await.unwrap()); // and nothing is left held
    }
}

trait Now {
    fn now_or_never_lease(self) -> keyward::Lease;
}

impl Now for keyward::Acquire {
    fn now_or_never_lease(self) -> keyward::Lease {
        crate::now(self).unwrap()
    }
}

#[tokio::test]
async fn they_are_right_in_spawn_blocking() {
    let locks = memory();
    let lease = locks.lock_named("a").await.unwrap();
    let inner = locks.clone();
    let blocking = tokio::task::spawn_blocking(move || inner.blocking_lock_named("a").map(drop));
    while locks.inspect("a").await.unwrap().waiters == 0 {
        tokio::task::yield_now().await;
    }
    drop(lease);
    blocking.await.unwrap().unwrap();
}
