//! A generation begins: what those before the last one hold is lost before it grants anything.

use std::{future::IntoFuture, time::Duration};

use keyward::{ErrorKind, Lease, LeaseState, Locks, LossReason, Released};
use tokio::time::Instant;

use super::cluster::{Cluster, connect, refused};
use crate::{
    clients::SOON,
    proxy::{Proxy, Target},
};

const THREE: [usize; 3] = [0, 1, 2];
const FOUR: [usize; 4] = [0, 1, 2, 3];
const OPTIONS: &str = "&ttl=4&heartbeat=250ms&connect_timeout=2";

at_once! { generations_begin:
    a_holder_is_told_before_the_next_but_one_holds
    a_holder_that_is_cut_off_has_ended_before_the_next_but_one_holds
    a_holder_that_is_cut_off_later_has_ended_as_well
    a_waiter_of_an_old_generation_is_granted_nothing
    a_beginning_that_broke_off_is_brought_to_its_end
    a_list_that_was_left_behind_is_over
    a_generation_may_be_left_out
    who_comes_between_waits_as_well
    a_server_that_is_gone_has_to_be_named
    a_server_that_dies_while_it_is_waited_costs_its_names_only
    closing_does_not_wait_for_a_generation
    a_row_that_was_set_back_is_told_again
    a_server_that_is_read_only_cannot_be_told
}

/// A name that moves to the new server.
fn moving(cluster: &Cluster) -> String {
    cluster.find("moving", |name| cluster.home(&FOUR, name) == 3)
}

/// When a lease is lost, and why.
fn watch(lease: &Lease) -> tokio::task::JoinHandle<(Instant, LossReason)> {
    let lost = lease.lost();
    tokio::spawn(async move {
        let reason = tokio::time::timeout(SOON, lost).await.expect("it is told");
        (Instant::now(), reason)
    })
}

/// Generation 3 locks the name, which a lease of generation 1 still has.
async fn follow(cluster: &Cluster, name: &str, lease: Lease) -> (Locks, LossReason) {
    let lost = watch(&lease);
    let begun = Instant::now();
    let three = connect(cluster.url(3, &FOUR, OPTIONS)).await;
    let error = three.try_lock_named(name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "not before the others are out: {error}");
    assert!(three.capability().warnings.iter().any(|warning| warning.contains("generation 3")));
    let next = three.lock_named(name).timeout(SOON).await.unwrap();
    let granted = Instant::now();
    let (lost_at, reason) = lost.await.unwrap();
    assert!(lost_at < granted, "told {:?} after it was granted", lost_at - granted);
    println!("told after {:?} ({reason}), granted after {:?}", lost_at - begun, granted - begun);
    // The largest ttl of those who may not know of it.
    assert!(granted - begun >= Duration::from_secs(4), "granted after {:?}", granted - begun);
    let error = lease.ensure_held().await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_eq!(lease.release().await.unwrap(), Released::WasLost);
    assert_eq!(next.state(), LeaseState::Held);
    assert_eq!(cluster.held_on(name).await, [3]);
    assert_eq!(next.release().await.unwrap(), Released::Released);
    (three, reason)
}

