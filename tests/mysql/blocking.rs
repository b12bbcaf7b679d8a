//! Threads that are not async, runtimes that end, and leases that outlive what they come from.

use std::{
    future::IntoFuture,
    thread,
    time::{Duration, Instant},
};

use keyward::{Error, Locks, Released};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    clients::{Clients, Outsider, SOON},
    server::Kind,
};

/// For the tests' own questions.
fn questions() -> Runtime {
    Runtime::new().unwrap()
}

#[test]
fn threads_lock_without_a_runtime() {
    let asking = questions();
    for kind in Kind::all() {
        let clients = asking.block_on(Clients::new(kind));
        let name = clients.name("threads");
        let locks = Locks::blocking_connect(clients.url("")).unwrap();
        let lease = locks.blocking_lock_named(&*name).unwrap();
        assert!(locks.blocking_try_lock_named(&*name).unwrap_err().is_would_block());
        let limit = Duration::from_millis(50);
        let late = locks.lock_named(&*name).timeout(limit).blocking_wait().unwrap_err();
        assert!(late.is_timed_out(), "{late}");
        let others = Locks::blocking_connect(clients.url("")).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (locks, name) = ([&locks, &others][i % 2].clone(), name.clone());
                thread::spawn(move || {
                    for _ in 0..5 {
                        let lease = locks.blocking_lock_named(&*name).unwrap();
                        assert_eq!(lease.blocking_release().unwrap(), Released::Released);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(50));
        assert!(threads.iter().all(|thread| !thread.is_finished()), "they do not wait");
        drop(lease); // on a thread without a runtime
        for thread in threads {
            thread.join().unwrap();
        }
        asking.block_on(clients.until_clean(&[&name]));
        drop((locks, others));
        asking.block_on(clients.until_connections(0));
    }
}

#[test]
fn a_lease_is_dropped_anywhere() {
    let asking = questions();
    for kind in Kind::all() {
        let clients = asking.block_on(Clients::new(kind));
        let name = clients.name("anywhere");
        let locks = asking.block_on(clients.locks(""));
        // On a thread of its own, in another runtime, in one that has ended.
        let lock = || asking.block_on(locks.lock_named(&*name).into_future()).unwrap();
        let lease = lock();
        thread::spawn(move || drop(lease)).join().unwrap();
        asking.block_on(clients.until_clean(&[&name]));
        let lease = lock();
        questions().block_on(async { drop(lease) });
        asking.block_on(clients.until_clean(&[&name]));
        let other = questions();
        let lease = other.block_on(locks.lock_named(&*name).into_future()).unwrap();
        other.shutdown_background();
        assert_eq!(lease.blocking_release().unwrap(), Released::Released);
        asking.block_on(clients.until_clean(&[&name]));
        asking.block_on(locks.close());
    }
}

#[tokio::test]
async fn a_lease_outlives_its_locks() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let name = clients.name("outlives");
        let lease = {
            let locks = clients.locks("ttl=3&heartbeat=250ms").await;
            locks.lock_named(&*name).await.unwrap()
        };
        // Also over what it is vouched for without a heartbeat.
        tokio::time::sleep(Duration::from_secs(4)).await;
        lease.ensure_held().await.unwrap();
        assert!(clients.server.holder(name.as_bytes()).await.is_some());
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        clients.until_connections(0).await;
    }
}

#[tokio::test]
async fn a_wait_outlives_its_locks() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let name = clients.name("waits");
        let mut outsider = Outsider::new(clients.server).await;
        outsider.take(&name).await;
        for is_granted in [true, false] {
            let locks = clients.locks("").await;
            let wait = tokio::spawn(locks.lock_named(&*name).into_future());
            drop(locks);
            clients.until_waiters(&name, 1).await;
            if is_granted {
                outsider.free(&name).await;
                let lease = timeout(SOON, wait).await.expect("its turn").unwrap().unwrap();
                lease.ensure_held().await.unwrap();
                drop(lease);
                clients.until_clean(&[&name]).await;
                outsider.take(&name).await;
            } else {
                wait.abort();
            }
            let begun = Instant::now();
            clients.until_connections(0).await;
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        }
    }
}

/// The sessions live on the runtime in which they were connected.
#[test]
fn with_the_runtime_the_locks_end() {
    let asking = questions();
    for kind in Kind::all() {
        let clients = asking.block_on(Clients::new(kind));
        let name = clients.name("ended");
        let home = questions();
        let locks = home.block_on(clients.locks(""));
        let lease = home.block_on(locks.lock_named(&*name).into_future()).unwrap();
        home.shutdown_background();
        let reason = asking.block_on(async { timeout(SOON, lease.lost()).await });
        println!("{kind}: {}", reason.expect("the loss is told"));
        assert_eq!(lease.blocking_release().unwrap(), Released::WasLost);
        asking.block_on(clients.until_clean(&[&name]));
        asking.block_on(clients.until_connections(0));
        let refused = |error: Error| {
            assert_eq!(error.kind(), keyward::ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("runtime"), "{error}");
        };
        let begun = Instant::now();
        let limit = Duration::from_secs(60);
        refused(locks.lock_named(&*name).timeout(limit).blocking_wait().unwrap_err());
        refused(locks.blocking_try_lock_named(&*name).unwrap_err());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        asking.block_on(async { timeout(SOON, locks.close()).await.expect("it does not close") });
    }
}
