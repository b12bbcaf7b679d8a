//! Sessions that an operator kills, whole or only what they are doing.

use std::pin::pin;

use keyward::{LossReason, Released};
use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::room::{
    SLACK, connect, holder_id, kill, kill_all, kill_all_but, millis, must_be_held, must_be_lost,
    name, secs, soon, until_clean, until_waiters, url, waiter_id, within,
};
use crate::server::{Kind, Server, hex};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_locks_of_a_killed_session_are_lost_and_no_others() {
    for kind in Kind::all() {
        let (server, names) = (kind.shared(), ["a", "b", "c", "d"].map(name));
        let url = url(server, "ttl=30&heartbeat=500ms&locks_per_session=2");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let mut leases = Vec::new();
        for name in &names[..3] {
            leases.push(one.lock_named(name.as_str()).await.unwrap());
        }
        leases.push(two.lock_named(names[3].as_str()).await.unwrap());
        let id = holder_id(server, &names[0]).await;
        assert_eq!(holder_id(server, &names[1]).await, id, "they share a session");
        assert_ne!(holder_id(server, &names[2]).await, id, "it is full");
        let lost: Vec<_> = leases.iter().map(keyward::Lease::lost).collect();
        server.kill_connection(id).await;
        let mut lost = lost.into_iter();
        for _ in 0..2 {
            let told = within(millis(500) + SLACK, "the loss", lost.next().unwrap()).await;
            assert_eq!(told, LossReason::Closed);
        }
        let mut leases = leases.into_iter();
        for lease in leases.by_ref().take(2) {
            must_be_lost(lease, LossReason::Closed).await;
        }
        for (lease, lost) in leases.zip(lost) {
            must_be_held(lease).await;
            assert!(futures::FutureExt::now_or_never(lost).is_none());
        }
        // And it locks again, on another session.
        for name in &names {
            must_be_held(one.lock_named(name.as_str()).await.unwrap()).await;
        }
    }
}

/// Whether it is idle at that moment or asking whether its locks are its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_holder_holds() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("interrupted"));
        let locks = connect(url(server, "ttl=30&heartbeat=250ms")).await;
        let lease = locks.lock_named(name.as_str()).await.unwrap();
        let id = holder_id(server, &name).await;
        let mut operator = server.connect().await;
        let kills = async {
            for _ in 0..2000 {
                let kill = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("KILL QUERY {id}")));
                kill.execute(&mut operator).await.unwrap();
            }
        };
        let checks = async {
            loop {
                lease.ensure_held().await.unwrap();
            }
        };
        tokio::select! {
            () = kills => {}
            () = checks => {}
        }
        must_be_held(lease).await;
        until_clean(server, &[&name], secs(5)).await;
    }
}

/// Locking and releasing, while what the session does is interrupted all the time: a lock is had or it
/// is not, and none is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_tries_and_releases_leave_nothing() {
    for kind in Kind::all() {
        let (server, name, other) = (kind.shared(), name("tries"), name("bystander"));
        let locks = connect(url(server, "ttl=30")).await;
        let lease = locks.lock_named(other.as_str()).await.unwrap();
        let id = holder_id(server, &other).await;
        let mut operator = server.connect().await;
        let kills = async {
            for _ in 0..2000 {
                let kill = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("KILL QUERY {id}")));
                kill.execute(&mut operator).await.unwrap();
            }
        };
        let work = async {
            loop {
                match locks.try_lock_named(name.as_str()).await {
                    Ok(lease) => assert_eq!(lease.release().await.unwrap(), Released::Released),
                    Err(e) => assert_eq!(e.kind(), keyward::ErrorKind::Unavailable, "{e:?}"),
                }
            }
        };
        tokio::select! {
            () = kills => {}
            () = work => {}
        }
        until_clean(server, &[&name], secs(5)).await;
        must_be_held(lease).await;
    }
}

