//! What is dropped while it is locked on two servers leaves nothing behind on either, wherever that was.

use std::{future::IntoFuture, time::Duration};

use keyward::{Locks, Released};
use tokio::time::timeout;

use super::{
    cluster::{Cluster, connect},
    twins::{changing, moving},
};
use crate::{
    cancel::{How, Point},
    clients::{Outsider, SOON},
};

/// Two servers, one name on both, and somebody else on each.
struct Case {
    cluster: Cluster,
    url: String,
    name: String,
    outsiders: [Outsider; 2],
}

impl Case {
    async fn new() -> Self {
        let cluster = Cluster::shared().await;
        let url = changing(&cluster, "&ttl=30&fencing=off").await;
        let name = moving(&cluster, "dropped");
        let outsiders = [cluster.outsider(0).await, cluster.outsider(2).await];
        Self { cluster, url, name, outsiders }
    }

    /// Nothing is left of what has happened with these locks.
    async fn check(&self, locks: Option<Locks>, point: Point) {
        let took = self.cluster.until_clean(&[&self.name]).await;
        assert!(took < Duration::from_secs(3), "{point:?}: clean after {took:?}");
        if let Some(locks) = locks {
            let again = locks.lock_named(&*self.name).timeout(SOON).await;
            drop(again.unwrap_or_else(|e| panic!("{point:?}: {e}")));
            let closed = timeout(Duration::from_secs(3), locks.close()).await;
            closed.unwrap_or_else(|_| panic!("{point:?}: it does not close"));
        }
        self.cluster.until_closed().await;
    }
}

/// Each point of an operation, until it comes to its end.
async fn each_point(least: usize, mut operation: impl AsyncFnMut(&mut Case, Point) -> bool) {
    let mut case = Case::new().await;
    for how in [How::Parked, How::Woken] {
        let mut k = 1;
        while operation(&mut case, Point(k, how)).await {
            k += 1;
        }
        println!("{} points, {how:?}", k - 1);
        assert!(k > least, "only {} points, {how:?}", k - 1);
    }
}

#[tokio::test]
async fn a_lock_that_is_free() {
    each_point(2, async |case, point| {
        let locks = connect(&case.url).await;
        let wait = locks.lock_named(&*case.name).into_future();
        let dropped = point.drops(wait, async || {}).await;
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_is_held_on_either_or_both() {
    for held_on in [&[0][..], &[1], &[0, 1]] {
        each_point(3, async |case, point| {
            let locks = connect(&case.url).await;
            let (name, outsiders) = (&*case.name, &mut case.outsiders);
            for &i in held_on {
                outsiders[i].take(name).await;
            }
            let mut held = held_on.to_vec();
            let wait = locks.lock_named(name).into_future();
            // One after the other, each time when nothing else happens.
            let dropped = {
                let (held, outsiders) = (&mut held, &mut *outsiders);
                point
                    .drops(wait, async || {
                        for i in held.drain(..) {
                            outsiders[i].free(name).await;
                        }
                    })
                    .await
            };
            for i in held {
                // It leaves the queue while somebody holds the name, not because it has got it.
                let server = &case.cluster.servers[i * 2];
                crate::session::until("it leaves the queue", async || {
                    server.waiters(name.as_bytes()).await == 0
                })
                .await;
                outsiders[i].free(name).await;
            }
            case.check(Some(locks), point).await;
            dropped
        })
        .await;
    }
}

#[tokio::test]
async fn a_try() {
    for held_on in [&[][..], &[0], &[1]] {
        each_point(1, async |case, point| {
            let locks = connect(&case.url).await;
            for &i in held_on {
                case.outsiders[i].take(&case.name).await;
            }
            let wait = locks.try_lock_named(&*case.name).into_future();
            let dropped = point.drops(wait, async || {}).await;
            for &i in held_on {
                case.outsiders[i].free(&case.name).await;
            }
            case.check(Some(locks), point).await;
            dropped
        })
        .await;
    }
}

#[tokio::test]
async fn a_release_a_question_and_a_look() {
    each_point(1, async |case, point| {
        let locks = connect(&case.url).await;
        let lease = locks.lock_named(&*case.name).await.unwrap();
        let dropped = point.drops(lease.release(), async || {}).await;
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
    each_point(1, async |case, point| {
        let locks = connect(&case.url).await;
        let lease = locks.lock_named(&*case.name).await.unwrap();
        let dropped = point.drops(lease.ensure_held(), async || {}).await;
        lease.ensure_held().await.unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
    each_point(1, async |case, point| {
        let locks = connect(&case.url).await;
        let dropped = point.drops(locks.inspect(&*case.name), async || {}).await;
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

/// A beginning that is dropped is one that has broken off: anybody may go on with it, and with the generation
/// before.
#[tokio::test]
async fn a_beginning() {
    for [before, generation] in [[0, 1], [1, 2]] {
        let mut k = 1;
        loop {
            let cluster = Cluster::shared().await;
            let url = |generation| match generation {
                1 => cluster.url(1, &[0, 1], "&fencing=off"),
                _ => cluster.change(2, &[0, 1, 2], &[0, 1], "&fencing=off"),
            };
            let name = cluster.name("begun");
            let one = if before == 0 { None } else { Some(connect(url(before)).await) };
            let point = Point(k, How::Parked);
            let dropped = point.drops(Locks::connect(url(generation)), async || {}).await;
            if let Some(one) = one {
                let lease = one.lock_named(&*name).timeout(SOON).await.unwrap();
                lease.ensure_held().await.unwrap();
                drop(lease);
                drop(connect(url(before)).await);
            }
            let next = connect(url(generation)).await;
            let lease = next.lock_named(&*name).timeout(SOON).await.unwrap();
            assert_eq!(lease.release().await.unwrap(), Released::Released, "{point:?}");
            // One of them proves it.
            let lists = [cluster.row(0, "telling").await, cluster.row(1, "telling").await];
            assert!(lists.contains(&Some(String::new())), "{point:?}: {lists:?}");
            drop(next);
            cluster.until_closed().await;
            if !dropped {
                break;
            }
            k += 1;
        }
        println!("generation {generation}: {} points", k - 1);
        assert!(k > 10, "only {} points", k - 1);
    }
}

#[tokio::test]
async fn a_connect() {
    each_point(5, async |case, point| {
        let dropped = point.drops(Locks::connect(&case.url), async || {}).await;
        case.check(None, point).await;
        dropped
    })
    .await;
}
