//! Several `Locks` on one backend, whose sessions they share; and names that are one lock, or two.
//!
//! The server grants a session what the session holds already: who shares sessions must not rely on it
//! alone.

use std::{
    future::{Future, IntoFuture},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use keyward::{LockName, Locks, Released};
use tokio::time::timeout;

use crate::{
    clients::{Clients, Outsider, SOON},
    server::{Family, Kind},
};

async fn two_on_one_backend(clients: &Clients) -> [Locks; 2] {
    let backend = clients.backend().await;
    [backend.clone(), backend].map(|backend| Locks::builder().backend(backend))
}

#[tokio::test]
async fn two_locks_on_one_backend_exclude_each_other() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let [one, other] = two_on_one_backend(&clients).await;
        let name = clients.name("shared");
        for _ in 0..3 {
            let lease = one.lock_named(&*name).await.unwrap();
            for _ in 0..3 {
                assert!(other.try_lock_named(&*name).await.unwrap_err().is_would_block());
            }
            let tries = [(); 8].map(|()| other.try_lock_named(&*name).into_future());
            for tried in futures::future::join_all(tries).await {
                assert!(tried.unwrap_err().is_would_block());
            }
            let limit = Duration::from_millis(50);
            let late = other.lock_named(&*name).timeout(limit).await.unwrap_err();
            assert!(late.is_timed_out(), "{late}");
            lease.ensure_held().await.unwrap();
            // With a wait of the other's in the queue, it goes there.
            let wait = tokio::spawn(other.lock_named(&*name).into_future());
            clients.until_waiters(&name, 1).await;
            assert_eq!(lease.release().await.unwrap(), Released::Released);
            let lease = wait.await.unwrap().unwrap();
            assert!(one.try_lock_named(&*name).await.unwrap_err().is_would_block());
            assert_eq!(lease.release().await.unwrap(), Released::Released);
            assert_eq!(clients.server.holder(name.as_bytes()).await, None);
        }
    }
}