async fn a_holder_is_told_before_the_next_but_one_holds() {
    let cluster = Cluster::shared().await;
    let name = moving(&cluster);
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let lease = one.lock_named(&*name).await.unwrap();
    let two = connect(cluster.change(2, &FOUR, &THREE, OPTIONS)).await;
    assert_eq!(two.try_lock_named(&*name).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    let (three, reason) = follow(&cluster, &name, lease).await;
    assert_eq!(reason, LossReason::Superseded);
    let error = one.lock_named(&*name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("peers use generation 3"), "{error}");
    // The neighbour goes on, on both servers.
    let both = two.lock_named(&*name).await.unwrap();
    let mut homes = vec![cluster.home(&THREE, &name), 3];
    homes.sort_unstable();
    assert_eq!(cluster.held_on(&name).await, homes);
    assert_eq!(three.try_lock_named(&*name).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(both.release().await.unwrap(), Released::Released);
    // What is settled is not waited for again.
    let begun = Instant::now();
    let again = connect(cluster.url(3, &FOUR, OPTIONS)).await;
    drop(again.lock_named(&*name).await.unwrap());
    assert!(cluster.row(0, "telling").await.is_some_and(|telling| telling.is_empty()));
    println!("the next process of it after {:?}", begun.elapsed());
}

/// Its heartbeats do not arrive: it learns nothing, and ends by its own clock.
async fn a_holder_that_is_cut_off_has_ended_before_the_next_but_one_holds() {
    cut_off(Duration::ZERO).await;
}

/// Its other questions are answered for a while, as far as its next heartbeat: they prove nothing.
async fn a_holder_that_is_cut_off_later_has_ended_as_well() {
    cut_off(Duration::from_millis(1_200)).await;
}

/// Of servers behind networks.
fn addresses(proxies: &[Proxy], servers: &[usize]) -> String {
    let places = servers.iter().map(|&server| format!("127.0.0.1:{}", proxies[server].port()));
    places.collect::<Vec<_>>().join(",")
}

fn cut(proxies: &[Proxy], marks: &[u64]) {
    marks.iter().zip(proxies).for_each(|(mark, proxy)| proxy.silence_older(*mark));
}

/// A holder is cut off so long after the next generation but one has begun.
async fn cut_off(later: Duration) {
    let cluster = Cluster::shared().await;
    let proxies: Vec<_> =
        cluster.servers.iter().map(|server| Proxy::start(Target::Port(server.port()))).collect();
    let [few, all] = [&THREE[..], &FOUR].map(|servers| addresses(&proxies, servers));
    let options = OPTIONS.replace("250ms", "2");
    drop(connect(cluster.url_over(1, &few, &options)).await);
    let before = format!("{options}&previous={}", few);
    let two = connect(cluster.url_over(2, &all, &before)).await;
    // One that is held by generation 2 on two servers, and in the end on the new one; and its neighbours.
    let (mut homes, mut moving) = (Vec::new(), None);
    for i in 0..100 {
        let name = cluster.name(i);
        let lease = two.lock_named(&*name).await.unwrap();
        let held = cluster.held_on(&name).await;
        drop(lease);
        if held.len() == 2 {
            assert_eq!(held[1], 3, "{name} moves between two that stay");
            moving = Some((name.clone(), held[0]));
        }
        homes.push((name, held));
    }
    let (name, home) = moving.expect("one of so many");
    let beside = homes.iter().find(|(_, held)| *held == [home]).expect("one of so many").0.clone();
    drop(two);
    cluster.until_clean(&[&name, &beside]).await;
    // Its heartbeats are 2 s from now.
    let one = connect(cluster.url_over(1, &few, &options)).await;
    let marks: Vec<_> = proxies.iter().map(Proxy::mark).collect();
    let lease = one.lock_named(&*name).await.unwrap();
    let lost = watch(&lease);
    let begun = Instant::now();
    if later.is_zero() {
        cut(&proxies, &marks);
    }
    let three = connect(cluster.url_over(3, &all, &options)).await;
    let told = Instant::now();
    let waiting = tokio::spawn(three.lock_named(&*name).timeout(SOON).into_future());
    let mut questions = 0;
    while begun.elapsed() < later {
        // On a machine that is so busy that a heartbeat comes before, it is told.
        if one.lock_named(&*beside).await.is_err() {
            break;
        }
        questions += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut(&proxies, &marks);
    let next = waiting.await.unwrap().unwrap();
    let granted = Instant::now();
    let (lost_at, reason) = lost.await.unwrap();
    println!(
        "told after {:?}, cut off after {later:?} and {questions} questions, lost after {:?} ({reason}), \
         granted after {:?}",
        told - begun,
        lost_at - begun,
        granted - begun
    );
    assert!(lost_at < granted, "told {:?} after it was granted", lost_at - granted);
    assert!(matches!(reason, LossReason::Expired | LossReason::Superseded), "{reason}");
    assert_eq!(next.release().await.unwrap(), Released::Released);
}

/// Who stands in a server's queue is granted the lock by a server that knows of no generations.
async fn a_waiter_of_an_old_generation_is_granted_nothing() {
    let cluster = Cluster::shared().await;
    let name = moving(&cluster);
    let home = cluster.home(&THREE, &name);
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let mut outsider = cluster.outsider(home).await;
    outsider.take(&name).await;
    let waiting = tokio::spawn(one.lock_named(&*name).into_future());
    let server = &cluster.servers[home];
    let queued = async {
        while server.waiters(name.as_bytes()).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, queued).await.expect("it waits");
    drop(connect(cluster.change(2, &FOUR, &THREE, OPTIONS)).await);
    let three = connect(cluster.url(3, &FOUR, OPTIONS)).await;
    let lease = three.lock_named(&*name).timeout(SOON).await.unwrap();
    assert_eq!(server.waiters(name.as_bytes()).await, 1, "it still stands there");
    outsider.free(&name).await;
    let error = tokio::time::timeout(SOON, waiting).await.expect("an end").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("peers use generation 3"), "{error}");
    assert_eq!(lease.state(), LeaseState::Held);
    drop(lease);
    cluster.until_clean(&[&name]).await;
}

/// Who begins a generation dies when one server has been told, and its row has forgotten who was there.
async fn a_beginning_that_broke_off_is_brought_to_its_end() {
    let cluster = Cluster::shared().await;
    let (before, after) = ([1, 2], [0, 1]);
    let one = connect(cluster.url(1, &before, OPTIONS)).await;
    let name = cluster
        .find("broken", |name| cluster.home(&before, name) == 2 && cluster.home(&after, name) == 0);
    let lease = one.lock_named(&*name).await.unwrap();
    let text = format!("{},{}", cluster.place(0), cluster.place(1));
    let mut places: Vec<_> = [0, 1].map(|server| cluster.place(server)).into();
    places.sort();
    let layout = places.join(",");
    let telling = format!("{text},{}", cluster.place(2));
    let update = format!(
        "UPDATE {}.keyward_shards SET generation = 3, layout = '{layout}', telling = '{telling}'",
        cluster.database()
    );
    cluster.servers[1].query(&update).await;
    let lost = watch(&lease);
    let three = connect(cluster.url(3, &after, OPTIONS)).await;
    assert_eq!(cluster.row(2, "generation").await.as_deref(), Some("3"), "it is told");
    let next = three.lock_named(&*name).timeout(SOON).await.unwrap();
    let granted = Instant::now();
    let (lost_at, reason) = lost.await.unwrap();
    assert!(lost_at < granted);
    assert_eq!(reason, LossReason::Superseded);
    assert_eq!(cluster.held_on(&name).await, [0]);
    assert_eq!(next.release().await.unwrap(), Released::Released);
    for server in [0, 1, 2] {
        assert_eq!(cluster.row(server, "telling").await.as_deref(), Some(""));
    }
}

/// Who has settled a generation dies before he has come to all rows; a server that is still listed there has
/// left since, and nobody misses it.
async fn a_list_that_was_left_behind_is_over() {
    let cluster = Cluster::own(3).await;
    drop(connect(cluster.url(1, &THREE, OPTIONS)).await);
    drop(connect(cluster.change(2, &[0, 1], &THREE, OPTIONS)).await);
    let three = connect(cluster.url(3, &[0, 1], OPTIONS)).await;
    let name = cluster.name("left");
    drop(three.lock_named(&*name).timeout(SOON).await.unwrap());
    let list = THREE.map(|server| cluster.place(server)).join(",");
    let update = format!("UPDATE {}.keyward_shards SET telling = '{list}'", cluster.database());
    cluster.servers[1].query(&update).await;
    cluster.servers[2].kill();
    let four = connect(cluster.url(4, &[0, 1], OPTIONS)).await;
    drop(four.lock_named(&*name).timeout(SOON).await.unwrap());
    assert_eq!(cluster.row(1, "generation").await.as_deref(), Some("4"));
}

/// Two generations on at once: everybody before is out.
async fn a_generation_may_be_left_out() {
    let cluster = Cluster::shared().await;
    let one = connect(cluster.url(1, &[0, 1], OPTIONS)).await;
    let name = cluster
        .find("jump", |name| cluster.home(&[0, 1], name) == 0 && cluster.home(&[1, 2], name) == 2);
    let lease = one.lock_named(&*name).await.unwrap();
    let lost = watch(&lease);
    let three = connect(cluster.url(3, &[1, 2], OPTIONS)).await;
    let next = three.lock_named(&*name).timeout(SOON).await.unwrap();
    let granted = Instant::now();
    let (lost_at, _) = lost.await.unwrap();
    assert!(lost_at < granted);
    assert_eq!(next.release().await.unwrap(), Released::Released);
    // The one between them has to fit both.
    let error = refused(cluster.change(2, &[0, 2], &[0, 1], OPTIONS)).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    drop(connect(cluster.change(2, &[1, 2], &[0, 1], OPTIONS)).await);
}

/// Where the next generation has begun and is not settled, who comes to ours cannot know what was before.
async fn who_comes_between_waits_as_well() {
    let cluster = Cluster::shared().await;
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let name = moving(&cluster);
    let lease = one.lock_named(&*name).await.unwrap();
    let lost = watch(&lease);
    let three = connect(cluster.url(3, &FOUR, OPTIONS)).await;
    // The one between would not have met generation 1 on its servers.
    let two = connect(cluster.url(2, &FOUR, OPTIONS)).await;
    let error = two.try_lock_named(&*name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let next = two.lock_named(&*name).timeout(SOON).await.unwrap();
    let granted = Instant::now();
    let (lost_at, _) = lost.await.unwrap();
    assert!(lost_at < granted, "told {:?} after it was granted", lost_at - granted);
    assert_eq!(next.release().await.unwrap(), Released::Released);
    drop(three.lock_named(&*name).timeout(SOON).await.unwrap());
}

/// A server that is dead for good cannot be told; that it is so has to be said.
async fn a_server_that_is_gone_has_to_be_named() {
    let cluster = Cluster::own(3).await;
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let stays = cluster
        .find("stays", |name| cluster.home(&THREE, name) == 0 && cluster.home(&[0, 1], name) == 0);
    let moves = cluster.name_on(&THREE, 2, "moves");
    let lease = one.lock_named(&*stays).await.unwrap();
    cluster.servers[2].kill();
    let error = refused(cluster.change(2, &[0, 1], &THREE, OPTIONS)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&cluster.place(2)), "{error}");
    assert_eq!(lease.state(), LeaseState::Held);
    let gone = format!("{OPTIONS}&gone={}", cluster.list(&[2]));
    let two = connect(cluster.change(2, &[0, 1], &THREE, &gone)).await;
    // Whoever has held something there may not have noticed that it is gone.
    let error = two.try_lock_named(&*moves).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let moved = two.lock_named(&*moves).timeout(SOON).await.unwrap();
    assert_eq!(two.capability().warnings, Vec::<String>::new());
    assert_eq!(two.try_lock_named(&*stays).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(cluster.held_on(&moves).await, [cluster.home(&[0, 1], &moves)]);
    assert_eq!(one.try_lock_named(&*moves).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(moved.release().await.unwrap(), Released::Released);
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    // The rows of generation 2 say that it is gone, and nobody has to say so again.
    let three = connect(cluster.url(3, &[0, 1], OPTIONS)).await;
    let lease = three.lock_named(&*moves).timeout(SOON).await.unwrap();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
}

/// All have been told when it dies, and those that it has told are out in time.
async fn a_server_that_dies_while_it_is_waited_costs_its_names_only() {
    let cluster = Cluster::own(3).await;
    let one = connect(cluster.url(1, &THREE, OPTIONS)).await;
    let names = THREE.map(|server| cluster.name_on(&THREE, server, "dies"));
    let mut tokens = Vec::new();
    for name in &names {
        let lease = one.lock_named(&**name).await.unwrap();
        tokens.push(lease.fencing_token().unwrap());
        drop(lease);
    }
    drop(one);
    let three = connect(cluster.url(3, &THREE, OPTIONS)).await;
    assert!(three.capability().warnings.iter().any(|warning| warning.contains("generation 3")));
    cluster.servers[1].kill();
    for i in [0, 2] {
        let lease = three.lock_named(&*names[i]).timeout(SOON).await.unwrap();
        assert!(lease.fencing_token().unwrap() > tokens[i]);
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
    let error = three.lock_named(&*names[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // Who comes now need not wait, nor when it is back.
    for server in [0, 1] {
        let again = connect(cluster.url(3, &THREE, OPTIONS)).await;
        drop(again.try_lock_named(&*names[server]).await.unwrap());
        if server == 0 {
            cluster.servers[1].restart();
        }
    }
    let lease = three.lock_named(&*names[1]).timeout(SOON).await.unwrap();
    assert!(lease.fencing_token().unwrap() > tokens[1]);
    assert_eq!(lease.release().await.unwrap(), Released::Released);
}

async fn closing_does_not_wait_for_a_generation() {
    let cluster = Cluster::shared().await;
    drop(connect(cluster.url(1, &THREE, "&ttl=600")).await);
    let three = connect(cluster.url(3, &THREE, OPTIONS)).await;
    let waiting = tokio::spawn(three.lock_named(cluster.name("never")).into_future());
    let dropped = tokio::time::timeout(
        Duration::from_millis(100),
        three.lock_named(cluster.name("dropped")).into_future(),
    );
    assert!(dropped.await.is_err(), "it waits for ten minutes");
    waiting.abort();
    assert!(waiting.await.is_err());
    tokio::time::timeout(SOON, three.close()).await.expect("it closes");
    cluster.until_closed().await;
    // Nor does one that is dropped go on.
    drop(connect(cluster.url(3, &THREE, OPTIONS)).await);
    cluster.until_closed().await;
    assert!(cluster.row(0, "telling").await.is_some_and(|telling| !telling.is_empty()));
}

/// A server's table comes back from a backup, with the generation of that time.
async fn a_row_that_was_set_back_is_told_again() {
    let cluster = Cluster::shared().await;
    let table = format!("{}.keyward_shards", cluster.database());
    drop(connect(cluster.url(1, &THREE, OPTIONS)).await);
    let backup = format!("CREATE TABLE {}.old AS SELECT * FROM {table}", cluster.database());
    cluster.servers[0].query(&backup).await;
    let three = connect(cluster.url(3, &THREE, OPTIONS)).await;
    let name = cluster.name_on(&THREE, 0, "back");
    let lease = three.lock_named(&*name).timeout(SOON).await.unwrap();
    let back = format!("REPLACE INTO {table} SELECT * FROM {}.old", cluster.database());
    cluster.servers[0].query(&back).await;
    let reason = tokio::time::timeout(SOON, lease.lost()).await.expect("it is told");
    assert_eq!(reason, LossReason::Closed);
    drop(lease);
    let error = three.lock_named(&*name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // One of generation 1 finds what others say, and is refused.
    assert_eq!(refused(cluster.url(1, &THREE, OPTIONS)).await.kind(), ErrorKind::Unsupported);
    let again = connect(cluster.url(3, &THREE, OPTIONS)).await;
    assert_eq!(cluster.row(0, "generation").await.as_deref(), Some("3"));
    drop(again.lock_named(&*name).timeout(SOON).await.unwrap());
    drop(three.lock_named(&*name).timeout(SOON).await.unwrap());
}

async fn a_server_that_is_read_only_cannot_be_told() {
    let cluster = Cluster::own(2).await;
    drop(connect(cluster.url(1, &[0, 1], OPTIONS)).await);
    cluster.servers[1].query("SET GLOBAL read_only = 1").await;
    let one = connect(cluster.url(1, &[0, 1], OPTIONS)).await;
    let warnings = one.capability().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("read-only")), "{warnings:?}");
    drop(one.lock_named(cluster.name_on(&[0, 1], 0, "other")).await.unwrap());
    let name = cluster.name_on(&[0, 1], 1, "read-only");
    let error = one.lock_named(&*name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = refused(cluster.change(2, &[0], &[0, 1], OPTIONS)).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(&cluster.place(1)), "{error}");
    assert_eq!(cluster.row(0, "generation").await.as_deref(), Some("1"), "nobody is told of it");
    cluster.servers[1].query("SET GLOBAL read_only = 0").await;
    drop(one.lock_named(&*name).await.unwrap());
    drop(connect(cluster.change(2, &[0], &[0, 1], OPTIONS)).await);
}
