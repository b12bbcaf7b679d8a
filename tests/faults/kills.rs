//! Row 12: an operator kills sessions, or what they are doing; and a hold that is taken away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use keyward::{LeaseState, Locks, LossReason, memory::MemoryBackend};

use crate::{
    server::Server,
    sessions::{
        SLACK, connect, holder_id, kill, millis, name, soon, until_clean, until_waiters, url,
        waiter_id,
    },
    stage::{Section, Stage},
};

const OPTIONS: &str = "ttl=30&heartbeat=250ms&locks_per_session=1";
const HEARTBEAT: Duration = Duration::from_millis(250);

/// Told by the next heartbeat; the next one has the lock at once.
pub(crate) async fn holder_connection(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let (one, two) = (connect(url(server, OPTIONS)).await, connect(url(server, OPTIONS)).await);
    let run = async |_| {
        let name = name("kill");
        let section = Section::lock(&stage, &one, &name).await;
        let told = section.told();
        let wait = Section::spawn(&stage, &two, &name);
        until_waiters(server, &name, 1).await;
        let id = holder_id(server, &name).await;
        let killed = Instant::now();
        server.kill_connection(id).await;
        let told = soon("the loss", told).await.unwrap();
        stage.took_at_most("told", told - killed.min(told), HEARTBEAT + SLACK);
        let reason = section.lease.state();
        stage.check(reason == LeaseState::Lost(LossReason::Closed), || format!("{reason:?}"));
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most("takeover", next.at - killed.min(next.at), SLACK);
        section.bury(&stage).await;
        next.release().await;
        until_clean(server, &[&name], SLACK).await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, Some(HEARTBEAT + SLACK));
}

/// It stops what the session does, and takes no lock away.
pub(crate) async fn holder_query(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let locks = connect(url(server, OPTIONS)).await;
    let run = async |_| {
        let name = name("kill");
        let section = Section::lock(&stage, &locks, &name).await;
        let told = section.told();
        let id = holder_id(server, &name).await;
        // Often enough to hit what it does.
        let kills = async {
            for _ in 0..5 {
                server.kill_query(id).await;
            }
        };
        let checks = async {
            for _ in 0..20 {
                let checked = section.lease.ensure_held().await;
                stage.check(checked.is_ok(), || format!("{checked:?}"));
            }
        };
        tokio::join!(kills, checks);
        stage.check(!told.is_finished(), || "a false loss".to_owned());
        told.abort();
        section.release().await;
        until_clean(server, &[&name], SLACK).await;
    };
    stage.each(1, run).await;
    stage.judge(stage.runs, None);
}

async fn other_waiter(server: &Server, name: &str, than: u64) {
    soon("another session", async {
        while waiter_id(server, name).await.is_none_or(|id| id == than) {
            tokio::time::sleep(millis(2)).await;
        }
    })
    .await;
}

/// It goes on waiting, and never takes the end of its question for the lock.
pub(crate) async fn waiter(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let (one, two) = (connect(url(server, OPTIONS)).await, connect(url(server, OPTIONS)).await);
    let run = async |i| {
        let name = name("kill");
        let section = Section::lock(&stage, &one, &name).await;
        let wait = Section::spawn(&stage, &two, &name);
        until_waiters(server, &name, 1).await;
        let id = waiter_id(server, &name).await.unwrap();
        let killed = Instant::now();
        if i % 2 == 0 {
            kill(server, "CONNECTION", id).await;
            other_waiter(server, &name, id).await;
            stage.took("waits again, after KILL CONNECTION", killed.elapsed());
        } else {
            kill(server, "QUERY", id).await;
            until_waiters(server, &name, 1).await;
            stage.took("waits again, after KILL QUERY", killed.elapsed());
        }
        stage.check(!wait.is_finished(), || "a killed wait was taken for the lock".to_owned());
        let released = section.release().await;
        let next = soon("the turn", wait).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant", next.at - released, SLACK);
        next.release().await;
        until_clean(server, &[&name], SLACK).await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, None);
}

/// In memory, where a test can do so.
pub(crate) async fn memory_lost(stage: Arc<Stage>) {
    let backend = MemoryBackend::new();
    let faults = backend.faults();
    let locks = Locks::builder().backend(backend);
    let run = async |_| {
        let name = name("taken");
        let section = Section::lock(&stage, &locks, &name).await;
        let told = section.told();
        let wait = Section::spawn(&stage, &locks, &name);
        while locks.inspect(&*name).await.unwrap().waiters == 0 {
            tokio::task::yield_now().await;
        }
        let lost = Instant::now();
        assert_eq!(faults.lose(&*name, LossReason::Closed), 1);
        let told = soon("the loss", told).await.unwrap();
        stage.took_at_most("told", told - lost, SLACK);
        stage.check(section.lease.lost().now_or_never().is_some(), || "not told".to_owned());
        section.bury(&stage).await;
        soon("the turn", wait).await.unwrap().unwrap().release().await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, None);
}
