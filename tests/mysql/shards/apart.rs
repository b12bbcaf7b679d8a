//! Each name has its servers, and a server that dies takes its own names along and no others.

use std::time::Duration;

use keyward::{ErrorKind, LeaseState, Released};

use super::cluster::{Cluster, connect, refused};
use crate::clients::SOON;

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn names_are_held_at_home_and_nowhere_else() {
    let cluster = Cluster::shared().await;
    let locks = connect(cluster.url(1, &ALL, "")).await;
    let names: Vec<_> = (0..60).map(|i| cluster.name(i)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let leases = locks.lock_all(names.clone()).await.unwrap();
    let mut counts = [0; 3];
    for name in &names {
        let home = cluster.home(&ALL, name);
        assert_eq!(cluster.held_on(name).await, [home], "{name}");
        assert!(locks.inspect(*name).await.unwrap().is_held());
        counts[home] += 1;
    }
    println!("60 names: {counts:?}");
    assert!(counts.iter().all(|&count| count > 5));
    assert_eq!(locks.try_lock_named(names[0]).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    let others = connect(cluster.url(1, &[2, 0, 1], "")).await;
    let error = others.try_lock_named(names[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "the order of the servers means nothing");
    leases.ensure_held().await.unwrap();
    assert_eq!(leases.release().await.unwrap(), Released::Released);
    cluster.until_clean(&names).await;
    assert!(!locks.inspect(names[0]).await.unwrap().is_held());
    // With capitals, which the server is not told as they stand.
    let odd = locks.lock_named(cluster.name("ODD name")).await.unwrap();
    assert_eq!(odd.release().await.unwrap(), Released::Released);
    assert_eq!(locks.capability().warnings, Vec::<String>::new());
    locks.close().await;
    others.close().await;
    cluster.until_closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_costs_its_names_and_no_others() {
    let cluster = Cluster::own(3).await;
    let options = "&ttl=6&heartbeat=250ms&connect_timeout=1";
    // The first generation is begun by somebody who reaches all of them.
    cluster.servers[1].kill();
    let error = refused(cluster.url(1, &ALL, options)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&cluster.place(1)), "{error}");
    cluster.servers[1].restart();

    let locks = connect(cluster.url(1, &ALL, options)).await;
    let names = ALL.map(|server| cluster.name_on(&ALL, server, "dead"));
    let mut leases = Vec::new();
    for name in &names {
        leases.push(locks.lock_named(name.as_str()).await.unwrap());
    }
    cluster.servers[1].kill();
    let reason = tokio::time::timeout(SOON, leases[1].lost()).await.expect("it is told");
    println!("lost: {reason}");
    for _ in 0..4 {
        for i in [0, 2] {
            assert_eq!(leases[i].state(), LeaseState::Held);
            leases[i].ensure_held().await.unwrap();
        }
        let error = locks.try_lock_named(cluster.name_on(&ALL, 1, "new")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&cluster.place(1)), "{error}");
        let fresh = cluster.name_on(&ALL, 2, "new");
        drop(locks.lock_named(fresh).await.unwrap());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(leases.remove(1).release().await.unwrap(), Released::WasLost);

    // Who connects meanwhile has the others.
    let late = connect(cluster.url(1, &ALL, options)).await;
    let warnings = late.capability().warnings;
    assert!(warnings.iter().any(|warning| warning.contains(&cluster.place(1))), "{warnings:?}");
    assert_eq!(late.try_lock_named(&*names[0]).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    let error = late.lock_named(&*names[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&cluster.place(1)), "{error}");
    assert_eq!(late.inspect(&*names[1]).await.unwrap_err().kind(), ErrorKind::Unavailable);

    cluster.servers[1].restart();
    let lease = locks.lock_named(&*names[1]).timeout(SOON).await.unwrap();
    let error = late.try_lock_named(&*names[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(late.capability().warnings, Vec::<String>::new());
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    for lease in leases {
        lease.ensure_held().await.unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
    let all = late.lock_all(names.iter().map(String::as_str)).timeout(SOON).await.unwrap();
    all.ensure_held().await.unwrap();
    assert_eq!(all.release().await.unwrap(), Released::Released);
    locks.close().await;
    late.close().await;
    cluster.until_closed().await;
}

/// Several names at once, of which one cannot be had: none is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_names_with_one_on_a_dead_server_leave_nothing() {
    let cluster = Cluster::own(3).await;
    let options = "&ttl=6&heartbeat=250ms&connect_timeout=1";
    let early = connect(cluster.url(1, &ALL, options)).await;
    cluster.servers[1].kill();
    let late = connect(cluster.url(1, &ALL, options)).await;
    let names: Vec<_> = (0..12).map(|i| cluster.name(i)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert!(ALL.iter().all(|server| names.iter().any(|name| cluster.home(&ALL, name) == *server)));
    for locks in [&early, &late] {
        let error = locks.lock_all(names.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        cluster.until_clean(&names).await;
        for name in names.iter().filter(|name| cluster.home(&ALL, name) != 1) {
            drop(locks.lock_named(*name).timeout(SOON).await.unwrap());
        }
        let some = names.iter().copied().filter(|name| cluster.home(&ALL, name) != 1);
        let leases = locks.lock_all(some).timeout(SOON).await.unwrap();
        leases.ensure_held().await.unwrap();
        assert_eq!(leases.release().await.unwrap(), Released::Released);
    }
}

/// A server that comes later is looked at as at the beginning.
#[tokio::test]
async fn a_server_that_has_lost_its_table_gets_it_back() {
    let cluster = Cluster::shared().await;
    drop(connect(cluster.url(1, &ALL, "")).await);
    let drop_table = format!("DROP TABLE {}.keyward_shards", cluster.database());
    cluster.servers[1].query(&drop_table).await;
    let without = cluster.url(1, &ALL, "").replace("&shards=create-table", "");
    let locks = connect(&without).await;
    let name = cluster.name_on(&ALL, 1, "again");
    let error = locks.lock_named(&*name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    let statement = text.split_once("or CREATE").map(|(_, rest)| format!("CREATE{rest}"));
    let statement = statement.unwrap_or_else(|| panic!("no statement: {text}"));
    // As the message has it, up to what is about the lock.
    let statement = statement.split(" (lock").next().unwrap();
    let statement = statement.replace("EXISTS ", &format!("EXISTS {}.", cluster.database()));
    cluster.servers[1].query(&statement).await;
    let lease = locks.lock_named(&*name).await.unwrap();
    assert_eq!(cluster.held_on(&name).await, [1]);
    assert_eq!(cluster.row(1, "generation").await.as_deref(), Some("1"));
    assert_eq!(cluster.row(1, "layout").await, cluster.row(0, "layout").await);
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    // From under sessions that are there, it ends them: they can vouch for nothing.
    let lease = locks.lock_named(&*name).await.unwrap();
    cluster.servers[1].query(&drop_table).await;
    let error = lease.ensure_held().await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    drop(lease);
    assert_eq!(locks.lock_named(&*name).await.unwrap_err().kind(), ErrorKind::Unsupported);
    drop(locks.lock_named(cluster.name_on(&ALL, 0, "other")).await.unwrap());
}

#[tokio::test]
async fn without_the_table_nobody_begins() {
    let cluster = Cluster::shared().await;
    let url = cluster.url(1, &ALL, "").replace("&shards=create-table", "");
    let error = refused(url).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("CREATE TABLE IF NOT EXISTS keyward_shards"), "{error}");
    // By the default the tokens are of another kind.
    let error = refused(cluster.url(1, &ALL, "&fencing=uuid_short")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    let locks = connect(cluster.url(1, &[0, 1], "&fencing=off")).await;
    let lease = locks.lock_named(cluster.name("untold")).await.unwrap();
    assert_eq!(lease.fencing_token(), None);
}
