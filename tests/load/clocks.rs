//! Row 21: clocks that are set, on either side, by a day; and one that stands still while the machine
//! goes on, as a suspended one's does.
//!
//! Debian's `libfaketime` is between a process and the C library's clocks; what the process asks the kernel
//! by itself, as keyward does for the time that counts sleep, goes past it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::Locks;

use crate::{
    server::Server,
    sessions::{SLACK, millis, name, soon, until_clean, url},
    stage::{Backend, Section, Stage},
    worker::Worker,
};

const OPTIONS: &str = "ttl=3&heartbeat=500ms";
const TTL: Duration = Duration::from_secs(3);

const DAY: u64 = 24 * 3600;

/// Where Debian has it.
fn library() -> PathBuf {
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|arch| PathBuf::from(format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1")))
        .into_iter()
        .find(|path| path.exists());
    found.expect("this row sets clocks: apt-get install libfaketime")
}

/// A clock that is set by a file.
struct Clock(PathBuf);

impl Clock {
    fn new(dir: &Path) -> Self {
        let this = Self(dir.join("clock"));
        this.set("+0");
        this
    }

    /// As libfaketime reads it: `+1d` is tomorrow, `+0 x0.1` a tenth of the speed.
    fn set(&self, time: &str) {
        // Renamed, or somebody would read half of it.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{time}\n")).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    /// What makes a process look at it; the monotonic clock too, or only the one on the wall.
    fn environment(&self, monotonic: bool) -> Vec<(&'static str, String)> {
        let stays = if monotonic { "0" } else { "1" };
        vec![
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", stays.to_owned()),
            ("DONT_FAKE_MONOTONIC", stays.to_owned()),
        ]
    }
}

/// What libfaketime keeps in memory for each process, and leaves there if the process is killed. It goes with
/// this: the process has opened it, and needs its name no more.
struct Faked(u32);

impl Drop for Faked {
    fn drop(&mut self) {
        for what in ["faketime_shm", "sem.faketime_sem"] {
            drop(fs::remove_file(format!("/dev/shm/{what}_{}", self.0)));
        }
    }
}

async fn worker(stage: &Stage, clock: &Clock, monotonic: bool) -> (Worker, Faked) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.envs(clock.environment(monotonic));
    let worker = Worker::start_as(command, stage, &stage.url(OPTIONS)).await;
    let faked = Faked(worker.id());
    (worker, faked)
}

async fn wall(worker: &mut Worker) -> i64 {
    worker.ask("clock").await.parse().unwrap()
}

/// The client's clock goes to tomorrow and to yesterday: nothing ends early, nothing late.
pub(crate) async fn client_set(stage: Arc<Stage>) {
    let other = Locks::connect(stage.url(OPTIONS)).await.unwrap();
    let run = async |i: usize| {
        let clock = Clock::new(stage.path());
        let (held, wanted) = (name("held"), name("wanted"));
        let (mut holder, _faked) = worker(&stage, &clock, false).await;
        let (mut waiter, _faked_too) = worker(&stage, &clock, false).await;
        let mine = Section::lock(&stage, &other, &wanted).await;
        holder.lock(&held).await;
        let before = wall(&mut holder).await;
        let (first, second) = if i.is_multiple_of(2) { ("+1d", "-1d") } else { ("-1d", "+1d") };
        let sign = if i.is_multiple_of(2) { 1 } else { -1 };
        // A limit that the clock is set in the middle of, twice.
        let limit = millis(1_500);
        waiter.tell(&format!("within {wanted} {}", limit.as_millis()));
        tokio::time::sleep(millis(400)).await;
        clock.set(first);
        tokio::time::sleep(millis(400)).await;
        let jumped = (wall(&mut holder).await - before) * sign;
        stage.check(jumped.abs_diff(DAY.cast_signed()) < 60, || format!("it went {jumped} s on"));
        clock.set(second);
        let said = soon("the limit", waiter.answer()).await;
        let (kind, took) = said.split_once(' ').unwrap();
        let took = millis(took.parse().unwrap());
        let is_right = kind == "TimedOut" && took + millis(2) >= limit;
        stage.check(is_right, || format!("{kind} after {took:?}, not {limit:?}"));
        stage.took_at_most("beyond its limit", took.saturating_sub(limit), SLACK);
        // Longer than any lease of it lasts by itself.
        tokio::time::sleep(TTL + millis(500)).await;
        let state = holder.ask("look").await;
        stage.check(state == "Held Ok(())", || format!("the holder: {state}"));
        let busy = other.try_lock_named(&held).await.map(drop);
        stage.check(busy.is_err(), || "somebody else can have it".to_owned());
        mine.release().await;
        let released = holder.ask("release").await;
        stage.check(released == "Released", || format!("its release: {released}"));
        let next = Section::lock(&stage, &other, &held).await;
        next.release().await;
    };
    stage.each(1, run).await;
    stage.judge(3 * stage.runs, None);
}

/// The same with the server's clock.
pub(crate) async fn server_set(stage: Arc<Stage>) {
    let clock = Clock::new(stage.path());
    let mut wrap = vec!["env".to_owned()];
    wrap.extend(clock.environment(false).into_iter().map(|(name, it)| format!("{name}={it}")));
    let wrap: Vec<_> = wrap.iter().map(String::as_str).collect();
    let server = Server::start_within(stage.kind(), &wrap, &[]);
    let _faked = Faked(server.pid().as_raw_nonzero().get().unsigned_abs());
    let connect = async || Locks::connect(url(&server, OPTIONS)).await.unwrap();
    let (one, two) = (connect().await, connect().await);
    let clock_of = async || -> i64 { server.scalar("SELECT UNIX_TIMESTAMP()").await.unwrap() };
    let run = async |i: usize| {
        let name = name("set");
        clock.set("+0");
        let before = clock_of().await;
        let section = Section::lock(&stage, &one, &name).await;
        let told = section.told();
        let wait = Section::spawn(&stage, &two, &name);
        soon("a wait", async {
            while server.waiters(name.as_bytes()).await == 0 {
                tokio::time::sleep(millis(5)).await;
            }
        })
        .await;
        let (first, second) = if i.is_multiple_of(2) { ("+1d", "-1d") } else { ("-1d", "+1d") };
        let sign = if i.is_multiple_of(2) { 1 } else { -1 };
        clock.set(first);
        tokio::time::sleep(TTL).await;
        let jumped = (clock_of().await - before) * sign;
        stage.check(jumped.abs_diff(DAY.cast_signed()) < 60, || format!("it went {jumped} s on"));
        clock.set(second);
        tokio::time::sleep(millis(if stage.runs > 1 { 3_000 } else { 500 })).await;
        stage.check(!told.is_finished(), || "a loss that was none".to_owned());
        let state = section.lease.ensure_held().await;
        stage.check(state.is_ok(), || format!("{state:?}"));
        stage.check(!wait.is_finished(), || "granted while it is held".to_owned());
        let limit = Instant::now();
        let late = two.lock_named(&name).timeout(millis(300)).await.map(drop);
        let took = limit.elapsed();
        let is_late = late.as_ref().is_err_and(keyward::Error::is_timed_out);
        stage.check(is_late && took >= millis(299), || format!("{late:?} after {took:?}"));
        let released = section.release().await;
        let next = soon("the next one", wait).await.unwrap().unwrap();
        stage.took_at_most("from a release to the next grant", next.at - released, SLACK);
        next.release().await;
        until_clean(&server, &[&name], SLACK).await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, None);
    futures::join!(one.close(), two.close());
}

/// Tokio's clock and the wall's go on at a twentieth of their speed, and the machine's that counts sleep as
/// ever: heartbeats come too late, and the lease ends before somebody else's begins.
pub(crate) async fn client_stands(stage: Arc<Stage>) {
    let other = Locks::connect(stage.url(OPTIONS)).await.unwrap();
    let is_server = matches!(stage.backend, Backend::MySql(_));
    let run = async |_| {
        let clock = Clock::new(stage.path());
        let name = name("suspended");
        clock.set("+0 x0.05");
        let (mut holder, _faked) = worker(&stage, &clock, true).await;
        let begun = Instant::now();
        holder.lock(&name).await;
        if !is_server {
            // Nothing of it has an end.
            tokio::time::sleep(TTL).await;
            let state = holder.ask("look").await;
            stage.check(state == "Held Ok(())", || format!("the holder: {state}"));
            assert_eq!(holder.ask("release").await, "Released");
            Section::lock(&stage, &other, &name).await.release().await;
            return;
        }
        let next = Section::lock(&stage, &other, &name).await;
        stage.took_at_most("takeover", next.at - begun, TTL + SLACK);
        let told = soon("the news", holder.ask("told")).await;
        let (told, reason) = told.split_once(' ').unwrap();
        let late = crate::oracle::now().saturating_sub(told.parse().unwrap());
        stage.took("it has known for", Duration::from_nanos(late));
        stage.check(reason == "Expired", || format!("lost because of {reason}"));
        let state = holder.ask("look").await;
        stage.check(state == "Lost(Expired) Err(true)", || format!("the holder: {state}"));
        next.release().await;
    };
    stage.each(1, run).await;
    stage.judge(stage.runs, None);
}
