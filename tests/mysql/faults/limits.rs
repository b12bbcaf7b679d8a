//! Servers that do not give what they are asked for: a timeout, connections.

use keyward::{ErrorKind, Locks};

use super::room::{SLACK, connect, millis, must_be_held, secs, soon, until_clean, url, within};
use crate::server::{Kind, Server};

/// Without its `wait_timeout`, a lock of a frozen process would be kept for longer, or not long enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_caps_the_timeout_is_refused() {
    for kind in Kind::all() {
        let server = Server::start_with(kind, &["--maximum-wait-timeout=20"]);
        let error = Locks::connect(url(&server, "ttl=30")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        for part in ["wait_timeout", "20 s", "30 s"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(error.backend(), Some("mysql"));
        let locks = connect(url(&server, "ttl=20")).await;
        must_be_held(locks.lock_named("a").await.unwrap()).await;
    }
}

/// As somebody who gets none of those that are kept for administrators.
async fn crowded(kind: &Kind, limit: &str) -> (Server, String) {
    let server = Server::start_with(kind, &[limit]);
    server.create_user("app@localhost", "").await;
    let url = format!("{}&ttl=3&heartbeat=250ms&connect_timeout=1", server.url_as("app"));
    (server, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_there_are_no_locks() {
    for kind in Kind::all() {
        let (server, url) = crowded(kind, "--max-connections=10").await;
        let locks = connect(&url).await;
        let lease = locks.lock_named("held").await.unwrap();
        let mut others = Vec::new();
        while let Ok(other) = connect_as(&server, "app").await {
            others.push(other);
        }
        let error = within(secs(2) + SLACK, "connecting", Locks::connect(&*url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error:?}");
        assert_eq!(error.backend(), Some("mysql"));
        // What is there works on.
        must_be_held(locks.try_lock_named("free").await.unwrap()).await;
        drop(others);
        must_be_held(lease).await;
        let again = soon("a connection", async {
            loop {
                match Locks::connect(&*url).await {
                    Ok(locks) => break locks,
                    Err(e) => assert_eq!(e.kind(), ErrorKind::ResourceLimit, "{e:?}"),
                }
                tokio::time::sleep(millis(20)).await;
            }
        })
        .await;
        must_be_held(again.lock_named("held").await.unwrap()).await;
    }
}

async fn connect_as(server: &Server, user: &str) -> Result<sqlx::MySqlConnection, sqlx::Error> {
    use sqlx::ConnectOptions;

    crate::server::plain(&server.url_as(user)).connect().await
}

/// More names are waited for than there are connections: each is had or refused in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_without_connections_end() {
    for kind in Kind::all() {
        let (server, url) = crowded(kind, "--max-user-connections=10").await;
        let (holder, waiter) =
            (connect(&url).await, connect(&format!("{url}&max_waiters=64")).await);
        let names: Vec<_> = (0..20).map(|i| format!("n{i}")).collect();
        let mut leases = Vec::new();
        for name in &names {
            leases.push(holder.lock_named(name.as_str()).await.unwrap());
        }
        let mut waits = tokio::task::JoinSet::new();
        for name in names.clone() {
            waits.spawn(waiter.lock_named(name).into_future());
        }
        tokio::time::sleep(millis(500)).await;
        // Those that have no connection are told so when connecting has been tried for long enough.
        let told = async {
            while waits.len() as u64 > server.user_lock_waiters().await {
                let refused = waits.join_next().await.unwrap().unwrap().unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ResourceLimit, "{refused:?}");
            }
        };
        within(secs(2) + SLACK, "the refusals", told).await;
        assert!((1..10).contains(&waits.len()), "{} wait", waits.len());
        for lease in leases {
            assert_eq!(lease.state(), keyward::LeaseState::Held);
            must_be_held(lease).await;
        }
        // The others are in the queue, and get it.
        while let Some(wait) = soon("a wait", waits.join_next()).await {
            must_be_held(wait.unwrap().unwrap()).await;
        }
        for name in &names {
            must_be_held(soon(name, waiter.lock_named(name.as_str()).into_future()).await.unwrap())
                .await;
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        until_clean(&server, &names, secs(5)).await;
    }
}
