//! A name that is locked on two servers is one hold: lost with either, given back on both.

use std::{pin::pin, time::Duration};

use keyward::{Error, ErrorKind, Lease, LeaseState, LossReason, Released};
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::task::JoinHandle;

use super::cluster::{Cluster, connect};
use crate::{clients::SOON, server::hex};

const BEFORE: [usize; 2] = [0, 1];
const AFTER: [usize; 2] = [1, 2];
const OPTIONS: &str = "&ttl=6&heartbeat=250ms&connect_timeout=1";

/// A name on servers 0 and 2.
pub(super) fn moving(cluster: &Cluster, part: &str) -> String {
    cluster.find(part, |name| cluster.home(&BEFORE, name) == 0 && cluster.home(&AFTER, name) == 2)
}

/// The url of a generation in which names are locked twice, once the first one has begun.
pub(super) async fn changing(cluster: &Cluster, options: &str) -> String {
    drop(connect(cluster.url(1, &BEFORE, options)).await);
    cluster.change(2, &AFTER, &BEFORE, options)
}

#[tokio::test]
async fn it_is_lost_with_either() {
    let cluster = Cluster::shared().await;
    let locks = connect(changing(&cluster, OPTIONS).await).await;
    let name = moving(&cluster, "either");
    for server in [0, 2] {
        let lease = locks.lock_named(&*name).await.unwrap();
        assert_eq!(cluster.held_on(&name).await, [0, 2]);
        lease.ensure_held().await.unwrap();
        let server = &cluster.servers[server];
        let session = server.holder(name.as_bytes()).await.unwrap();
        server.kill_connection(session).await;
        let reason = tokio::time::timeout(SOON, lease.lost()).await.expect("it is told");
        assert_eq!(reason, LossReason::Closed);
        let error = lease.ensure_held().await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        assert_eq!(lease.release().await.unwrap(), Released::WasLost);
        cluster.until_clean(&[&name]).await;
    }
    // Looked at, it is held if it is on one of them.
    for server in [0, 2] {
        let mut outsider = cluster.outsider(server).await;
        outsider.take(&name).await;
        assert!(locks.inspect(&*name).await.unwrap().is_held());
        assert!(locks.try_lock_named(&*name).await.unwrap_err().is_would_block());
        let late = locks.lock_named(&*name).timeout(Duration::from_millis(300)).await.unwrap_err();
        assert!(late.is_timed_out(), "{late}");
        outsider.free(&name).await;
        cluster.until_clean(&[&name]).await;
    }
    locks.close().await;
    cluster.until_closed().await;
}

/// Doubt on one side is doubt, whatever the other one says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_in_doubt_with_either() {
    let cluster = Cluster::own(3).await;
    let locks =
        connect(changing(&cluster, "&ttl=15&heartbeat=500ms&connect_timeout=1").await).await;
    let name = moving(&cluster, "doubt");
    let lease = locks.lock_named(&*name).await.unwrap();
    let becomes = async |state| {
        let begun = std::time::Instant::now();
        while lease.state() != state {
            assert!(begun.elapsed() < SOON, "{:?}", lease.state());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for [one, other] in [[0, 2], [2, 0]] {
        cluster.servers[one].stop_signal();
        becomes(LeaseState::Suspended).await;
        // In doubt on the other one too, which then answers again.
        cluster.servers[other].stop_signal();
        tokio::time::sleep(Duration::from_millis(2_800)).await;
        cluster.servers[other].cont();
        for _ in 0..100 {
            assert_eq!(lease.state(), LeaseState::Suspended);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        cluster.servers[one].cont();
        becomes(LeaseState::Held).await;
    }
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    cluster.until_clean(&[&name]).await;
}

/// The server that a name is locked on first, and the other one.
fn halves(cluster: &Cluster) -> [usize; 2] {
    if cluster.place(0) < cluster.place(2) { [0, 2] } else { [2, 0] }
}

/// Who waits comes to hold it, on both.
async fn is_had(cluster: &Cluster, name: &str, waiting: JoinHandle<Result<Lease, Error>>) {
    let lease = tokio::time::timeout(SOON, waiting).await.expect("it").unwrap().unwrap();
    lease.ensure_held().await.unwrap();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    cluster.until_clean(&[name]).await;
}

/// A server that dies while the other one is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_outlives_the_loss_of_its_first_half() {
    let cluster = Cluster::shared().await;
    let locks = connect(changing(&cluster, OPTIONS).await).await;
    let name = moving(&cluster, "half");
    let [first, second] = halves(&cluster);
    let (server, other) = (&cluster.servers[first], &cluster.servers[second]);
    let mut outsider = cluster.outsider(second).await;
    outsider.take(&name).await;
    let waiting = tokio::spawn(locks.lock_named(&*name).into_future());
    crate::session::until_waiting(other, &name).await;
    let session = server.holder(name.as_bytes()).await.expect("the first one is held");
    server.kill_connection(session).await;
    crate::session::until("the first one again", async || {
        server.holder(name.as_bytes()).await.is_some_and(|holder| holder != session)
    })
    .await;
    crate::session::until_waiting(other, &name).await;
    outsider.free(&name).await;
    is_had(&cluster, &name, waiting).await;
}

/// Losses that are long apart are not one failure that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_wait_outlives_as_many_losses_as_there_are() {
    let cluster = Cluster::shared().await;
    let locks = connect(changing(&cluster, OPTIONS).await).await;
    let name = moving(&cluster, "long");
    let [first, second] = halves(&cluster);
    let (server, other) = (&cluster.servers[first], &cluster.servers[second]);
    let mut outsider = cluster.outsider(second).await;
    outsider.take(&name).await;
    let waiting = tokio::spawn(locks.lock_named(&*name).into_future());
    let mut last = None;
    for _ in 0..3 {
        crate::session::until("the first one", async || {
            server.holder(name.as_bytes()).await.is_some_and(|holder| Some(holder) != last)
        })
        .await;
        crate::session::until_waiting(other, &name).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await; // more than connecting may take
        last = server.holder(name.as_bytes()).await;
        server.kill_connection(last.expect("it is held")).await;
    }
    crate::session::until("the first one again", async || {
        server.holder(name.as_bytes()).await.is_some_and(|holder| Some(holder) != last)
    })
    .await;
    outsider.free(&name).await;
    is_had(&cluster, &name, waiting).await;
}

