//! Tokens grow over a change, whoever counts where.

use keyward::Released;

use super::cluster::{Cluster, connect};
use crate::clients::SOON;

const THREE: [usize; 3] = [0, 1, 2];
const FOUR: [usize; 4] = [0, 1, 2, 3];
const OPTIONS: &str = "&ttl=3&heartbeat=250ms";

async fn token(locks: &keyward::Locks, name: &str) -> u64 {
    let lease = locks.lock_named(name).timeout(SOON).await.unwrap();
    let token = lease.fencing_token().unwrap().get();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    token
}

#[tokio::test]
async fn they_grow_from_server_to_server() {
    let cluster = Cluster::shared().await;
    let names = ["in-two", "not-in-two", "often"].map(|part| cluster.name_on(&FOUR, 3, part));
    let mut last = [0; 3];
    let mut grows = |i: usize, token: u64| {
        assert!(token > last[i], "{}: {token} after {}", names[i], last[i]);
        last[i] = token;
    };
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    for i in [0, 1, 2, 2, 2, 2, 2, 2, 1, 2] {
        grows(i, token(&one, &names[i]).await);
    }
    let two = connect(cluster.change(2, &FOUR, &THREE, OPTIONS)).await;
    // From an earlier life of the name: the new server has counted beyond the old one.
    let name: String = names[0].bytes().map(|byte| format!("{byte:02x}")).collect();
    let insert =
        format!("INSERT INTO {}.keyward_fence VALUES (X'{name}', 1000)", cluster.database());
    cluster.servers[3].query(&insert).await;
    for i in [0, 0, 2, 2] {
        grows(i, token(&two, &names[i]).await);
        grows(i, token(&one, &names[i]).await);
        grows(i, token(&two, &names[i]).await);
    }
    // One that generation 2 never saw, and that goes on until the last moment.
    for _ in 0..20 {
        grows(1, token(&one, &names[1]).await);
    }
    let three = connect(cluster.url(3, &FOUR, OPTIONS)).await;
    for i in [0, 1, 2, 2] {
        grows(i, token(&three, &names[i]).await);
        grows(i, token(&two, &names[i]).await);
        grows(i, token(&three, &names[i]).await);
    }
    println!("{last:?}");
}

/// What it has counted died with it.
#[tokio::test]
async fn they_grow_beyond_those_of_a_server_that_is_gone() {
    let cluster = Cluster::own(3).await;
    let name = cluster.name_on(&THREE, 2, "gone");
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let mut last = 0;
    for _ in 0..50 {
        last = token(&one, &name).await;
    }
    drop(one);
    cluster.servers[2].kill();
    let gone = format!("{OPTIONS}&gone={}", cluster.list(&[2]));
    let two = connect(cluster.change(2, &[0, 1], &THREE, &gone)).await;
    let next = token(&two, &name).await;
    println!("{next} after {last}");
    assert!(next > last, "{next} after {last}");
    let three = connect(cluster.url(3, &[0, 1], OPTIONS)).await;
    assert!(token(&three, &name).await > next);
}

/// Nor does anybody know what a server had counted that has lost its tables.
#[tokio::test]
async fn they_grow_beyond_those_of_a_server_that_has_lost_all() {
    let cluster = Cluster::shared().await;
    let name = cluster.name_on(&THREE, 2, "lost");
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let mut last = 0;
    for _ in 0..50 {
        last = token(&one, &name).await;
    }
    drop(one);
    let database = cluster.database();
    let forget = format!("DROP TABLE {database}.keyward_shards, {database}.keyward_fence");
    cluster.servers[2].query(&forget).await;
    let next = token(&connect(cluster.url(1, &THREE, OPTIONS)).await, &name).await;
    println!("{next} after {last}");
    assert!(next > last, "{next} after {last}");
}
