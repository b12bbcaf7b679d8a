//! Processes that do not agree on the servers do not work side by side.

use keyward::{ErrorKind, Released};

use super::cluster::{Cluster, connect, refused};

const THREE: [usize; 3] = [0, 1, 2];
const FOUR: [usize; 4] = [0, 1, 2, 3];

async fn is_refused(url: String, says: &str) {
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{url}: {error}");
    assert!(error.to_string().contains(says), "{url}: {error}");
}

#[tokio::test]
async fn one_generation_has_one_layout() {
    for [first, second] in [[&THREE[..], &FOUR[..]], [&FOUR[..], &THREE[..]]] {
        let cluster = Cluster::shared().await;
        let locks = connect(cluster.url(1, first, "")).await;
        is_refused(cluster.url(1, second, ""), "peers disagree").await;
        is_refused(cluster.change(1, first, second, ""), "peers disagree").await;
        // Who was there first is not held up by that.
        let lease = locks.lock_named(cluster.name("held")).await.unwrap();
        lease.ensure_held().await.unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
}

#[tokio::test]
async fn neighbours_that_do_not_fit_are_refused_from_either_side() {
    let cluster = Cluster::shared().await;
    let one = connect(cluster.url(1, &THREE, "")).await;
    // A change that does not say what was before.
    is_refused(cluster.url(2, &FOUR, ""), "peers disagree").await;
    is_refused(cluster.change(2, &FOUR, &[0, 1], ""), "peers disagree").await;
    assert_eq!(cluster.row(0, "generation").await.as_deref(), Some("1"), "nobody is told of it");
    let two = connect(cluster.change(2, &FOUR, &THREE, "")).await;
    // And from the other side: an earlier one that is not the one before.
    is_refused(cluster.url(1, &[0, 1], ""), "peers disagree").await;
    let again = connect(cluster.url(1, &THREE, "")).await;
    let name = cluster.name("both");
    let lease = two.lock_named(&*name).await.unwrap();
    for locks in [&one, &again] {
        assert_eq!(locks.try_lock_named(&*name).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    let lease = again.lock_named(&*name).await.unwrap();
    assert_eq!(two.try_lock_named(&*name).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lease);
}

#[tokio::test]
async fn who_is_two_generations_behind_is_refused() {
    let cluster = Cluster::shared().await;
    // The first one is generation 1, and nobody knows whom a later one would have to tell.
    is_refused(cluster.url(3, &THREE, ""), "the first one is 1").await;
    drop(connect(cluster.url(1, &THREE, "")).await);
    drop(connect(cluster.change(2, &FOUR, &THREE, "")).await);
    drop(connect(cluster.url(3, &FOUR, "&ttl=3")).await);
    is_refused(cluster.url(1, &THREE, ""), "peers use generation 3").await;
    drop(connect(cluster.change(2, &FOUR, &THREE, "")).await);
}

/// Who has come from one server, and those who have not yet.
#[tokio::test]
async fn programs_with_one_server_and_the_first_generation_exclude_each_other() {
    let cluster = Cluster::shared().await;
    let url = format!("mysql://root@localhost/{}?socket={}", cluster.database(), cluster.place(0));
    let plain = connect(format!("{url}&fencing=create-table")).await;
    let one = connect(cluster.change(1, &THREE, &[0], "")).await;
    let mut token = 0;
    for server in THREE {
        let name = cluster.name_on(&THREE, server, "from-one");
        for [locks, others] in [[&plain, &one], [&one, &plain], [&plain, &one]] {
            let lease = locks.lock_named(&*name).await.unwrap();
            let error = others.try_lock_named(&*name).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let next = lease.fencing_token().unwrap().get();
            assert!(next > token, "{name}: {next} after {token}");
            token = next;
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
        token = 0;
    }
}

#[tokio::test]
async fn one_server_by_two_addresses_is_refused() {
    let cluster = Cluster::shared().await;
    let twice = format!("{},127.0.0.1:{}", cluster.list(&[0]), cluster.servers[0].port());
    is_refused(cluster.url_over(1, &twice, ""), "the same server").await;
}
