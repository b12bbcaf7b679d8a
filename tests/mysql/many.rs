//! Many names, many tasks, and what they cost the server; and tokens over all of it.

use std::{
    collections::HashMap,
    future::IntoFuture,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use keyward::{Fencing, FencingToken, Locks, Released};
use tokio::time::{sleep, timeout};

use crate::{
    clients::{Clients, Outsider, SOON},
    server::{Kind, Server},
};

#[tokio::test]
async fn a_thousand_names_take_a_few_sessions() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("ttl=6&heartbeat=500ms").await;
        assert!(clients.connections().await <= 2);
        let names: Vec<_> = (0..1000).map(|i| clients.name(&format!("vol-{i}"))).collect();
        let waits = names.iter().map(|name| locks.lock_named(name).into_future());
        let begun = Instant::now();
        let leases: Vec<_> =
            futures::future::join_all(waits).await.into_iter().map(Result::unwrap).collect();
        println!("{kind}: 1000 at once in {:?}", begun.elapsed());
        let connections = clients.connections().await;
        assert!(connections <= 20, "{kind}: {connections} connections");
        // They stay ours over some heartbeats, also those that are asked for in one breath.
        sleep(Duration::from_secs(2)).await;
        futures::future::try_join_all(leases.iter().map(keyward::Lease::ensure_held))
            .await
            .unwrap();
        let releases = leases.into_iter().map(keyward::Lease::release);
        for released in futures::future::join_all(releases).await {
            assert_eq!(released.unwrap(), Released::Released);
        }
        // All at once, in order, with what was opened before.
        let begun = Instant::now();
        let all = locks.lock_all(&names).await.unwrap();
        println!("{kind}: 1000 one by one in {:?}", begun.elapsed());
        assert!(clients.connections().await <= 20);
        drop(all);
        // They linger for ten seconds, in which somebody may want them again.
        let begun = Instant::now();
        while clients.connections().await > 2 {
            assert!(begun.elapsed() < 2 * SOON, "{} are left", clients.connections().await);
            sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(
            locks.lock_named(&names[0]).await.unwrap().release().await.unwrap(),
            Released::Released
        );
        locks.close().await;
        clients.until_connections(0).await;
    }
}

#[tokio::test]
async fn a_session_holds_no_more_locks_than_it_may() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("locks_per_session=3").await;
        let names: Vec<_> = (0..20).map(|i| clients.name(&format!("n{i}"))).collect();
        let mut leases = Vec::new();
        for round in 0..3 {
            for name in &names[leases.len()..] {
                leases.push(locks.lock_named(name).await.unwrap());
            }
            let mut load = HashMap::new();
            for name in &names {
                let session = clients.server.holder(name.as_bytes()).await.unwrap();
                *load.entry(session).or_insert(0) += 1;
            }
            assert!(load.values().all(|&locks| locks <= 3), "{kind}: {load:?}");
            assert!(load.len() <= 8, "{kind}, round {round}: room is not used again: {load:?}");
            for lease in leases.drain(10..) {
                let _ = lease.release().await.unwrap();
            }
        }
    }
}

/// A lock that was waited for stays with the session that has waited.
#[tokio::test]
async fn locks_that_were_waited_for_do_not_take_a_session_each() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("max_waiters=2").await;
        let mut outsider = Outsider::new(clients.server).await;
        let names: Vec<_> = (0..60).map(|i| clients.name(&format!("n{i}"))).collect();
        let mut leases = Vec::new();
        for name in &names {
            outsider.take(name).await;
            let wait = tokio::spawn(locks.lock_named(name).timeout(2 * SOON).into_future());
            while clients.server.waiters(name.as_bytes()).await == 0 && !wait.is_finished() {
                sleep(Duration::from_millis(5)).await;
                if leases.len() >= 6 {
                    break; // there are sessions enough, and it polls
                }
            }
            outsider.free_all().await;
            leases.push(wait.await.unwrap().unwrap());
        }
        // One for what is held, three for each waiter, and the control session.
        let connections = clients.connections().await;
        assert!(connections <= 8, "{kind}: {connections} connections for 60 locks");
        for lease in leases {
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
    }
}

#[tokio::test]
async fn more_names_than_waiters_get_their_turn() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("max_waiters=2").await;
        let mut outsider = Outsider::new(clients.server).await;
        let names: Vec<_> = (0..200).map(|i| clients.name(&format!("n{i}"))).collect();
        for name in &names {
            outsider.take(name).await;
        }
        let waits = names.iter().map(|name| {
            let wait = locks.lock_named(name).timeout(2 * SOON);
            tokio::spawn(async move { wait.await?.release().await })
        });
        let waits: Vec<_> = waits.collect();
        sleep(Duration::from_millis(500)).await;
        let connections = clients.connections().await;
        // The control session, two that wait, and some for the tries, 64 each.
        assert!(connections <= 8, "{kind}: {connections} connections for two waiters");
        let begun = Instant::now();
        outsider.free_all().await;
        for wait in waits {
            assert_eq!(wait.await.unwrap().unwrap(), Released::Released);
        }
        println!("{kind}: 200 turns in {:?}", begun.elapsed());
        assert!(begun.elapsed() < SOON, "{kind}: {:?}", begun.elapsed());
        locks.close().await;
        clients.until_connections(0).await;
    }
}

