//! A server that stands still, for a short while and for long.

use keyward::{ErrorKind, LeaseState, LossReason};
use tokio::time::Instant;

use super::room::{
    SLACK, TELLING, connect, millis, must_be_held, must_be_lost, name, secs, soon, until_clean,
    until_state, until_waiters, url, within,
};
use crate::server::{Kind, Server};

at_once! { stopped_servers:
    half_a_ttl_is_doubt_and_no_loss
    two_ttls_are_a_loss_in_time
    nobody_hangs_who_asks_meanwhile
}

async fn half_a_ttl_is_doubt_and_no_loss() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = url(&server, "ttl=8&heartbeat=500ms&connect_timeout=1");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named("a").await.unwrap();
        let wait = tokio::spawn(two.lock_named("a").into_future());
        until_waiters(&server, "a", 1).await;
        let mut lost = lease.lost();
        server.stop_signal();
        let stopped = Instant::now();
        // A heartbeat, and what an answer may take.
        until_state(&lease, LeaseState::Suspended, millis(2500) + SLACK).await;
        let error = soon("a check", lease.ensure_held()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        tokio::time::sleep_until(stopped + secs(4)).await;
        server.cont();
        until_state(&lease, LeaseState::Held, SLACK).await;
        assert!(futures::FutureExt::now_or_never(&mut lost).is_none());
        assert!(!wait.is_finished());
        must_be_held(lease).await;
        must_be_held(soon("the wait", wait).await.unwrap().unwrap()).await;
        until_clean(&server, &["a"], secs(5)).await;
    }
}

async fn two_ttls_are_a_loss_in_time() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = url(&server, "ttl=3&heartbeat=250ms");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let leases = [one.lock_named("a").await.unwrap(), two.lock_named("b").await.unwrap()];
        let lost = leases.each_ref().map(keyward::Lease::lost);
        server.stop_signal();
        let stopped = Instant::now();
        tokio::time::sleep(millis(300)).await; // for the last answer that was on its way
        let until = leases.each_ref().map(|lease| lease.valid_until().unwrap());
        for ((lost, until), lease) in lost.into_iter().zip(until).zip(leases) {
            assert_eq!(soon("the loss", lost).await, LossReason::Expired);
            let late = until.elapsed();
            assert!(Instant::now() >= until, "told {:?} too early", until - Instant::now());
            assert!(late < TELLING, "told {late:?} too late");
            must_be_lost(lease, LossReason::Expired).await;
        }
        tokio::time::sleep_until(stopped + secs(6)).await;
        server.cont();
        for locks in [&one, &two] {
            let lease = soon("a lock", locks.lock_named("a").into_future()).await.unwrap();
            must_be_held(lease).await;
        }
        until_clean(&server, &["a", "b"], secs(5)).await;
    }
}

/// Each is told within what an answer may take and what connecting may take, however many ask.
async fn nobody_hangs_who_asks_meanwhile() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let locks = connect(url(&server, "ttl=30&connect_timeout=1")).await;
        let lease = locks.lock_named("held").await.unwrap();
        server.stop_signal();
        let mut asked = tokio::task::JoinSet::new();
        for i in 0..30_u64 {
            let (locks, own) = (locks.clone(), name("asked"));
            asked.spawn(async move {
                let (limit, acquire) = match i % 3 {
                    0 => (secs(5), locks.try_lock_named(own)),
                    1 => (secs(1), locks.lock_named(own).timeout(secs(1))),
                    _ => (secs(5), locks.lock_named(own)),
                };
                let error = within(limit + SLACK, "an answer", acquire.into_future()).await;
                let error = error.unwrap_err();
                let is_right = match i % 3 {
                    1 => error.is_timed_out(),
                    _ => error.kind() == ErrorKind::Unavailable,
                };
                assert!(is_right && error.backend() == Some("mysql"), "{i}: {error:?}");
            });
        }
        while let Some(asked) = asked.join_next().await {
            asked.unwrap();
        }
        // Nor who asks for an answer about one, whose session is given up first and then opened anew.
        for _ in 0..2 {
            let questions = (0..12).map(|_| async {
                let error = within(secs(3) + SLACK, "an answer", locks.inspect("held")).await;
                assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
            });
            futures::future::join_all(questions).await;
        }
        server.cont();
        must_be_held(soon("a lock", locks.lock_named("new").into_future()).await.unwrap()).await;
        soon("the answer", async {
            while lease.state() != LeaseState::Held {
                tokio::time::sleep(millis(5)).await;
            }
        })
        .await;
        must_be_held(lease).await;
        until_clean(&server, &["held", "new"], secs(5)).await;
    }
}
