//! Servers that die, and come back or not.

use std::time::Duration;

use keyward::{ErrorKind, Locks, LossReason};
use tokio::time::Instant;

use super::room::{
    SLACK, connect, millis, must_be_held, must_be_lost, name, secs, soon, until_clean,
    until_waiters, url, waiter_id, within,
};
use crate::server::{Kind, Server};

at_once! { servers_that_die:
    leases_are_lost_and_waits_go_on
    a_server_that_stays_away_is_an_error
    a_wait_outlives_one_failure_after_the_other
    a_sentinel_tells_at_once
}

async fn leases_are_lost_and_waits_go_on() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        // A server's tokens start with the second of its own start.
        tokio::time::sleep(millis(1100)).await;
        let url = url(&server, "ttl=3&heartbeat=250ms&connect_timeout=30");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named("a").await.unwrap();
        let other = one.lock_named("b").await.unwrap();
        let (lost, token) = (lease.lost(), lease.fencing_token().unwrap());
        let for_ever = tokio::spawn(two.lock_named("a").into_future());
        let for_long = tokio::spawn(two.lock_named("b").timeout(secs(60)).into_future());
        until_waiters(&server, "a", 1).await;
        until_waiters(&server, "b", 1).await;
        server.kill();
        assert_eq!(within(millis(250) + SLACK, "the loss", lost).await, LossReason::Closed);
        must_be_lost(other, LossReason::Closed).await;
        server.restart();
        let next = soon("the wait for ever", for_ever).await.unwrap().unwrap();
        assert!(token < next.fencing_token().unwrap(), "tokens grow over restarts");
        must_be_held(soon("the wait with a limit", for_long).await.unwrap().unwrap()).await;
        // It never takes its lock again, not even when it could.
        must_be_lost(lease, LossReason::Closed).await;
        must_be_held(next).await;
        for locks in [&one, &two] {
            for name in ["a", "new"] {
                must_be_held(soon(name, locks.lock_named(name).into_future()).await.unwrap()).await;
                must_be_held(soon(name, locks.try_lock_named(name).into_future()).await.unwrap())
                    .await;
            }
        }
        until_clean(&server, &["a", "b", "new"], secs(5)).await;
        // The control session has gone with the server as well.
        let lease = one.lock_named("a").await.unwrap();
        two.lock_named("a").timeout(millis(100)).await.unwrap_err();
        until_waiters(&server, "a", 0).await;
        must_be_held(lease).await;
    }
}

async fn must_fail_as_unavailable(locks: &Locks, wait: &str, limit: Duration) {
    let acquire = locks.lock_named("gone");
    let acquire = match wait {
        "try" => acquire.blocking(false),
        "long" => acquire.timeout(secs(600)),
        _ => acquire,
    };
    let error = within(limit, wait, acquire.into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{wait}: {error:?}");
    assert_eq!(error.backend(), Some("mysql"), "{wait}: {error:?}");
    assert_eq!(error.name().unwrap().to_string(), "gone", "{wait}: {error:?}");
}

async fn a_server_that_stays_away_is_an_error() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = url(&server, "ttl=3&heartbeat=250ms&connect_timeout=1");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named("held").await.unwrap();
        let wait = tokio::spawn(two.lock_named("held").into_future());
        until_waiters(&server, "held", 1).await;
        server.kill();
        let limit = secs(1) + SLACK;
        let error = within(limit, "the wait", wait).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(error.backend(), Some("mysql"), "{error:?}");
        must_be_lost(lease, LossReason::Closed).await;
        for wait in ["try", "ever", "long"] {
            must_fail_as_unavailable(&one, wait, limit).await;
        }
        let error = within(limit, "connecting", Locks::connect(&*url)).await.unwrap_err();
        assert_eq!((error.kind(), error.backend()), (ErrorKind::Unavailable, Some("mysql")));
        server.restart();
        must_be_held(soon("a lock", one.lock_named("held").into_future()).await.unwrap()).await;
        within(SLACK, "closing", one.close()).await;
    }
}

/// Each time within the patience, and the times have nothing to do with each other.
async fn a_wait_outlives_one_failure_after_the_other() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("failures"));
        let url = url(server, "ttl=30&connect_timeout=1");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named(name.as_str()).await.unwrap();
        let wait = tokio::spawn(two.lock_named(name.as_str()).into_future());
        for _ in 0..3 {
            until_waiters(server, &name, 1).await;
            // Longer than the patience.
            tokio::time::sleep(millis(1300)).await;
            let id = waiter_id(server, &name).await.unwrap();
            server.kill_connection(id).await;
            soon("another session", async {
                while waiter_id(server, &name).await.is_none_or(|new| new == id) {
                    assert!(!wait.is_finished(), "it has given up");
                    tokio::time::sleep(millis(5)).await;
                }
            })
            .await;
        }
        must_be_held(lease).await;
        must_be_held(soon("the lock", wait).await.unwrap().unwrap()).await;
    }
}

/// With a heartbeat that is long: by a session that notices at once, also the next time.
async fn a_sentinel_tells_at_once() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let lone = connect(url(&server, "ttl=60&heartbeat=30&sentinel=on")).await;
        let waiting = connect(url(&server, "ttl=60&heartbeat=30")).await;
        for _ in 0..2 {
            let guarded = soon("a lock", lone.lock_named("a").into_future()).await.unwrap();
            let beside = soon("a lock", waiting.lock_named("b").into_future()).await.unwrap();
            // A wait is as good as a sentinel.
            let wait = tokio::spawn(waiting.lock_named("a").into_future());
            until_waiters(&server, "a", 1).await;
            until_sentinel(&server).await;
            let (lost, lost_beside) = (guarded.lost(), beside.lost());
            server.kill();
            assert_eq!(within(secs(5), "the loss", lost).await, LossReason::Closed);
            assert_eq!(within(secs(5), "the other loss", lost_beside).await, LossReason::Closed);
            wait.abort();
            must_be_lost(guarded, LossReason::Closed).await;
            must_be_lost(beside, LossReason::Closed).await;
            server.restart();
        }
    }
}

async fn until_sentinel(server: &Server) {
    let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'DO SLEEP%'";
    let begun = Instant::now();
    while server.scalar::<u64>(count).await != Some(1) {
        assert!(begun.elapsed() < secs(20), "no sentinel");
        tokio::time::sleep(millis(5)).await;
    }
}