/// The tasks of one process pass it on, both halves and its tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_passed_on() {
    let cluster = Cluster::shared().await;
    let locks = connect(changing(&cluster, OPTIONS).await).await;
    let name = moving(&cluster, "passed");
    let (last, count) = (std::sync::atomic::AtomicU64::new(0), 400);
    let work = (0..8).map(|_| async {
        for _ in 0..count / 8 {
            let lease = locks.lock_named(&*name).await.unwrap();
            let token = lease.fencing_token().unwrap().get();
            let before = last.swap(token, std::sync::atomic::Ordering::SeqCst);
            assert!(before < token, "{token} after {before}");
            if token % 2 == 0 {
                assert_eq!(lease.release().await.unwrap(), Released::Released);
            }
        }
    });
    futures::future::join_all(work).await;
    cluster.until_clean(&[&name]).await;
    // The whole of it is refused where one half is.
    cluster.outsider(2).await.take(&name).await;
    let error = locks.try_lock_named(&*name).await;
    assert!(error.is_ok() || error.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));
}

/// One of its sessions is killed before it is passed on: whoever has passed it on had lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_and_passed_on_was_lost() {
    let cluster = Cluster::shared().await;
    let options = "&ttl=30&heartbeat=15s&fencing=off";
    let locks = connect(changing(&cluster, options).await).await;
    let name = moving(&cluster, "killed");
    let holder = format!("CAST(IS_USED_LOCK(X'{}') AS UNSIGNED)", hex(name.as_bytes()));
    for i in [0, 2] {
        let server = &cluster.servers[i];
        let mut admin = server.connect().await;
        let (mut killed, mut passed_on) = (0, 0);
        // It is passed on within a few milliseconds or not at all.
        while passed_on < 3 {
            assert!(killed < 1000, "{passed_on} of {killed} were passed on");
            let lease = locks.lock_named(&*name).await.unwrap();
            let id = server.holder(name.as_bytes()).await.unwrap();
            lease.release().await.unwrap();
            let lease = locks.lock_named(&*name).await.unwrap();
            let mut next = pin!(locks.lock_named(&*name).into_future());
            assert!(futures::poll!(next.as_mut()).is_pending());
            let kill = AssertSqlSafe(format!("KILL CONNECTION {id}"));
            if raw_sql(kill).execute(&mut admin).await.is_ok() {
                let gone = format!("SELECT IFNULL({holder} = {id}, 0)");
                let gone = || sqlx::query_scalar::<_, i64>(AssertSqlSafe(gone.clone()));
                while gone().fetch_one(&mut admin).await.unwrap() == 1 {}
            }
            killed += 1;
            let (released, next) = tokio::join!(lease.release(), tokio::time::timeout(SOON, next));
            assert_eq!(released.unwrap(), Released::WasLost);
            passed_on += u32::from(next.unwrap().unwrap().ensure_held().await.is_err());
        }
        println!("server {i}: {passed_on} of {killed} were passed on");
    }
    cluster.until_clean(&[&name]).await;
}
