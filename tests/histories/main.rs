//! Long random histories over every backend, each against the one model in `model.rs`: tasks ask, try,
//! give up, let go, forget, and lose, over a few names, and each poll is a step of the history.
//!
//! For each backend there is a line of output,
//!
//! ```text
//! histories <backend> transitions N violations V
//! ```
//!
//! and the test fails, with the shortest history that proptest finds, if V is not 0.
//! `KEYWARD_HISTORIES=100000` is how many transitions there are at least, over each backend.
//!
//! Names and leases of one backend are asked for through one or two handles, which share nothing but the
//! store, as two processes would.

mod history;
mod leases;
mod model;
mod names;
mod world;

#[path = "../support/scripted.rs"]
mod scripted;
#[cfg(feature = "mysql")]
#[path = "../support/server/mod.rs"]
mod server;

use keyward::{Locks, memory::MemoryBackend};
use scripted::{Script, Scripted};

use crate::{history::explore, leases::Leases, names::Names};

#[test]
fn registry() {
    explore("registry", 20_000, || Names::new(false));
}

/// Apart, since a tool that looks for leaks would find what is forgotten.
#[test]
fn registry_forgets() {
    explore("registry-forgetting", 5_000, || Names::new(true));
}

#[test]
fn memory() {
    explore("memory", 10_000, || {
        let store = MemoryBackend::new();
        let faults = store.faults();
        Leases::in_process(vec![Locks::builder().backend(store)], move |name| {
            faults.lose(name, keyward::LossReason::Closed) > 0
        })
    });
}

/// Two handles, whose waits meet in the store.
#[test]
fn memory_shared() {
    explore("memory-shared", 10_000, || {
        let store = MemoryBackend::new();
        let faults = store.faults();
        let handles = [(); 2].map(|()| Locks::builder().backend(store.clone()));
        Leases::in_process(handles.into(), move |name| {
            faults.lose(name, keyward::LossReason::NotOwner) > 0
        })
    });
}

/// Holds are passed on and readers join.
#[test]
fn scripted_passing_on() {
    explore("scripted", 10_000, || {
        let script = Script { passes_on: true, admits_readers: true, ..Script::default() };
        let backend = Scripted::new(script);
        let locks = vec![backend.locks()];
        Leases::in_process(locks, move |name| backend.sever(name.as_bytes()))
    });
}

#[cfg(feature = "file")]
#[test]
fn file() {
    explore("file", 1_500, || Leases::files(1));
}

#[cfg(feature = "file")]
#[test]
fn file_shared() {
    explore("file-shared", 600, || Leases::files(2));
}

#[cfg(feature = "mysql")]
#[test]
fn mysql() {
    explore("mysql", 300, || Leases::servers(1));
}

/// A history that was found: a wait that needs a session, and is polled no more, is in the way of no
/// other name.
#[cfg(feature = "mysql")]
#[test]
fn mysql_wait_that_is_not_polled() {
    use std::{future::IntoFuture, time::Duration};

    use tokio::time::timeout;

    let url = server::Kind::mariadb().shared().url() + "&locks_per_session=1";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let locks = Locks::connect(&*url).await.unwrap();
        let _held = locks.lock_named("unpolled-held").await.unwrap();
        let mut waits = tokio_test::task::spawn(locks.lock_named("unpolled-a").into_future());
        assert!(waits.poll().is_pending(), "it needs a session");
        let other = locks.try_lock_named("unpolled-b").into_future();
        let other = timeout(Duration::from_secs(20), other).await;
        drop(other.expect("a try waits for somebody who is not polled").unwrap());
    });
}

#[cfg(feature = "mysql")]
#[test]
fn mysql_shared() {
    explore("mysql-shared", 300, || Leases::servers(2));
}