/// The next task is not kept waiting for the server's word; the one that has released it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_lease_that_is_handed_over_was_lost() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("handed"));
        let locks = connect(url(server, "ttl=30&heartbeat=15s")).await;
        let mut admin = server.connect().await;
        let (mut killed, mut handed_over) = (0, 0);
        // A lock is handed over within a few milliseconds or not at all.
        while handed_over < 3 {
            assert!(killed < 1000, "{handed_over} of {killed} were handed over");
            drop(locks.lock_named(name.as_str()).await.unwrap());
            let lease = locks.lock_named(name.as_str()).await.unwrap();
            let id = holder_id(server, &name).await;
            lease.release().await.unwrap();
            let lease = locks.lock_named(name.as_str()).await.unwrap();
            let mut next = pin!(locks.lock_named(name.as_str()).into_future());
            assert!(futures::poll!(next.as_mut()).is_pending());
            let kill = format!("KILL CONNECTION {id}");
            sqlx::raw_sql(AssertSqlSafe(kill)).execute(&mut admin).await.unwrap();
            // An INT on MariaDB, which is looked at if the kill takes its time.
            let holder = format!("IS_USED_LOCK(X'{}')", hex(name.as_bytes()));
            let holder = format!("SELECT CAST({holder} AS UNSIGNED)");
            let holder = || sqlx::query_scalar::<_, Option<u64>>(AssertSqlSafe(holder.clone()));
            while holder().fetch_one(&mut admin).await.unwrap() == Some(id) {}
            killed += 1;
            let (released, next) = tokio::join!(lease.release(), soon("the next", next));
            assert_eq!(released.unwrap(), Released::WasLost);
            handed_over += u32::from(next.unwrap().ensure_held().await.is_err());
        }
        println!("{kind}: {handed_over} of {killed} were handed over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_is_killed_waits_on() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("waiter"));
        let url = url(server, "ttl=30");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named(name.as_str()).await.unwrap();
        let begun = Instant::now();
        let limited = two.lock_named(name.as_str()).timeout(secs(60));
        let wait = tokio::spawn(limited.into_future());
        for round in 0..10 {
            soon("a waiter", async {
                let id = loop {
                    if let Some(id) = waiter_id(server, &name).await {
                        break id;
                    }
                    tokio::time::sleep(millis(2)).await;
                };
                // It may be the one of the round before, which is on its way out.
                kill(server, if round % 2 == 0 { "QUERY" } else { "CONNECTION" }, id).await;
            })
            .await;
        }
        until_waiters(server, &name, 1).await;
        assert!(!wait.is_finished() && begun.elapsed() < secs(50));
        must_be_held(lease).await;
        must_be_held(soon("the lock", wait).await.unwrap().unwrap()).await;
        until_clean(server, &[&name], secs(5)).await;
    }
}

/// The kill comes shortly before, with or after the end of the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_around_the_end_of_a_wait_leave_nothing() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("around"));
        let url = url(server, "ttl=30");
        let (one, two) = (connect(&url).await, connect(&url).await);
        for round in 0..24_u64 {
            let lease = one.lock_named(name.as_str()).await.unwrap();
            let wait = tokio::spawn(two.lock_named(name.as_str()).into_future());
            until_waiters(server, &name, 1).await;
            let id = waiter_id(server, &name).await.unwrap();
            let kill = async {
                tokio::time::sleep(millis(round / 4)).await;
                kill(server, ["QUERY", "CONNECTION"][round as usize % 2], id).await;
            };
            let end = async {
                tokio::time::sleep(millis(3)).await;
                match round % 4 {
                    0 | 1 => wait.abort(),
                    _ => drop(lease.release().await.unwrap()),
                }
                wait.await
            };
            let ((), ended) = within(secs(20), "the end", async { tokio::join!(kill, end) }).await;
            match ended {
                // What has been granted and killed at once may be a loss, and never a mere error.
                Ok(got) => drop(got.unwrap().release().await.unwrap()),
                Err(aborted) => assert!(aborted.is_cancelled()),
            }
        }
        until_clean(server, &[&name], secs(5)).await;
        must_be_held(two.try_lock_named(name.as_str()).await.unwrap()).await;
    }
}

/// Who gives up a wait cannot have it stopped then: its connection is what ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_without_a_control_session() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = url(&server, "ttl=30");
        let (holder, locks) = (connect(&url).await, connect(&url).await);
        let lease = holder.lock_named("a").await.unwrap();
        let wait = tokio::spawn(locks.lock_named("a").into_future());
        until_waiters(&server, "a", 1).await;
        let (keep, waits) = (holder_id(&server, "a").await, waiter_id(&server, "a").await.unwrap());
        kill_all_but(&server, &[keep, waits]).await;
        wait.abort();
        // As soon as the server sees that the connection has ended: within a second, or five.
        within(secs(6) + SLACK, "the end of the wait", until_waiters(&server, "a", 0)).await;
        must_be_held(lease).await;
        // What is stopped next is stopped by a new one.
        let lease = holder.lock_named("a").await.unwrap();
        locks.lock_named("a").timeout(millis(100)).await.unwrap_err();
        within(secs(6) + SLACK, "the end of the wait", until_waiters(&server, "a", 0)).await;
        must_be_held(lease).await;
        until_clean(&server, &["a"], secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_hold_nothing_may_be_killed() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let locks = connect(url(&server, "ttl=30")).await;
        for _ in 0..3 {
            kill_all(&server).await;
            must_be_held(soon("a lock", locks.lock_named("a").into_future()).await.unwrap()).await;
            must_be_held(soon("a try", locks.try_lock_named("a").into_future()).await.unwrap())
                .await;
        }
        until_clean(&server, &["a"], secs(5)).await;
    }
}

/// An inspection needs a session that has to be opened, and who has begun that is polled no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inspection_that_is_not_polled_is_in_nobodys_way() {
    let server = Server::start(Kind::mariadb());
    let locks = connect(url(&server, "ttl=30&heartbeat=250ms")).await;
    kill_all(&server).await;
    tokio::time::sleep(millis(1000)).await; // noticed at a heartbeat
    let mut first = pin!(locks.inspect("a"));
    assert!(futures::poll!(first.as_mut()).is_pending(), "it needs a session");
    assert_eq!(soon("an answer", locks.inspect("b")).await.unwrap().waiters, 0);
    assert_eq!(first.await.unwrap().waiters, 0);
}
