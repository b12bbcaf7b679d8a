//! Rows 5 to 7 and 14: servers that die, stand still, restart, and cap what they are asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{ErrorKind, LeaseState, Locks};

use crate::{
    server::Server,
    sessions::{SLACK, connect, millis, name, secs, soon, until_clean, until_waiters, url},
    stage::{Section, Stage},
};

const TTL: Duration = Duration::from_secs(3);
/// How many leases are hit at once: each is a run.
const LEASES: usize = 8;
/// By the next heartbeat, as is asked for below: the server is not slow, it is gone.
const TOLD: Duration = Duration::from_millis(250);

fn rounds(stage: &Stage) -> usize {
    stage.runs.div_ceil(LEASES)
}

fn ran(stage: &Stage, runs: usize) {
    (0..runs).for_each(|_| stage.ran());
}

/// What a server's death does: leases are lost and told, waits go on when it is back.
async fn die_and_come_back(stage: &Stage, server: &Server, end: fn(&Server)) {
    let url = url(server, "ttl=30&heartbeat=250ms&connect_timeout=60");
    for _ in 0..rounds(stage) {
        // A server's tokens start with the second of its own start.
        tokio::time::sleep(millis(1100)).await;
        let (one, two) = (connect(&url).await, connect(&url).await);
        let mut leases = Vec::new();
        for _ in 0..LEASES {
            let name = name("restart");
            let section = Section::lock(stage, &one, &name).await;
            leases.push((section.told(), section, Section::spawn(stage, &two, &name)));
            until_waiters(server, leases.last().unwrap().1.lease.name().to_string().as_str(), 1)
                .await;
        }
        let ended = Instant::now();
        // Blocks until it is gone: the tasks go on, on the other threads.
        tokio::task::block_in_place(|| end(server));
        let gone = Instant::now();
        tokio::task::block_in_place(|| server.restart());
        let back = Instant::now();
        for (told, section, wait) in leases {
            let told = soon("the loss", told).await.unwrap();
            // A graceful end takes its time, and closes connections at some point in it.
            let since = if told < gone { ended } else { gone };
            stage.took_at_most("told", told.saturating_duration_since(since), TOLD + SLACK);
            section.bury(stage).await;
            let next = soon("the wait", wait).await.unwrap().unwrap();
            stage.took_at_most(
                "waits go on, after the server listens",
                next.at.saturating_duration_since(back),
                SLACK,
            );
            let name = next.lease.name().to_string();
            next.release().await;
            until_clean(server, &[&name], SLACK).await;
        }
        soon("closing", async { tokio::join!(one.close(), two.close()) }).await;
        ran(stage, LEASES);
    }
    stage.judge(2 * stage.runs, Some(TOLD + SLACK));
}

pub(crate) async fn killed(stage: Arc<Stage>) {
    let server = Server::start(stage.kind());
    die_and_come_back(&stage, &server, Server::kill).await;
}

pub(crate) async fn restarted(stage: Arc<Stage>) {
    let server = Server::start(stage.kind());
    die_and_come_back(&stage, &server, Server::terminate).await;
}

/// Doubt, and no loss.
pub(crate) async fn stopped_briefly(stage: Arc<Stage>) {
    let server = Server::start(stage.kind());
    let locks = connect(url(&server, "ttl=6&heartbeat=250ms")).await;
    for _ in 0..rounds(&stage) {
        let mut leases = Vec::new();
        for _ in 0..LEASES {
            let section = Section::lock(&stage, &locks, &name("stopped")).await;
            leases.push((section.told(), section));
        }
        tokio::task::block_in_place(|| server.stop_signal());
        tokio::time::sleep(secs(3)).await;
        server.cont();
        let resumed = Instant::now();
        for (told, section) in leases {
            soon("the end of the doubt", async {
                while section.lease.state() == LeaseState::Suspended {
                    tokio::time::sleep(millis(1)).await;
                }
            })
            .await;
            stage.took_at_most("held again, after CONT", resumed.elapsed(), SLACK);
            let state = section.lease.state();
            stage.check(state == LeaseState::Held, || format!("a false loss: {state:?}"));
            stage.check(!told.is_finished(), || "a false loss was told".to_owned());
            told.abort();
            section.release().await;
        }
        ran(&stage, LEASES);
    }
    stage.judge(stage.runs, None);
}