#[tokio::test]
async fn two_tries_in_one_breath_are_not_both_granted() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let [one, other] = two_on_one_backend(&clients).await;
        let name = clients.name("breath");
        for _ in 0..100 {
            let tries = [&one, &other].map(|locks| locks.try_lock_named(&*name).into_future());
            let tried = futures::future::join_all(tries).await;
            let held: Vec<_> = tried.into_iter().flatten().collect();
            assert_eq!(held.len(), 1, "{kind}");
            drop(held);
            clients.until_clean(&[&name]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_on_both_exclude_each_other() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let both = two_on_one_backend(&clients).await;
        let (name, holders) = (clients.name("many"), Arc::new(AtomicU32::new(0)));
        let tasks = (0..24_usize).map(|task| {
            let (locks, name) = (both[task % 2].clone(), name.clone());
            let holders = Arc::clone(&holders);
            tokio::spawn(async move {
                for round in 0..20 {
                    let lease = if (round + task) % 4 == 0 {
                        let Ok(lease) = locks.try_lock_named(&*name).await else { continue };
                        lease
                    } else {
                        locks.lock_named(&*name).await.unwrap()
                    };
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    tokio::task::yield_now().await;
                    assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                    if round % 3 == 0 {
                        drop(lease);
                    } else {
                        assert_eq!(lease.release().await.unwrap(), Released::Released);
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            timeout(2 * SOON, task).await.expect("its turn").unwrap();
        }
        clients.until_clean(&[&name]).await;
        // The first to be closed ends the sessions for both.
        for locks in both {
            timeout(SOON, locks.close()).await.expect("it does not close");
        }
        clients.until_connections(0).await;
    }
}

/// Between the end of interest in a wait and the next task that takes it over, a try of others comes
/// by: it is not to wait for as long as that one does.
#[tokio::test]
async fn a_try_does_not_wait_for_a_wait_that_is_taken_over() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let [one, other] = two_on_one_backend(&clients).await;
        let name = clients.name("between");
        let mut outsider = Outsider::new(clients.server).await;
        outsider.take(&name).await;
        let mut first = Box::pin(one.lock_named(&*name).into_future());
        tokio::select! {
            lease = &mut first => panic!("{lease:?}, which is not free"),
            () = clients.until_waiters(&name, 1) => {}
        }
        // All in one turn of the runtime: the wait's session does not come to look.
        let mut cx = Context::from_waker(Waker::noop());
        drop(first);
        let mut tried = pin!(other.try_lock_named(&*name).into_future());
        assert!(tried.as_mut().poll(&mut cx).is_pending());
        let mut next = pin!(one.lock_named(&*name).into_future());
        assert!(next.as_mut().poll(&mut cx).is_pending());

        let tried = timeout(Duration::from_secs(5), tried).await.expect("it waits");
        assert!(tried.unwrap_err().is_would_block());
        assert_eq!(clients.server.waiters(name.as_bytes()).await, 1);
        outsider.free(&name).await;
        drop(timeout(SOON, next).await.expect("its turn").unwrap());
    }
}

/// Which spellings are one name, with names that go verbatim: as the server sees it.
fn one_lock(family: Family, [a, b]: [&str; 2]) -> bool {
    match family {
        Family::MariaDb => a == b,
        Family::MySql => a.to_lowercase() == b.to_lowercase(),
    }
}

const SPELLINGS: [[&str; 2]; 5] =
    [["Vol", "vol"], ["VOL", "vOl"], ["É", "é"], ["e", "é"], ["ss", "ß"]];

#[tokio::test]
async fn spellings_are_one_name_where_the_server_says_so() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let own = clients.locks("").await;
        let exact = clients.locks("names=exact").await;
        let [one, other] = two_on_one_backend(&clients).await;
        for spelling in SPELLINGS {
            let spelling = spelling.map(|name| clients.name(name));
            let [a, b] = spelling.each_ref().map(String::as_str);
            // Encoded, they are two on every server.
            let lease = own.lock_named(a).await.unwrap();
            let _ = own.try_lock_named(b).await.unwrap().release().await.unwrap();
            let _ = lease.release().await.unwrap();

            let is_one = one_lock(kind.family(), [a, b]);
            let lease = exact.lock_named(a).await.unwrap();
            for locks in [&exact, &one, &other] {
                let tried = locks.try_lock_named(LockName::exact(b)).await;
                assert_eq!(tried.is_err(), is_one, "{kind}: {a} and {b}");
                if let Ok(lease) = tried {
                    let _ = lease.release().await.unwrap();
                }
            }
            let mut outsider = Outsider::new(clients.server).await;
            assert_eq!(outsider.lock(b, 0).await, !is_one, "{kind}: {a} and {b}");
            drop(outsider);
            let _ = lease.release().await.unwrap();
            clients.until_clean(&[a, b]).await;

            // Two names for one lock do not wait for each other.
            let all = one.lock_all([LockName::exact(b), LockName::exact(a), LockName::exact(b)]);
            let all = all.timeout(SOON).await.unwrap();
            assert_eq!(all.len(), if is_one { 1 } else { 2 }, "{kind}: {a} and {b}");
        }
    }
}

#[tokio::test]
async fn a_plain_name_is_the_servers_and_others_are_encoded() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("").await;
        let [plain, capital] = ["vol-42", "Vol-42"].map(|name| clients.name(name));
        let _plain = locks.lock_named(&*plain).await.unwrap();
        assert!(clients.server.holder(plain.as_bytes()).await.is_some());
        let lease = locks.lock_named(&*capital).await.unwrap();
        let verbatim = clients.server.holder(capital.as_bytes()).await;
        // On MySQL that is the plain one.
        assert_eq!(verbatim.is_some(), !kind.is_mariadb());
        let _ = lease.release().await.unwrap();
        if kind.is_mariadb() {
            let _exact = locks.lock_named(LockName::exact(&capital)).await.unwrap();
            assert!(clients.server.holder(capital.as_bytes()).await.is_some());
        }
        // Whatever is in it, it is a name and nothing else.
        for odd in ["", "\0", "a\0b", "a\0c", "'; DROP TABLE x; -- ", "😀", &"x".repeat(500)] {
            let name = clients.name(odd);
            let lease = locks.lock_named(&*name).await.unwrap();
            assert!(locks.try_lock_named(&*name).await.unwrap_err().is_would_block());
            let longer = locks.try_lock_named(format!("{name}.")).await;
            let _ = longer.unwrap().release().await.unwrap();
            lease.ensure_held().await.unwrap();
        }
    }
}
