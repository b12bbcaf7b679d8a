//! Rows 1 to 4 and 19: processes that die, stand still, or leave children behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    oracle::now,
    sessions::{SLACK, millis, name, secs, soon},
    stage::{Backend, Section, Stage, Store},
    worker::{Worker, write_fenced},
};

/// Of servers: long, so that it is the end of the connection that frees.
const LONG: &str = "ttl=60";
const SHORT: &str = "ttl=3&heartbeat=250ms";
const TTL: Duration = Duration::from_secs(3);
/// How often each writes who has slept.
const STALE: u64 = 20;

/// The next one has it as soon as the kernel, or the server, sees that the process is gone.
pub(crate) async fn holder_killed(stage: Arc<Stage>) {
    let store = stage.store();
    let locks = store.connect(LONG).await;
    let run = async |i| {
        let name = name("killed");
        let mut worker = Worker::start(&stage, &store.url(LONG)).await;
        // On files, closing what listens is part of the death, and may come before the unlocking.
        let what = if i % 2 == 0 {
            worker.hold(&name).await;
            "takeover"
        } else {
            worker.lock(&name).await;
            "takeover from one who listens for a loss"
        };
        let wait = Section::spawn(&stage, &locks, &name);
        store.until_waiters(&name, 1).await;
        let killed = worker.kill();
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most(what, next.at - killed, SLACK);
        next.release().await;
        store.until_clean(&name, SLACK).await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, None);
}

