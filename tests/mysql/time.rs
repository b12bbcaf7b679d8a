//! Limits of time: ours, to the millisecond, though the servers know whole seconds only.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use keyward::{ErrorKind, Locks};

use crate::{
    clients::{Clients, Outsider},
    server::Kind,
};

/// How late an answer may be on a machine that is busy.
const SLACK: Duration = Duration::from_secs(1);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One name that somebody else holds.
async fn held_by_another(kind: &'static Kind) -> (Clients, Outsider, Locks, String) {
    let clients = Clients::new(kind).await;
    let mut outsider = Outsider::new(clients.server).await;
    let name = clients.name("held");
    outsider.take(&name).await;
    let locks = clients.locks("").await;
    (clients, outsider, locks, name)
}

#[tokio::test]
async fn a_timeout_is_over_when_it_says() {
    for kind in Kind::all() {
        let (clients, mut outsider, locks, name) = held_by_another(kind).await;
        for limit in [millis(1), millis(300), millis(499), millis(501), millis(1_100)] {
            let begun = Instant::now();
            let error = locks.lock_named(&*name).timeout(limit).await.unwrap_err();
            let took = begun.elapsed();
            assert!(error.is_timed_out(), "{kind}: {error}");
            assert!(took >= limit && took < limit + SLACK, "{kind}: {limit:?} took {took:?}");
            let begun = Instant::now();
            let deadline = tokio::time::Instant::now() + limit;
            let error = locks.lock_all([&*name, "other"]).deadline(deadline).await.unwrap_err();
            let took = begun.elapsed();
            assert!(error.is_timed_out(), "{kind}: {error}");
            assert!(took >= limit && took < limit + SLACK, "{kind}: {limit:?} took {took:?}");
        }
        outsider.free(&name).await;
        clients.until_clean(&[&name, "other"]).await;
    }
}

#[tokio::test]
async fn a_wait_that_is_long_enough_is_none_too_long() {
    for kind in Kind::all() {
        let (clients, mut outsider, locks, name) = held_by_another(kind).await;
        for limit in [millis(400), millis(3_000), Duration::from_secs(86_400), Duration::MAX] {
            let wait = tokio::spawn(locks.lock_named(&*name).timeout(limit).into_future());
            clients.until_waiters(&name, 1).await;
            let freed = Instant::now();
            outsider.free(&name).await;
            let lease = wait.await.unwrap();
            let lease = match limit {
                // The machine may be too busy for that one.
                limit if limit < SLACK && lease.is_err() => continue,
                _ => lease.unwrap(),
            };
            assert!(freed.elapsed() < SLACK, "{kind}: {limit:?}: {:?}", freed.elapsed());
            let _ = lease.release().await.unwrap();
            outsider.take(&name).await;
        }
    }
}

#[tokio::test]
async fn what_is_late_from_the_start_is_tried_once() {
    for kind in Kind::all() {
        let (clients, mut outsider, locks, name) = held_by_another(kind).await;
        let past = tokio::time::Instant::now() - millis(10);
        for is_free in [false, true] {
            let begun = Instant::now();
            let waits = [
                (locks.lock_named(&*name).deadline(past), ErrorKind::TimedOut),
                (locks.lock_named(&*name).timeout(Duration::ZERO), ErrorKind::TimedOut),
                (locks.lock_named(&*name).blocking(false), ErrorKind::WouldBlock),
                (locks.try_lock_named(&*name).timeout(Duration::MAX), ErrorKind::WouldBlock),
            ];
            for (wait, refusal) in waits {
                match wait.await {
                    Ok(lease) => {
                        assert!(is_free, "{kind}: it is held");
                        let _ = lease.release().await.unwrap();
                    }
                    Err(e) => assert!(!is_free && e.kind() == refusal, "{kind}: {e}"),
                }
            }
            assert!(begun.elapsed() < SLACK, "{kind}: {:?}", begun.elapsed());
            if !is_free {
                outsider.free(&name).await;
            }
        }
        clients.until_clean(&[&name]).await;
    }
}

/// The clock of a wait in this process's own queue is the same one.
#[tokio::test]
async fn who_waits_behind_a_task_of_this_process_is_late_in_time_too() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("own"));
        let lease = locks.lock_named(&*name).await.unwrap();
        let begun = Instant::now();
        let limits = [300, 200, 100].map(millis);
        let waits = limits.map(|limit| locks.lock_named(&*name).timeout(limit).into_future());
        for (limit, error) in limits.into_iter().zip(futures::future::join_all(waits).await) {
            assert!(error.unwrap_err().is_timed_out(), "{limit:?}");
        }
        let took = begun.elapsed();
        assert!(took >= limits[0] && took < limits[0] + SLACK, "{kind}: {took:?}");
        lease.ensure_held().await.unwrap();
    }
}
