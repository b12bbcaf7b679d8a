//! The table of generations is locked, loses its row, or comes back as it was.

use std::time::Duration;

use keyward::{ErrorKind, LeaseState, LossReason, Released};
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::timeout;

use super::cluster::{Cluster, connect};
use crate::{clients::SOON, session::until};

const TWO: [usize; 2] = [0, 1];

/// What is held stays held while nobody can read the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_locked_costs_no_lease() {
    for fencing in ["create-table", "off"] {
        let cluster = Cluster::shared().await;
        let options = format!("&ttl=12&heartbeat=250ms&fencing={fencing}");
        let locks = connect(cluster.url(1, &TWO, &options)).await;
        let lease = locks.lock_named(cluster.name_on(&TWO, 0, "locked")).await.unwrap();
        let mut backup = cluster.servers[0].connect().await;
        let lock = format!("LOCK TABLES {}.keyward_shards WRITE", cluster.database());
        raw_sql(AssertSqlSafe(lock)).execute(&mut backup).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(lease.state(), LeaseState::Suspended, "{fencing}: nobody can vouch for it");
        raw_sql("UNLOCK TABLES").execute(&mut backup).await.unwrap();
        until("it is held", async || lease.state() != LeaseState::Suspended).await;
        lease.ensure_held().await.unwrap_or_else(|e| panic!("{fencing}: {e}"));
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
}

/// And who cannot vouch for it in time has lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_stays_locked_is_a_loss_in_time() {
    let cluster = Cluster::shared().await;
    let locks = connect(cluster.url(1, &TWO, "&ttl=4&heartbeat=250ms")).await;
    let lease = locks.lock_named(cluster.name_on(&TWO, 0, "stays")).await.unwrap();
    let mut backup = cluster.servers[0].connect().await;
    let lock = format!("LOCK TABLES {}.keyward_shards WRITE", cluster.database());
    raw_sql(AssertSqlSafe(lock)).execute(&mut backup).await.unwrap();
    let begun = tokio::time::Instant::now();
    let reason = timeout(SOON, lease.lost()).await.expect("it is told");
    println!("lost after {:?}: {reason}", begun.elapsed());
    assert_eq!(reason, LossReason::Expired);
}

/// A server that is locked for a backup is read, not written: so a process that counts no tokens connects to
/// it, and locks on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_locked_for_a_backup_is_of_use() {
    let cluster = Cluster::own(2).await;
    let url = cluster.url(1, &TWO, "&fencing=off&connect_timeout=2");
    let lease = connect(&url).await.lock_named(cluster.name("first")).await.unwrap();
    let mut backup = cluster.servers[0].connect().await;
    raw_sql("FLUSH TABLES WITH READ LOCK").execute(&mut backup).await.unwrap();
    let locks = connect(url.replace("&shards=create-table", "")).await;
    assert_eq!(locks.capability().warnings, Vec::<String>::new());
    let name = cluster.name_on(&TWO, 0, "backup");
    let other = locks.lock_named(&*name).await.unwrap();
    other.ensure_held().await.unwrap();
    assert_eq!(other.release().await.unwrap(), Released::Released);
    lease.ensure_held().await.unwrap();
}

/// Nobody uses a later generation, and so nobody is said to.
#[tokio::test]
async fn a_row_that_is_gone_is_no_later_generation() {
    let cluster = Cluster::shared().await;
    let locks = connect(cluster.url(1, &TWO, "&heartbeat=250ms")).await;
    let name = cluster.name_on(&TWO, 0, "row");
    let lease = locks.lock_named(&*name).await.unwrap();
    cluster.servers[0].query(&format!("DELETE FROM {}.keyward_shards", cluster.database())).await;
    let reason = timeout(SOON, lease.lost()).await.expect("it is told");
    assert_eq!(reason, LossReason::Closed, "{reason}");
    let error = lease.ensure_held().await.unwrap_err();
    assert!(error.is_lost() && !error.to_string().contains("later"), "{error}");
    drop(lease);
    // It stays so until somebody connects.
    assert_eq!(locks.lock_named(&*name).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let again = connect(cluster.url(1, &TWO, "")).await;
    assert_eq!(cluster.row(0, "generation").await.as_deref(), Some("1"));
    drop(again.lock_named(&*name).await.unwrap());
    drop(locks.lock_named(&*name).await.unwrap());
}
