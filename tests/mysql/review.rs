//! What a server does behind our back, what users ask for without measure, and tries in a crowd.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{ErrorKind, LeaseState, Locks, Released};
use sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};
use tokio::{sync::Barrier, time::sleep};

use crate::{
    clients::Clients,
    server::{Kind, Server},
};

async fn run(connection: &mut MySqlConnection, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_token_that_cannot_be_counted_costs_no_other_lock() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let database = clients.database().await;
        let options = clients.options().database(&database).ttl(Duration::from_secs(4));
        let backend = options.fencing(keyward::Fencing::Durable).create_table(true).connect().await;
        let locks = Locks::builder().backend(backend.unwrap());
        let lease = locks.lock_named(clients.name("held")).await.unwrap();
        let mut backup = clients.server.connect().await;
        run(&mut backup, &format!("LOCK TABLES {database}.keyward_fence READ")).await;
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| clients.name(name));
        let begun = Instant::now();
        // Longer than a lease is valid without a proof.
        while begun.elapsed() < Duration::from_secs(6) {
            let tries = names.iter().map(|name| locks.try_lock_named(name));
            let tries = tries.map(std::future::IntoFuture::into_future);
            for tried in futures::future::join_all(tries).await {
                tried.unwrap_err();
            }
            assert!(!matches!(lease.state(), LeaseState::Lost(_)), "{kind}: it is lost");
        }
        run(&mut backup, "UNLOCK TABLES").await;
        lease.ensure_held().await.unwrap();
        let before = lease.fencing_token().unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        let again = locks.lock_named(clients.name("held")).await.unwrap();
        assert!(again.fencing_token().unwrap() > before);
        drop(again);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        clients.until_clean(&names).await;
        locks.close().await;
    }
}

#[tokio::test]
async fn a_primary_that_has_become_a_replica_is_refused() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let url = format!("{}&locks_per_session=1", server.url());
        let locks = Locks::connect(&url).await.unwrap();
        let lease = locks.lock_named("before").await.unwrap();
        server.query("SET GLOBAL read_only = ON").await;
        let error = locks.try_lock_named("after").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        // What was locked on the primary is what it was.
        lease.ensure_held().await.unwrap();
        server.query("SET GLOBAL read_only = OFF").await;
        locks.try_lock_named("after").await.unwrap().release().await.unwrap();
        drop(lease);
        locks.close().await;
    }
}

#[tokio::test]
async fn numbers_without_measure_are_no_harm() {
    let clients = Clients::new(Kind::mariadb()).await;
    let most = u64::MAX;
    let locks = clients.locks(&format!("max_waiters={most}&connect_timeout={most}")).await;
    let name = clients.name("held");
    let lease = locks.lock_named(&name).await.unwrap();
    let waits = locks.lock_named(&name).timeout(Duration::from_millis(50));
    assert!(waits.await.unwrap_err().is_timed_out());
    sleep(Duration::from_millis(1)).await;
    drop(lease);
    locks.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_tasks_that_try_the_same_names_one_gets_them() {
    let clients = Clients::new(Kind::mariadb()).await;
    let locks = clients.locks("ttl=6").await;
    let names = [clients.name("a"), clients.name("b")];
    for round in 0..200 {
        let barrier = Arc::new(Barrier::new(2));
        let tries = [(); 2].map(|()| {
            let (locks, names, barrier) = (locks.clone(), names.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let leases = locks.lock_all(names).blocking(false).await;
                barrier.wait().await;
                leases.map(drop)
            })
        });
        let tried = futures::future::join_all(tries).await;
        let won = tried.into_iter().filter(|tried| tried.as_ref().unwrap().is_ok()).count();
        assert_eq!(won, 1, "round {round}");
        locks.lock_all(&names).await.unwrap().release().await.unwrap();
    }
    locks.close().await;
}