/// A loss, in time; and the server's backlog keeps nobody waiting.
pub(crate) async fn stopped_for_long(stage: Arc<Stage>) {
    let server = Server::start(stage.kind());
    let locks = connect(url(&server, "ttl=3&heartbeat=250ms")).await;
    for _ in 0..rounds(&stage) {
        let mut leases = Vec::new();
        for _ in 0..LEASES {
            let section = Section::lock(&stage, &locks, &name("stopped")).await;
            leases.push((section.told(), section));
        }
        tokio::task::block_in_place(|| server.stop_signal());
        let stopped = Instant::now();
        // The last answer may have been on its way.
        tokio::time::sleep(millis(300)).await;
        let mut names = Vec::new();
        for (told, section) in leases {
            let until = section.lease.valid_until().unwrap().into_std();
            // Nothing that was sent after STOP has been answered, and an answer is good for nine tenths.
            let most = stopped + TTL * 9 / 10;
            stage.check(until <= most, || format!("vouched for {:?} too long", until - most));
            let told = soon("the loss", told).await.unwrap();
            stage.check(told >= until, || format!("told {:?} too early", until - told));
            let late = told.saturating_duration_since(until);
            stage.took_at_most("told, after valid_until", late, secs(1));
            stage.took("told, after STOP", told - stopped);
            // By the server's clock the lease goes on for a tenth of the ttl.
            let margin = (stopped + TTL).saturating_duration_since(told);
            stage.took("told before the ttl is over by", margin);
            names.push(section.lease.name().to_string());
            section.bury(&stage).await;
        }
        tokio::time::sleep_until((stopped + 2 * TTL).into()).await;
        server.cont();
        let resumed = Instant::now();
        for name in &names {
            let section = Section::lock(&stage, &locks, name).await;
            stage.took_at_most("the next lock, after CONT", section.at - resumed, SLACK);
            section.release().await;
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        until_clean(&server, &names, SLACK).await;
        ran(&stage, LEASES);
    }
    stage.judge(2 * stage.runs, None);
}

/// A server that ends sessions sooner than they are heard of is found out when it is connected to.
pub(crate) async fn capped(stage: Arc<Stage>) {
    const ASKED: u64 = 30;
    let caps = (3..ASKED).rev().take(stage.runs);
    for cap in caps {
        let option = format!("--maximum-wait-timeout={cap}");
        let server = tokio::task::block_in_place(|| Server::start_with(stage.kind(), &[&option]));
        let begun = Instant::now();
        match Locks::connect(url(&server, &format!("ttl={ASKED}"))).await {
            Ok(_) => stage.violation(format!("ttl={ASKED} is taken with a cap of {cap}")),
            Err(e) => {
                let text = e.to_string();
                let is_typed = e.kind() == ErrorKind::Unsupported
                    && text.contains(&cap.to_string())
                    && text.contains(&ASKED.to_string());
                stage.check(is_typed, || format!("have and need are not told: {e:?}"));
            }
        }
        stage.took_at_most("refused", begun.elapsed(), SLACK);
        let locks = connect(url(&server, &format!("ttl={cap}"))).await;
        Section::lock(&stage, &locks, "fits").await.release().await;
        stage.ran();
    }
}

/// The probes are what keeps a session: nobody uses it, and no lease is lost.
pub(crate) async fn idle(stage: Arc<Stage>) {
    let server = Server::start(stage.kind());
    let long = secs(if stage.runs > 10 { 60 } else { 10 });
    let run = async |_| {
        let locks = connect(url(&server, "ttl=3")).await;
        let section = Section::lock(&stage, &locks, &name("idle")).await;
        let told = section.told();
        tokio::time::sleep(long).await;
        stage.check(!told.is_finished(), || "a false loss".to_owned());
        told.abort();
        section.release().await;
    };
    stage.each(stage.runs, run).await;
    stage.note(format!("for {long:?} each"));
    stage.judge(stage.runs, None);
}
