//! Processes that do not agree on the servers do not work side by side.

use keyward::{ErrorKind, Released};

use super::cluster::{Cluster, connect, refused};
use crate::server::{Kind, Server};

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

/// What MariaDB calls itself is made of the machine and the port, of which these have the same.
#[tokio::test]
async fn two_servers_that_call_themselves_the_same_are_two() {
    let start = || Server::start_without_network(Kind::mariadb());
    let servers = [(); 2].map(|()| tokio::task::spawn_blocking(start));
    let mut names = Vec::new();
    let mut list = Vec::new();
    let mut running = Vec::new();
    for server in servers {
        let server = server.await.unwrap();
        server.query("CREATE DATABASE d").await;
        names.push(server.scalar::<String>("SELECT CONCAT(@@server_uid, @@port)").await.unwrap());
        list.push(server.socket().display().to_string().replace('/', "%2F"));
        running.push(server);
    }
    assert_eq!(names[0], names[1]);
    let list = list.join(",");
    let url =
        format!("mysql://root@{list}/d?generation=1&shards=create-table&fencing=create-table");
    let locks = connect(&url).await;
    assert_eq!(locks.capability().warnings, Vec::<String>::new());
    let leases = locks.lock_all((0..20).map(|i| format!("n{i}"))).await.unwrap();
    leases.ensure_held().await.unwrap();
    assert_eq!(leases.release().await.unwrap(), Released::Released);
    locks.close().await;
}

/// Under a new address a server is another one, and never two at once: out with the old one, in with the new.
#[tokio::test]
async fn an_address_is_changed_in_four_steps() {
    let cluster = Cluster::shared().await;
    let [first, second] = [cluster.list(&[0]), cluster.list(&[1])];
    let renamed = format!("127.0.0.1:{}", cluster.servers[0].port());
    let options = "&ttl=3&heartbeat=250ms";
    let url = |generation, members: &[&str], previous: &[&str]| {
        let previous = match previous {
            [] => String::new(),
            servers => format!("&previous={}", servers.join(",")),
        };
        cluster.url_over(generation, &members.join(","), &format!("{options}{previous}"))
    };
    let name = cluster.name_on(&[0, 1], 0, "renamed");
    let mut last = 0;
    drop(connect(url(1, &[&first, &second], &[])).await);
    is_refused(url(2, &[&renamed, &second], &[&first, &second]), "the same server").await;
    for url in [
        url(2, &[&second], &[&first, &second]),
        url(3, &[&second], &[]),
        url(4, &[&renamed, &second], &[&second]),
        url(5, &[&renamed, &second], &[]),
    ] {
        let locks = connect(&url).await;
        let lease = locks.lock_named(&*name).timeout(crate::clients::SOON).await.unwrap();
        let token = lease.fencing_token().unwrap().get();
        assert!(token > last, "{url}: {token} after {last}");
        last = token;
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
}

/// Nothing that is said of several servers has the password in it, whichever of them it is about.
#[tokio::test]
async fn no_password_is_shown_of_any_server() {
    const PASSWORD: &str = "hunter2";
    let cluster = Cluster::own(2).await;
    let hosts = [0, 1].map(|server| format!("127.0.0.1:{}", cluster.servers[server].port()));
    let user = cluster.database();
    // On one of them only.
    cluster.servers[0].create_user(user, PASSWORD).await;
    cluster.servers[0].query(&format!("GRANT ALL ON {user}.* TO {user}")).await;
    let hosts = hosts.join(",");
    let query = "generation=1&shards=create-table&fencing=off&connect_timeout=2";
    let mut said = Vec::new();
    for url in [
        format!("mysql://{user}:{PASSWORD}@{hosts}/{user}?{query}"),
        format!("mysql://{user}:{PASSWORD}@{hosts},x:y/{user}?{query}"),
        format!("mysql://{user}:{PASSWORD}@{hosts},{user}:{PASSWORD}@h/{user}?{query}"),
        format!("mysql://{user}@{hosts}/{user}?{query}&previous={user}:{PASSWORD}@h"),
        format!("mysql://{user}@{hosts}/{user}?{query}&gone={PASSWORD}@h"),
    ] {
        let error = refused(&url).await;
        said.push(format!("{error} {error:?}"));
    }
    let options = keyward::mysql::MySqlOptions::new()
        .user(user)
        .password(PASSWORD)
        .database(user)
        .fencing(keyward::Fencing::Off)
        .generation(1);
    for servers in [hosts.clone(), format!("{user}:{PASSWORD}@h"), format!("{PASSWORD}@h")] {
        let options = options.clone().servers(servers.split(','));
        let error = options.connect().await.unwrap_err();
        said.push(format!("{error} {error:?}"));
    }
    for said in said {
        println!("{said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[tokio::test]
async fn numbers_of_generations() {
    let cluster = Cluster::shared().await;
    for bad in ["0", "-1", "18446744073709551616", "1.5", "", "x"] {
        let url =
            cluster.url(1, &[0, 1], "").replace("generation=1&", &format!("generation={bad}&"));
        assert_eq!(refused(&url).await.kind(), ErrorKind::InvalidUrl, "{bad:?}");
    }
    drop(connect(cluster.url(1, &[0, 1], "&ttl=3")).await);
    let most = connect(cluster.url(u64::MAX, &[0, 1], "&ttl=3")).await;
    let lease = most.lock_named(cluster.name("last")).timeout(crate::clients::SOON).await.unwrap();
    lease.ensure_held().await.unwrap();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    let most = u64::MAX.to_string();
    assert_eq!(cluster.row(0, "generation").await.as_deref(), Some(&*most));
    drop(connect(cluster.url(u64::MAX - 1, &[0, 1], "&ttl=3")).await);
    is_refused(cluster.url(u64::MAX - 2, &[0, 1], ""), &format!("peers use generation {most}"))
        .await;
}