/// It is not waited for, and nothing of it is left in the store; one release wakes one waiter.
pub(crate) async fn waiter_killed(stage: Arc<Stage>) {
    let store = stage.store();
    let (holder, one, two) =
        (store.connect(LONG).await, store.connect(LONG).await, store.connect(LONG).await);
    let run = async |_| {
        let name = name("killed");
        let held = Section::lock(&stage, &holder, &name).await;
        let mut worker = Worker::start(&stage, &store.url(LONG)).await;
        worker.queue(&name).await;
        store.until_waiters(&name, 1).await;
        let next = Section::spawn(&stage, &one, &name);
        store.until_waiters(&name, 2).await;
        let last = Section::spawn(&stage, &two, &name);
        store.until_waiters(&name, 3).await;
        let killed = worker.kill();
        let released = held.release().await;
        // Of two, either may have come first, in the queue of a server.
        let mut waits = [next, last];
        let first = soon("the next one", async {
            loop {
                if let Some(i) = waits.iter().position(|wait| wait.is_finished()) {
                    return i;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let next = (&mut waits[first]).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant", next.at - released, secs(10));
        stage.check(!waits[1 - first].is_finished(), || "one release has woken two".to_owned());
        next.release().await;
        soon("the last one", &mut waits[1 - first]).await.unwrap().unwrap().release().await;
        store.until_clean(&name, secs(10)).await;
        stage.took("until the store has forgotten it, two holds included", killed.elapsed());
    };
    stage.each(1, run).await;
    stage.judge(3 * stage.runs, None);
}

/// The lease ends after its ttl; who wakes knows before he does anything, and what he writes all the
/// same is refused.
pub(crate) async fn holder_stopped(stage: Arc<Stage>) {
    let store = stage.store();
    let (tried, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
    let run = async |i| {
        let name = name("stopped");
        let register = stage.path().join(format!("register-{i}"));
        let locks = store.connect(SHORT).await;
        let mut worker = Worker::start(&stage, &store.url(SHORT)).await;
        let stale = worker.lock(&name).await;
        stage.check(write_fenced(&register, stale), || "the register is no good".to_owned());
        let wait = Section::spawn(&stage, &locks, &name);
        store.until_waiters(&name, 1).await;
        let stopped = worker.freeze();
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most("takeover", next.at - stopped, TTL + SLACK);
        let token = next.lease.fencing_token().unwrap().get();
        stage.check(write_fenced(&register, token), || "the fence refuses its holder".to_owned());
        tokio::time::sleep_until((stopped + 2 * TTL).into()).await;
        worker.tell(&format!("stale {} {STALE}", register.display()));
        let thawed = now();
        worker.thaw();
        let answer = worker.answer().await;
        let words: Vec<_> = answer.split(' ').collect();
        stage.check(words[0] == "true", || "it was not known before the first write".to_owned());
        let known = words[1].parse::<u64>().unwrap() - thawed;
        stage.took_at_most("known after CONT", Duration::from_nanos(known), SLACK);
        stage.check(words[2] == "0", || format!("{} stale writes accepted", words[2]));
        tried.fetch_add(STALE, Ordering::Relaxed);
        accepted.fetch_add(words[2].parse().unwrap(), Ordering::Relaxed);
        next.release().await;
        assert_eq!(worker.ask("release").await, "WasLost");
        store.until_clean(&name, SLACK).await;
    };
    stage.each(10, run).await;
    let (accepted, tried) = (accepted.into_inner(), tried.into_inner());
    stage.note(format!("{accepted} of {tried} stale writes accepted by the fence"));
    stage.judge(2 * stage.runs, None);
}

/// On files nothing ends a lease of a process that stands: it keeps it, and nobody else has it.
pub(crate) async fn holder_stopped_on_files(stage: Arc<Stage>) {
    let store = stage.store();
    let run = async |_| {
        let name = name("stopped");
        let locks = store.connect("").await;
        let mut worker = Worker::start(&stage, &store.url("")).await;
        worker.lock(&name).await;
        let wait = Section::spawn(&stage, &locks, &name);
        worker.freeze();
        // Longer than a waiter believes in the queue.
        tokio::time::sleep(millis(2500)).await;
        stage.check(!wait.is_finished(), || "a stopped holder has lost its file".to_owned());
        worker.thaw();
        let seen = worker.ask("look").await;
        stage.check(seen == "Held Ok(())", || seen.clone());
        stage.check(!wait.is_finished(), || "who goes on has lost its file".to_owned());
        let told = Instant::now();
        worker.tell("release");
        let next = soon("the turn", wait).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant", next.at - told, SLACK);
        assert_eq!(worker.answer().await, "Released");
        next.release().await;
        store.until_clean(&name, SLACK).await;
    };
    stage.each(5, run).await;
    stage.judge(2 * stage.runs, None);
}

/// It is passed over, and has its turn when it goes on; it never has what it was given while it stood.
pub(crate) async fn waiter_stopped(stage: Arc<Stage>) {
    // Each in a directory of its own: how many wait is asked of all files in it.
    let is_file = matches!(stage.backend, Backend::File);
    let run = async |i| {
        let store = match stage.backend {
            Backend::File => Store::File(stage.path().join(format!("locks-{i}"))),
            _ => stage.store(),
        };
        let name = name("stopped");
        let (holder, other) = (store.connect(SHORT).await, store.connect(SHORT).await);
        let held = Section::lock(&stage, &holder, &name).await;
        let mut worker = Worker::start(&stage, &store.url(SHORT)).await;
        worker.queue(&name).await;
        store.until_waiters(&name, 1).await;
        worker.freeze();
        // The signal ends its wait in the kernel; its place in the queue it keeps.
        let wait = Section::spawn(&stage, &other, &name);
        store.until_waiters(&name, 2 - u64::from(is_file)).await;
        let released = held.release().await;
        let next = soon("the next one", wait).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant", next.at - released, TTL + SLACK);
        worker.thaw();
        let is_silent = worker.is_silent(millis(500)).await;
        stage.check(is_silent, || "it has what it was given while it stood".to_owned());
        next.release().await;
        worker.holds().await;
        assert_eq!(worker.ask("release").await, "Released");
        store.until_clean(&name, SLACK).await;
    };
    stage.each(10, run).await;
    stage.judge(3 * stage.runs, None);
}

/// A program that a holder has started has nothing of its locks.
pub(crate) async fn child_lives_on(stage: Arc<Stage>) {
    let store = stage.store();
    let locks = store.connect(LONG).await;
    let run = async |_| {
        let name = name("spawns");
        let mut worker = Worker::start(&stage, &store.url(LONG)).await;
        worker.lock(&name).await;
        let child = Orphan(worker.ask("spawn").await.parse().unwrap());
        // A program opens files of its own, and has what the tests were started with.
        let is_ours = |open: &String| {
            let ours = [stage.path().to_str().unwrap(), "socket:", "anon_inode:"];
            ours.iter().any(|ours| open.starts_with(ours))
        };
        child.until_it_runs().await;
        let inherited: Vec<_> = open_files(child.0).into_iter().filter(is_ours).collect();
        stage.check(inherited.is_empty(), || format!("the child has {inherited:?}"));
        let has = open_files(worker.id() as i32).iter().any(is_ours);
        stage.check(has, || "the parent has nothing to inherit".to_owned());
        let wait = Section::spawn(&stage, &locks, &name);
        store.until_waiters(&name, 1).await;
        let killed = worker.kill();
        let next = soon("the takeover", wait).await.unwrap().unwrap();
        stage.took_at_most("takeover", next.at - killed, SLACK);
        let is_there = rustix::process::test_kill_process(child.pid()).is_ok();
        stage.check(is_there, || "the child has ended too soon".to_owned());
        next.release().await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, None);
}

/// A program whose parent was killed; it ends with this.
struct Orphan(i32);

impl Orphan {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0).unwrap()
    }

    /// Until it is the other program, with nothing left of the one that it was: its name is changed
    /// after that, and who has started it goes on before.
    async fn until_it_runs(&self) {
        while std::fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap().trim() != "sleep" {
            tokio::task::yield_now().await;
        }
    }
}

/// What the descriptors of a process lead to.
fn open_files(pid: i32) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let leads = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    leads.map(|target| target.display().to_string()).collect()
}

impl Drop for Orphan {
    fn drop(&mut self) {
        kill_process(self.pid(), Signal::KILL).ok();
    }
}
