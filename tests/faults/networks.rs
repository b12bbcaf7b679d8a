//! Rows 8 to 11: networks that are cut without a word, slow, or deaf on one side.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, Once,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use keyward::{ErrorKind, Locks, Released};

use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server},
    sessions::{
        SLACK, connect, millis, name, secs, soon, tcp_url, until_clean, until_waiters, url,
    },
    stage::{Section, Stage},
    worker::Worker,
};

const OPTIONS: &str = "ttl=3&heartbeat=250ms&connect_timeout=2";
const TTL: Duration = Duration::from_secs(3);

/// Where what is left behind must go by itself, and not by the end of a ttl.
const LONG: &str = "ttl=60&heartbeat=250ms&connect_timeout=2";

/// How late everything is, each way, on some of the networks that are cut. An answer proves what was so
/// when it was asked for: who counts from the answer is told too late by two of these, which is more than
/// the tenth of the ttl that is kept in hand.
const LATE: Duration = Duration::from_millis(600);

/// Locks over a network of their own.
async fn apart(server: &Server, options: &str) -> (Proxy, Locks) {
    let proxy = Proxy::start(Target::Port(server.port()));
    let locks = connect(tcp_url(proxy.port(), options)).await;
    (proxy, locks)
}

/// Told before the server can give the lock to somebody else.
pub(crate) async fn holder_cut(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let run = async |i| {
        let (proxy, cut) = apart(server, OPTIONS).await;
        let other = connect(url(server, OPTIONS)).await;
        let name = name("cut");
        let section = Section::lock(&stage, &cut, &name).await;
        let told = section.told();
        let wait = Section::spawn(&stage, &other, &name);
        until_waiters(server, &name, 1).await;
        // At any point between two heartbeats.
        tokio::time::sleep(millis(i as u64 * 37 % 300)).await;
        if i % 4 == 3 {
            proxy.delay(LATE);
            // Then the time between two heartbeats is longer, and again it is at any point of it.
            tokio::time::sleep(4 * LATE + millis(i as u64 * 211 % 1500)).await;
        }
        proxy.silence();
        let since = Instant::now();
        let told = soon("the loss", told).await.unwrap();
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most("told", told - since, TTL + SLACK);
        stage.took_at_most("takeover", next.at - since, TTL + SLACK);
        stage.took("from told to takeover", next.at.saturating_duration_since(told));
        drop(proxy);
        section.bury(&stage).await;
        next.release().await;
        until_clean(server, &[&name], TTL + SLACK).await;
    };
    stage.each(30, run).await;
    stage.judge(2 * stage.runs, None);
}

