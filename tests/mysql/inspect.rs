//! Who holds a name, as the server tells.

use std::{future::IntoFuture, time::Duration};

use keyward::{Locks, Mode, Occupancy, Owner};
use tokio::time::timeout;

use crate::{
    clients::{Clients, Outsider, SOON},
    server::Kind,
    warnings::Warnings,
};

async fn owner(locks: &Locks, name: &str) -> Option<Owner> {
    match locks.inspect(name).await.unwrap().occupancy {
        Occupancy::Held { mode, owner } => {
            assert_eq!(mode, Mode::Exclusive);
            Some(owner.expect("the server tells"))
        }
        _ => None,
    }
}

#[tokio::test]
async fn it_tells_the_session_and_its_user() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("looked-at"));
        assert_eq!(owner(&locks, &name).await, None);
        let lease = locks.lock_named(&*name).await.unwrap();
        let found = owner(&locks, &name).await.unwrap();
        let session = clients.server.holder(name.as_bytes()).await;
        assert!(session.is_some() && found.session == session, "{kind}: {found:?}");
        assert_eq!(found.user.as_deref(), Some(clients.user()));
        assert_eq!(found.host.as_deref(), Some("localhost"));
        assert_eq!(found.pid, None);
        let since = found.since.expect("it is ours, and so we know");
        assert!(since.elapsed().is_ok_and(|held| held < SOON), "{kind}: {since:?}");
        let theirs = owner(&clients.locks("").await, &name).await.unwrap();
        assert_eq!((theirs.session, theirs.since), (session, None), "another process cannot know");
        let said = found.to_string();
        let expected = format!("session {} of {}", session.unwrap(), clients.user());
        assert!(said.starts_with(&expected), "{said}");
        // It holds nothing, for others to stumble over.
        for _ in 0..5 {
            assert!(
                locks.inspect(clients.name("free")).await.is_ok_and(|status| !status.is_held())
            );
        }
        clients.until_clean(&[&clients.name("free")]).await;
        let _ = lease.release().await.unwrap();
        assert_eq!(owner(&locks, &name).await, None);
    }
}

#[tokio::test]
async fn of_another_users_session_at_least_the_number() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("theirs"));
        // Root's; and this user may not see processes.
        let mut outsider = Outsider::new(clients.server).await;
        outsider.take(&name).await;
        let found = owner(&locks, &name).await.expect("it is held");
        assert_eq!(found.session, Some(outsider.id().await), "{kind}");
        assert_eq!((found.user, found.host), (None, None), "{kind}");
        // With the privilege, all of it.
        clients.server.query(&format!("GRANT PROCESS ON *.* TO {}", clients.user())).await;
        let found = owner(&clients.locks("").await, &name).await.unwrap();
        assert_eq!(found.user.as_deref(), Some("root"), "{kind}");
        outsider.free(&name).await;
    }
}

#[tokio::test]
async fn it_counts_the_tasks_in_the_queue() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("queue"));
        let lease = locks.lock_named(&*name).await.unwrap();
        let waits = [(); 3].map(|()| tokio::spawn(locks.lock_named(&*name).into_future()));
        let counted = async {
            while locks.inspect(&*name).await.unwrap().waiters < 3 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, counted).await.expect("three");
        // Those of another process's are not ours to count.
        let status = clients.locks("").await.inspect(&*name).await.unwrap();
        assert!(status.is_held() && status.waiters == 0, "{kind}: {status:?}");
        waits.iter().for_each(tokio::task::JoinHandle::abort);
        for wait in waits {
            drop(wait.await);
        }
        assert_eq!(locks.inspect(&*name).await.unwrap().waiters, 0);
        drop(lease);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_warning_of_a_long_wait_names_the_session() {
    let (subscriber, warnings) = Warnings::new();
    let _installed = tracing::subscriber::set_default(subscriber);
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (locks, name) = (clients.locks("").await, clients.name("long"));
        let mut outsider = Outsider::new(clients.server).await;
        outsider.take(&name).await;
        let limit = Duration::from_millis(6_500);
        let error = locks.lock_named(&*name).timeout(limit).await.unwrap_err();
        assert!(error.is_timed_out(), "{error}");
        let told: Vec<_> = warnings.try_iter().collect();
        assert_eq!(told.len(), 1, "{kind}: {told:?}");
        let field = |name: &str| {
            let found = told[0].iter().find(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}: {told:?}"))
        };
        assert_eq!(field("message"), "still waiting for a named lock");
        assert_eq!(field("lock.backend"), "\"mysql\"");
        assert_eq!(field("owner"), format!("{:?}", format!("session {}", outsider.id().await)));
        outsider.free(&name).await;
    }
}