#[tokio::test]
async fn tasks_are_served_in_the_order_of_asking_and_others_in_between() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("order"));
        let first = locks.lock_named(&*name).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = (0..64).map(|task| {
            let (wait, order) = (locks.lock_named(&*name), Arc::clone(&order));
            tokio::spawn(async move {
                let lease = wait.await.unwrap();
                order.lock().unwrap().push((task, lease.fencing_token().unwrap()));
                drop(lease);
            })
        });
        let tasks: Vec<_> = tasks.collect();
        while locks.inspect(&*name).await.unwrap().waiters < 64 {
            sleep(Duration::from_millis(1)).await;
        }
        // The one at the server is the process's only one.
        assert_eq!(clients.server.waiters(name.as_bytes()).await, 0);
        let mut outsider = Outsider::new(clients.server).await;
        let asking = tokio::spawn({
            let (name, order) = (name.clone(), Arc::clone(&order));
            async move {
                assert!(outsider.lock(&name, 30).await, "its turn");
                let before = order.lock().unwrap().len();
                outsider.free(&name).await;
                before
            }
        });
        clients.until_waiters(&name, 1).await;
        let before = first.fencing_token().unwrap();
        drop(first);
        for task in tasks {
            timeout(SOON, task).await.expect("its turn").unwrap();
        }
        let before_the_outsider = timeout(SOON, asking).await.expect("its turn").unwrap();
        assert!(before_the_outsider <= 6, "{kind}: after {before_the_outsider} of ours");
        let order = order.lock().unwrap();
        assert!(order.iter().map(|(task, _)| *task).eq(0..64), "{kind}: {order:?}");
        let tokens: Vec<_> = order.iter().map(|(_, token)| *token).collect();
        assert!(before < tokens[0] && tokens.is_sorted_by(|a, b| a < b), "{kind}: {tokens:?}");
    }
}

/// Of some holds of one name, one after the other, by two processes' `Locks` with hand-overs.
async fn tokens(url: &str, name: &str) -> Vec<Option<FencingToken>> {
    let both = [Locks::connect(url).await.unwrap(), Locks::connect(url).await.unwrap()];
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let tasks = (0..40_usize).map(|task| {
        let (wait, tokens) = (both[task % 2].lock_named(name), Arc::clone(&tokens));
        tokio::spawn(async move {
            let lease = wait.await.unwrap();
            tokens.lock().unwrap().push(lease.fencing_token());
            lease.release().await.unwrap()
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(timeout(SOON, task).await.expect("its turn").unwrap(), Released::Released);
    }
    for locks in both {
        locks.close().await;
    }
    Arc::into_inner(tokens).unwrap().into_inner().unwrap()
}

/// Each kind of tokens, and what a capability says of it.
const FENCING: [(&str, Fencing); 3] = [
    ("uuid_short", Fencing::Server),
    ("create-table", Fencing::Durable),
    ("table", Fencing::Durable),
];

#[tokio::test]
async fn tokens_grow_from_hold_to_hold_and_over_restarts() {
    for kind in Kind::all() {
        // Its own: it is restarted.
        let server = Server::start(kind);
        let mut begun = Instant::now();
        let url = server.url().replace("localhost/?", "localhost/mysql?");
        let mut last = HashMap::new();
        for restarts in 0..3 {
            for (option, fencing) in FENCING {
                let url = format!("{url}&fencing={option}");
                let locks = Locks::connect(&url).await.unwrap();
                assert_eq!(locks.capability().fencing, fencing);
                locks.close().await;
                let tokens: Vec<_> = tokens(&url, "vol-1").await.into_iter().flatten().collect();
                assert_eq!(tokens.len(), 40);
                assert!(tokens.is_sorted_by(|a, b| a < b), "{kind}, {option}: {tokens:?}");
                let before = last.insert(fencing, tokens[39]);
                assert!(before < Some(tokens[0]), "{kind}, {option}, restarts: {restarts}");
                // Another name has a row of its own.
                let other = Locks::connect(&url).await.unwrap();
                assert!(other.lock_named("vol-2").await.unwrap().fencing_token().is_some());
                other.close().await;
            }
            // Its numbers begin with the second of its start.
            sleep(Duration::from_millis(1_100).saturating_sub(begun.elapsed())).await;
            begun = Instant::now();
            server.restart();
        }
    }
}

#[tokio::test]
async fn without_fencing_there_are_no_tokens() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let url = clients.url("fencing=off");
        assert!(tokens(&url, &clients.name("off")).await.iter().all(Option::is_none));
        let locks = Locks::connect(&url).await.unwrap();
        assert_eq!(locks.capability().fencing, Fencing::Off);
    }
}