/// A network namespace, joined to ours by a pair of interfaces; gone with the value.
struct Namespace {
    name: String,
    ours: String,
    theirs: String,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(Self::sweep);
        let (name, subnet) = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let id = std::process::id().wrapping_add(count);
            // 198.18.0.0/15 is for tests of networks: no machine has it for anything else.
            let subnet = format!("198.{}.{}", 18 + (id >> 8) % 2, id % 256);
            if ip(&["route", "show", "root", &format!("{subnet}.0/24")])?.is_empty() {
                break (format!("kw{}-{count}", std::process::id()), subnet);
            }
        };
        let (ours, theirs) = (format!("{subnet}.1"), format!("{subnet}.2"));
        let this = Self { name, ours, theirs };
        let (name, veth) = (this.name.as_str(), format!("{}v", this.name));
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["addr", "add", &format!("{}/24", this.ours), "dev", &veth])?;
        ip(&["link", "set", &veth, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{}/24", this.theirs), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(this)
    }

    /// Removes what was left by tests that were killed.
    fn sweep() {
        for name in ip(&["netns", "list"]).unwrap_or_default().split_whitespace() {
            let pid = name.strip_prefix("kw").and_then(|rest| rest.split_once('-'));
            if pid.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
                ip(&["netns", "del", name]).ok();
            }
        }
        // Those of others are of other networks.
        for route in ip(&["route", "show", "type", "blackhole"]).unwrap_or_default().lines() {
            let target = route.trim_start_matches("blackhole").trim();
            let is_alone = target.starts_with("198.1")
                && ip(&[
                    "route", "show", "to", "match", target, "type", "unicast", "scope", "link",
                ])
                .is_ok_and(|routes| routes.is_empty());
            if is_alone {
                ip(&["route", "del", "blackhole", target]).ok();
            }
        }
    }

    /// What is sent on either side is gone, and nobody is told.
    fn cut(&self) {
        ip(&["route", "add", "blackhole", &format!("{}/32", self.theirs)]).unwrap();
        ip(&["-n", &self.name, "route", "add", "blackhole", &format!("{}/32", self.ours)]).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(std::env::current_exe().unwrap());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["route", "del", "blackhole", &format!("{}/32", self.theirs)]).ok();
        ip(&["link", "del", &format!("{}v", self.name)]).ok();
        ip(&["netns", "del", &self.name]).ok();
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(args).output().map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// The same with a real network, whose end is not ours to see: a proxy still acknowledges.
pub(crate) async fn holder_in_a_blackhole(stage: Arc<Stage>) {
    if let Err(e) = Namespace::new() {
        return stage.not_run(format!("no network namespace is to be had: {e}"));
    }
    let server = Server::start_with(stage.kind(), &["--bind-address=0.0.0.0"]);
    server.query("CREATE USER far@'198.%'").await;
    let run = async |_| {
        let namespace = Namespace::new().unwrap();
        let far = format!("mysql://far@{}:{}/?{OPTIONS}", namespace.ours, server.port());
        let other = connect(url(&server, OPTIONS)).await;
        let name = name("hole");
        let mut worker = Worker::start_as(namespace.command(), &stage, &far).await;
        worker.lock(&name).await;
        let wait = Section::spawn(&stage, &other, &name);
        until_waiters(&server, &name, 1).await;
        let since = (Instant::now(), crate::oracle::now());
        namespace.cut();
        worker.tell("told");
        let answer = worker.answer().await;
        let told: u64 = answer.split(' ').next().unwrap().parse().unwrap();
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most("told", Duration::from_nanos(told - since.1), TTL + SLACK);
        stage.took_at_most("takeover", next.at - since.0, TTL + SLACK);
        next.release().await;
        until_clean(&server, &[&name], TTL + SLACK).await;
    };
    stage.each(5, run).await;
    stage.judge(2 * stage.runs, None);
}

/// The server may give it what it waits for, and finds out later.
pub(crate) async fn waiter_cut(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let run = async |_| {
        let (proxy, cut) = apart(server, OPTIONS).await;
        let (holder, other) =
            (connect(url(server, OPTIONS)).await, connect(url(server, OPTIONS)).await);
        let name = name("cut");
        let held = Section::lock(&stage, &holder, &name).await;
        let lost_wait = Section::spawn(&stage, &cut, &name);
        until_waiters(server, &name, 1).await;
        proxy.silence();
        let released = held.release().await;
        let next = Section::lock(&stage, &other, &name).await;
        stage.took_at_most("release to the next grant", next.at - released, TTL + SLACK);
        next.release().await;
        // Whoever waits behind the cut gives up, or gets it when he can ask again.
        lost_wait.abort();
        drop(proxy);
        until_clean(server, &[&name], TTL + SLACK).await;
    };
    stage.each(20, run).await;
    stage.judge(2 * stage.runs, None);
}

