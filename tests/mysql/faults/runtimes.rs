//! Runtimes that end, with sessions on them.

use std::thread;

use keyward::{ErrorKind, LossReason};
use tokio::runtime::Builder;

use super::room::{
    SLACK, connect, must_be_held, must_be_lost, name, secs, soon, until_clean, until_waiters, url,
    within,
};
use crate::server::Kind;

/// The sessions are one runtime's, the leases and a wait another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_lost_with_the_runtime_of_their_sessions() {
    for kind in Kind::all() {
        let server = kind.shared();
        for how in ["in the background", "at once", "dropped"] {
            let (held, wanted) = (name("runtime"), name("runtime"));
            let url = url(server, "ttl=30&connect_timeout=1");
            let other = connect(&url).await;
            let kept = other.lock_named(wanted.as_str()).await.unwrap();
            let runtime =
                Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let locks = runtime.spawn(async move { connect(&url).await }).await.unwrap();
            let lease = locks.lock_named(held.as_str()).await.unwrap();
            let wait = tokio::spawn(locks.lock_named(wanted.as_str()).into_future());
            until_waiters(server, &wanted, 1).await;
            let lost = lease.lost();
            // A runtime may not be dropped in a task.
            let end = thread::spawn(move || match how {
                "in the background" => runtime.shutdown_background(),
                "at once" => runtime.shutdown_timeout(secs(0)),
                _ => drop(runtime),
            });
            assert_eq!(within(SLACK, how, lost).await, LossReason::Closed, "{how}");
            end.join().unwrap();
            must_be_lost(lease, LossReason::Closed).await;
            let error = within(secs(1) + SLACK, how, wait).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{how}: {error:?}");
            let error =
                within(secs(1) + SLACK, how, locks.try_lock_named("new").into_future()).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{how}: {error:?}");
            assert!(error.to_string().contains("runtime"), "{how}: {error}");
            soon(how, locks.close()).await;
            must_be_held(kept).await;
            until_clean(server, &[&held, &wanted], secs(5)).await;
            must_be_held(other.lock_named(held.as_str()).await.unwrap()).await;
        }
    }
}

/// A lease that outlives the runtime may be dropped wherever, also where there is none.
#[test]
fn a_lease_may_be_dropped_after_its_runtime() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("outlives"));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (locks, lease) = runtime.block_on(async {
            let locks = connect(url(server, "ttl=30")).await;
            let lease = locks.lock_named(name.as_str()).await.unwrap();
            (locks, lease)
        });
        drop(runtime);
        assert_eq!(lease.state(), keyward::LeaseState::Lost(LossReason::Closed));
        thread::spawn(move || drop((lease, locks))).join().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(until_clean(server, &[&name], secs(5)));
    }
}
