//! What is dropped in the middle leaves nothing behind, wherever that was.
//!
//! For k = 1, 2, … until the operation comes to its end, with a new `Locks` each time: it is polled to
//! its k-th `Pending` and dropped there (*parked*), or once its waker has fired, without another poll
//! (*woken*): what it has waited for may be its by then.

use std::{
    future::{Future, IntoFuture},
    task::Poll,
    time::{Duration, Instant},
};

use keyward::{Locks, Released};
use tokio::time::{sleep, timeout};
use tokio_test::task;

use crate::{
    clients::{Clients, Outsider, SOON},
    server::Kind,
};

/// How the operation is dropped at its await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Parked,
    Woken,
}

/// Where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point(pub(crate) usize, pub(crate) How);

impl Point {
    /// Drops the future there; false if it has come to its end before. When it seems to wait for
    /// something that does not happen, `advance` makes it happen.
    pub(crate) async fn drops<F: Future>(self, future: F, mut advance: impl AsyncFnMut()) -> bool {
        let Self(k, how) = self;
        let mut future = task::spawn(future);
        for pending in 1.. {
            if let Poll::Ready(done) = future.poll() {
                drop(done);
                return false;
            }
            if pending == k && how == How::Parked {
                break;
            }
            let asleep = Instant::now();
            let mut advanced = false;
            while !future.is_woken() {
                sleep(Duration::from_millis(1)).await;
                if asleep.elapsed() > Duration::from_millis(40) && !advanced {
                    advance().await;
                    advanced = true;
                }
                assert!(asleep.elapsed() < SOON, "{self:?}: nothing will ever wake it");
            }
            if pending == k {
                break;
            }
        }
        drop(future);
        true
    }
}

/// One server, one user, and somebody else.
struct Case {
    clients: Clients,
    outsider: Outsider,
    names: [String; 3],
}

impl Case {
    async fn new(kind: &'static Kind) -> Self {
        let clients = Clients::new(kind).await;
        let outsider = Outsider::new(clients.server).await;
        let names = ["a", "b", "c"].map(|name| clients.name(name));
        Self { clients, outsider, names }
    }

    /// Nothing is left of what has happened with these locks.
    async fn check(&self, locks: Option<Locks>, point: Point) {
        let names = self.names.each_ref().map(String::as_str);
        let took = self.clients.until_clean(&names).await;
        assert!(took < Duration::from_secs(3), "{point:?}: clean after {took:?}");
        if let Some(locks) = locks {
            // Usable, and nothing keeps it from ending.
            let again = locks.lock_named(&*self.names[1]).timeout(SOON).await;
            drop(again.unwrap_or_else(|e| panic!("{point:?}: {e}")));
            let closed = timeout(Duration::from_secs(3), locks.close()).await;
            closed.unwrap_or_else(|_| panic!("{point:?}: it does not close"));
            self.clients.until_connections(0).await;
        }
    }
}