/// Nothing is lost that was not lost, and exclusion is as always.
pub(crate) async fn slow(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let long = secs(if stage.runs > 10 { 30 } else { 10 });
    let unconfirmed = AtomicU32::new(0);
    let run = async |i| {
        let (proxy, locks) = apart(server, "ttl=5&connect_timeout=20").await;
        let name = name("slow");
        let slowly = async {
            for packet in 0_u64.. {
                proxy.delay(millis(if (packet + i as u64).is_multiple_of(20) { 800 } else { 200 }));
                tokio::time::sleep(millis(50)).await;
            }
        };
        let use_it = async {
            let asked = Instant::now();
            let section = Section::lock(&stage, &locks, &name).await;
            stage.took_at_most("a lock", section.at - asked, secs(20));
            let told = section.told();
            tokio::time::sleep(long).await;
            stage.check(!told.is_finished(), || "a false loss".to_owned());
            told.abort();
            match section.release_slowly().await {
                Ok(Released::Released) => {}
                Ok(Released::WasLost) => stage.violation("a release was mistaken for a loss"),
                // Which is no loss: see `a_release_behind_another_question_is_confirmed`.
                Err(e) if e.kind() == ErrorKind::Unavailable => {
                    unconfirmed.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) => stage.violation(e.to_string()),
            }
        };
        tokio::select! {
            () = slowly => {}
            () = use_it => {}
        }
        until_clean(server, &[&name], secs(20)).await;
    };
    stage.each(20, run).await;
    stage.note(format!("held for {long:?} each"));
    stage.note(format!("{} releases not confirmed in time", unconfirmed.into_inner()));
    stage.judge(stage.runs, None);
}

/// The server answers everything within 2 s, which is what an answer may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_behind_another_question_is_confirmed() {
    let server = Kind::mariadb().shared();
    let (proxy, locks) = apart(server, "ttl=30").await;
    let lease = Arc::new(locks.lock_named(name("behind")).await.unwrap());
    // The release takes two round trips, since its statement is prepared first.
    proxy.delay(millis(400));
    let asking = Arc::clone(&lease);
    let question = tokio::spawn(async move { asking.ensure_held().await.map(|()| drop(asking)) });
    while Arc::strong_count(&lease) == 1 {
        tokio::task::yield_now().await;
    }
    // The question is on its way for 0.8 s.
    tokio::time::sleep(millis(100)).await;
    question.abort();
    assert!(question.await.unwrap_err().is_cancelled());
    let released = Arc::into_inner(lease).unwrap().release().await;
    assert_eq!(released.unwrap(), Released::Released);
}

/// Whoever held until he released has lost nothing, whatever becomes of the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_answered_late_is_no_loss() {
    let server = Kind::mariadb().shared();
    let releases = (0..20).map(|_| async {
        let (proxy, locks) = apart(server, "ttl=30").await;
        let lease = locks.lock_named(name("late")).await.unwrap();
        lease.ensure_held().await.unwrap();
        proxy.delay(millis(1500));
        lease.release().await
    });
    for released in futures::future::join_all(releases).await {
        assert_ne!(released.ok(), Some(Released::WasLost));
    }
}

/// The server does as it is told, and the client never hears of it: what may have been had is undone.
pub(crate) async fn half_open(stage: Arc<Stage>) {
    let server = stage.kind().shared();
    let run = async |i| {
        let (proxy, deaf) = apart(server, LONG).await;
        let other = connect(url(server, LONG)).await;
        let name = name("deaf");
        // So that there is a session, and the request goes out.
        Section::lock(&stage, &deaf, &name).await.release().await;
        proxy.silence_to_client();
        let begun = Instant::now();
        let asked = deaf.lock_named(&*name);
        let asked = if i % 2 == 0 { asked.timeout(secs(1)) } else { asked.blocking(false) };
        let got = tokio::time::timeout(secs(20), asked.into_future()).await;
        stage.check(matches!(got, Ok(Err(_))), || format!("a deaf client has {got:?}"));
        stage.took("the error, after asking", begun.elapsed());
        let failed = Instant::now();
        let next = Section::lock(&stage, &other, &name).await;
        stage.took_at_most("the next grant, after the error", next.at - failed, SLACK);
        next.release().await;
        drop(proxy);
        until_clean(server, &[&name], SLACK).await;
    };
    stage.each(10, run).await;
    stage.judge(2 * stage.runs, None);
}
