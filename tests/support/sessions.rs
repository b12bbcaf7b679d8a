//! What cases share that have leases on servers: waiting for what happens, and asking the server.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use keyward::{Lease, LeaseState, Locks, LossReason, Released};
use tokio::time::Instant;

use crate::server::{Server, hex};

/// What a busy machine may take on top of what the design promises.
pub(crate) const SLACK: Duration = Duration::from_secs(4);

/// How much later than its deadline a loss may be told: the thread that tells it is never busy.
pub(crate) const TELLING: Duration = Duration::from_secs(1);

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Over the server's socket, with options as in `ttl=3&heartbeat=250ms`.
pub(crate) fn url(server: &Server, options: &str) -> String {
    format!("{}&{options}", server.url())
}

/// Over TCP, to a port that may be a proxy's.
pub(crate) fn tcp_url(port: u16, options: &str) -> String {
    format!("mysql://root@127.0.0.1:{port}/?{options}")
}

pub(crate) async fn connect(url: impl AsRef<str>) -> Locks {
    soon("connecting", Locks::connect(url.as_ref())).await.unwrap()
}

/// A name that no other case has.
pub(crate) fn name(part: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{part}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for something that is going to happen, however busy the machine is.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    within(secs(30), what, event).await
}

/// Waits for something that happens by then.
pub(crate) async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    let late = tokio::time::timeout(limit, event).await;
    late.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

pub(crate) async fn until_waiters(server: &Server, name: &str, count: u64) {
    let begun = Instant::now();
    loop {
        let found = server.waiters(name.as_bytes()).await;
        if found == count {
            return;
        }
        assert!(begun.elapsed() < secs(20), "{found} waiters for {name}, not {count}");
        tokio::time::sleep(millis(5)).await;
    }
}

/// Nobody holds the names or waits for them, by then.
pub(crate) async fn until_clean(server: &Server, names: &[&str], limit: Duration) {
    let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
    let clean = async {
        while !server.is_clean(&names).await {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(limit, "a clean server", clean).await;
}

/// The session that waits for a name.
pub(crate) async fn waiter_id(server: &Server, name: &str) -> Option<u64> {
    let sql = format!(
        "SELECT ID FROM information_schema.processlist \
         WHERE STATE = 'User lock' AND LOCATE('{}', INFO)",
        hex(name.as_bytes())
    );
    server.scalar(&sql).await
}

/// The session that holds a name.
pub(crate) async fn holder_id(server: &Server, name: &str) -> u64 {
    server.holder(name.as_bytes()).await.unwrap_or_else(|| panic!("nobody holds {name}"))
}

/// In all the ways in which a holder can find out; it has been told already.
pub(crate) async fn must_be_lost(lease: Lease, reason: LossReason) {
    assert_eq!(lease.state(), LeaseState::Lost(reason));
    assert_eq!(soon("the loss", lease.lost()).await, reason);
    soon("the cancellation", lease.cancellation_token().cancelled()).await;
    let stopped = lease.run(std::future::pending::<()>()).await.unwrap_err();
    assert!(stopped.is_lost(), "{stopped}");
    let error = soon("a check", lease.ensure_held()).await.unwrap_err();
    assert!(error.is_lost() && error.name() == Some(lease.name()), "{error}");
    assert_eq!(soon("a release", lease.release()).await.unwrap(), Released::WasLost);
}

/// It is held, and has been all the time.
pub(crate) async fn must_be_held(lease: Lease) {
    assert_eq!(lease.state(), LeaseState::Held);
    soon("a check", lease.ensure_held()).await.unwrap();
    assert_eq!(soon("a release", lease.release()).await.unwrap(), Released::Released);
}

/// Looks at a state until it is so, at the latest then.
pub(crate) async fn until_state(lease: &Lease, state: LeaseState, limit: Duration) {
    let begun = Instant::now();
    while lease.state() != state {
        let found = lease.state();
        assert!(begun.elapsed() < limit, "{found:?} and not {state:?} after {limit:?}");
        tokio::time::sleep(millis(5)).await;
    }
}

/// Kills a session, or what it is doing, if it is still there.
pub(crate) async fn kill(server: &Server, what: &str, id: u64) {
    let mut connection = server.connect().await;
    let kill = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("KILL {what} {id}")));
    drop(kill.execute(&mut connection).await);
}

/// Kills the sessions of everybody.
pub(crate) async fn kill_all(server: &Server) {
    kill_all_but(server, &[0]).await;
}

pub(crate) async fn kill_all_but(server: &Server, ids: &[u64]) {
    let ids = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let others = format!(
        "SELECT GROUP_CONCAT(ID) FROM information_schema.processlist \
         WHERE USER = 'root' AND ID NOT IN ({ids})"
    );
    let others: Option<String> = server.scalar(&others).await;
    for id in others.unwrap_or_default().split(',').filter(|id| !id.is_empty()) {
        kill(server, "CONNECTION", id.parse().unwrap()).await;
    }
}