/// Each point of an operation, until it comes to its end: that is what `operation` returns true for.
async fn each_point(least: usize, mut operation: impl AsyncFnMut(&mut Case, Point) -> bool) {
    for kind in Kind::all() {
        let mut case = Case::new(kind).await;
        for how in [How::Parked, How::Woken] {
            let mut k = 1;
            while operation(&mut case, Point(k, how)).await {
                k += 1;
            }
            assert!(k > least, "{kind}: only {} points, {how:?}", k - 1);
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_free() {
    each_point(1, async |case, point| {
        let locks = case.clients.locks("").await;
        let wait = locks.lock_named(&*case.names[0]).into_future();
        let dropped = point.drops(wait, async || {}).await;
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_is_held() {
    // Waited for by the session that is there, or by one that is opened for it.
    for (least, others) in [(2, 0), (3, 1)] {
        each_point(least, async |case, point| {
            let locks = case.clients.locks("").await;
            let others = case.names[3 - others..].iter().map(String::as_str);
            let others = locks.lock_all(others).await.unwrap();
            let (name, outsider) = (&*case.names[0], &mut case.outsider);
            outsider.take(name).await;
            let mut held = true;
            let wait = locks.lock_named(name).into_future();
            let dropped = point
                .drops(wait, async || {
                    if held {
                        outsider.free(name).await;
                        held = false;
                    }
                })
                .await;
            if held {
                // It leaves the queue while somebody holds the name, not because it has got it.
                case.clients.until_waiters(name, 0).await;
                outsider.free(name).await;
            }
            drop(others);
            case.check(Some(locks), point).await;
            dropped
        })
        .await;
    }
}

/// With the only session that may wait taken by another name.
#[tokio::test]
async fn a_lock_that_is_polled_for() {
    each_point(2, async |case, point| {
        let locks = case.clients.locks("max_waiters=1").await;
        let [name, other, _] = case.names.each_ref().map(String::as_str);
        let outsider = &mut case.outsider;
        outsider.take(other).await;
        outsider.take(name).await;
        let waiting = tokio::spawn(locks.lock_named(other).into_future());
        case.clients.until_waiters(other, 1).await;
        let mut held = true;
        let wait = locks.lock_named(name).into_future();
        let dropped = point
            .drops(wait, async || {
                if held {
                    outsider.free(name).await;
                    held = false;
                }
            })
            .await;
        assert_eq!(case.clients.server.waiters(name.as_bytes()).await, 0, "it stands in the queue");
        outsider.free_all().await;
        drop(waiting.await.unwrap().unwrap());
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn several_locks_at_once() {
    each_point(5, async |case, point| {
        let locks = case.clients.locks("").await;
        let outsider = &mut case.outsider;
        let middle = &*case.names[1];
        outsider.take(middle).await;
        let mut held = true;
        let wait = locks.lock_all(case.names.each_ref().map(String::as_str)).into_future();
        let dropped = point
            .drops(wait, async || {
                if held {
                    outsider.free(middle).await;
                    held = false;
                }
            })
            .await;
        if held {
            outsider.free(middle).await;
        }
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_try() {
    for is_held in [false, true] {
        each_point(1, async |case, point| {
            let locks = case.clients.locks("").await;
            let name = &*case.names[0];
            if is_held {
                case.outsider.take(name).await;
            }
            let wait = locks.try_lock_named(name).into_future();
            let dropped = point.drops(wait, async || {}).await;
            case.outsider.free_all().await;
            case.check(Some(locks), point).await;
            dropped
        })
        .await;
    }
}

#[tokio::test]
async fn a_look() {
    each_point(1, async |case, point| {
        let locks = case.clients.locks("").await;
        let lease = locks.lock_named(&*case.names[0]).await.unwrap();
        let dropped = point.drops(locks.inspect(&*case.names[0]), async || {}).await;
        lease.ensure_held().await.unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_question_whether_it_is_held() {
    each_point(1, async |case, point| {
        let locks = case.clients.locks("").await;
        let lease = locks.lock_named(&*case.names[0]).await.unwrap();
        let dropped = point.drops(lease.ensure_held(), async || {}).await;
        lease.ensure_held().await.unwrap();
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_release() {
    each_point(1, async |case, point| {
        let locks = case.clients.locks("").await;
        let lease = locks.lock_named(&*case.names[0]).await.unwrap();
        let dropped = point.drops(lease.release(), async || {}).await;
        case.check(Some(locks), point).await;
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_connect() {
    each_point(5, async |case, point| {
        let url = case.clients.url("");
        let dropped = point.drops(Locks::connect(url), async || {}).await;
        case.check(None, point).await;
        // As promised, nothing stays open; nor with `Locks` that are dropped at once.
        let begun = Instant::now();
        case.clients.until_connections(0).await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{point:?}: open for {took:?}");
        dropped
    })
    .await;
}

#[tokio::test]
async fn a_close() {
    each_point(1, async |case, point| {
        let locks = case.clients.locks("").await;
        let mut lease = Some(locks.lock_named(&*case.names[0]).await.unwrap());
        let dropped = point.drops(locks.close(), async || drop(lease.take())).await;
        drop(lease);
        case.check(None, point).await;
        timeout(Duration::from_secs(3), locks.close()).await.expect("it does not close");
        case.clients.until_connections(0).await;
        dropped
    })
    .await;
}

/// Who has lost interest leaves his place in the server's queue to the next task of the process: of the
/// same `Locks`, or of others in the same backend.
#[tokio::test]
async fn the_next_task_takes_over_an_abandoned_wait() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let name = clients.name("place");
        let backend = clients.backend().await;
        let locks = Locks::builder().backend(backend.clone());
        let others = Locks::builder().backend(backend);
        for next in [&locks, &others] {
            let mut holder = Outsider::new(clients.server).await;
            holder.take(&name).await;
            let first = tokio::spawn(locks.lock_named(&*name).into_future());
            clients.until_waiters(&name, 1).await;
            // Somebody else is second at the server.
            let mut second = Outsider::new(clients.server).await;
            let second = tokio::spawn({
                let name = name.clone();
                async move { second.lock(&name, 30).await.then(|| (second, Instant::now())) }
            });
            clients.until_waiters(&name, 2).await;
            first.abort();
            let successor = tokio::spawn(next.lock_named(&*name).into_future());
            assert!(first.await.unwrap_err().is_cancelled());
            sleep(Duration::from_millis(100)).await;
            assert_eq!(clients.server.waiters(name.as_bytes()).await, 2, "the place is lost");
            holder.free(&name).await;
            let lease = timeout(SOON, successor).await.expect("its turn").unwrap().unwrap();
            assert!(!second.is_finished(), "it has lost its place");
            lease.ensure_held().await.unwrap();
            sleep(Duration::from_millis(20)).await;
            let released = Instant::now();
            assert_eq!(lease.release().await.unwrap(), Released::Released);
            let (mut second, got) = second.await.unwrap().expect("its turn");
            assert!(got > released);
            second.free(&name).await;
        }
        locks.close().await;
        drop(others);
        clients.until_connections(0).await;
    }
}

/// A limit that is about to end while the wait is granted: whoever wins, nothing is left.
#[tokio::test]
async fn a_grant_and_the_end_of_the_wait_at_once() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let name = clients.name("race");
        let locks = clients.locks("").await;
        let mut outsider = Outsider::new(clients.server).await;
        let (mut won, mut late) = (0, 0);
        for round in 0..200_u64 {
            // Also right after it was given up: nothing of ours is in its own way.
            let begun = Instant::now();
            while !outsider.lock(&name, 0).await {
                assert!(begun.elapsed() < SOON, "a wait that was given up holds the name");
            }
            let wait = locks.lock_named(&*name).timeout(Duration::from_millis(4));
            let wait = tokio::spawn(wait.into_future());
            sleep(Duration::from_micros(3_000 + round % 40 * 50)).await;
            outsider.free(&name).await;
            match wait.await.unwrap() {
                Ok(lease) => {
                    lease.ensure_held().await.unwrap();
                    won += 1;
                }
                Err(e) => {
                    assert!(e.is_timed_out(), "{e}");
                    late += 1;
                }
            }
        }
        println!("{kind}: {won} granted, {late} late");
        clients.until_clean(&[&name]).await;
        locks.close().await;
        clients.until_connections(0).await;
    }
}

/// Who stops a statement of ours, and not its session, takes no lock away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_somebody_stops_cost_no_lock() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let [name, other] = ["kept", "other"].map(|name| clients.name(name));
        let locks = clients.locks("").await;
        let lease = locks.lock_named(&*name).await.unwrap();
        let session = clients.server.holder(name.as_bytes()).await.unwrap();
        let mut dba = Outsider::new(clients.server).await;
        let stopping = tokio::spawn(async move {
            for round in 0..2_000_u64 {
                assert!(dba.stop(session).await, "its session has ended");
                sleep(Duration::from_micros(round * 7 % 400)).await;
            }
        });
        while !stopping.is_finished() {
            lease.ensure_held().await.unwrap();
            let lease = locks.lock_named(&*other).await.unwrap();
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
        stopping.await.unwrap();
        assert_eq!(clients.server.holder(name.as_bytes()).await, Some(session), "{kind}");
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        clients.until_clean(&[&name, &other]).await;
    }
}
