//! Row 31: many processes that want one name.
//!
//! First all of them wait for it, and it is given from one to the next by hand: who runs at a release? And
//! what does it cost to wait? Then all of them lock and unlock as fast as they can: does each have its
//! share?

use std::{
    env,
    io::stdin,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use keyward::{FencingToken, Locks};

use crate::{
    measure::{jain, ran},
    oracle::Journal,
    process::{Process, answer, die_with_the_parent, lines},
    sessions::{millis, secs, soon},
    stage::{Section, Stage},
};

const URL: &str = "KEYWARD_LOAD_HERD";
const JOURNAL: &str = "KEYWARD_LOAD_JOURNAL";

/// For how long the name is held while all of them want it.
const HOLD: Duration = Duration::from_millis(2);

/// How many releases are watched one by one.
const WATCHED: usize = 20;

/// Between two of them, so that who is woken has run when it is looked at.
const PAUSE: Duration = Duration::from_millis(60);

/// The process's side, within its entry test: `lock`, `release`, and `churn SECONDS`.
pub(crate) fn run() {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let journal = Journal::open(Path::new(&env::var_os(JOURNAL).unwrap()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut commands = lines(stdin());
        let locks = Locks::connect(url).await.unwrap();
        answer("ready");
        let mut held = None;
        while let Some(command) = commands.recv().await {
            match command.split(' ').collect::<Vec<_>>()[..] {
                ["lock"] => {
                    let turn = journal.asked("herd");
                    let lease = locks.lock_named("herd").await.unwrap();
                    turn.granted(lease.fencing_token().map(FencingToken::get));
                    answer("held");
                    held = Some((lease, turn));
                }
                ["release"] => {
                    let (lease, turn) = held.take().unwrap();
                    turn.left();
                    lease.release().await.unwrap();
                    answer("released");
                }
                ["churn", seconds] => {
                    let until = Instant::now() + secs(seconds.parse().unwrap());
                    let (mut count, mut longest) = (0, Duration::ZERO);
                    while Instant::now() < until {
                        let (turn, begun) = (journal.asked("herd"), Instant::now());
                        let lease = locks.lock_named("herd").await.unwrap();
                        longest = longest.max(begun.elapsed());
                        turn.granted(lease.fencing_token().map(FencingToken::get));
                        tokio::time::sleep(HOLD).await;
                        turn.left();
                        lease.release().await.unwrap();
                        // Who is late had his last turn begun in time, as all the others.
                        count += u64::from(begun < until);
                    }
                    answer(format_args!("{count} {}", longest.as_micros()));
                }
                _ => panic!("{command} is no command"),
            }
        }
    });
}

async fn start(stage: &Stage, url: &str) -> Process {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(URL, url).env(JOURNAL, stage.journal.path());
    let mut process = Process::start(command);
    assert_eq!(process.answer().await, "ready");
    process
}

/// What is in the middle.
fn median(mut of: Vec<usize>) -> usize {
    of.sort_unstable();
    of[of.len() / 2]
}

pub(crate) async fn of_processes(stage: Arc<Stage>) {
    let count = stage.runs;
    let url = stage.url("ttl=30");
    let locks = Locks::connect(&*url).await.unwrap();
    let section = Section::lock(&stage, &locks, "herd").await;
    let starts = stream::iter(0..count).map(|_| start(&stage, &url));
    let mut herd: Vec<_> = starts.buffered(8).collect().await;
    // One after the other, so that their order is known.
    for (i, one) in herd.iter_mut().enumerate() {
        one.tell("lock");
        stage.store().until_waiters("herd", i as u64 + 1).await;
    }
    let pids: Vec<_> = herd.iter().map(Process::id).collect();
    let look = || pids.iter().map(|&pid| ran(pid)).collect::<Vec<_>>();

    // What it costs to wait.
    let watched = Duration::from_secs(if count > 20 { 5 } else { 1 });
    tokio::time::sleep(millis(500)).await;
    let before = look();
    tokio::time::sleep(watched).await;
    let after = look();
    let (mut busy, mut turns) = (Duration::ZERO, 0);
    for (before, after) in before.iter().zip(&after) {
        (busy, turns) = (busy + (after.0 - before.0), turns + after.1 - before.1);
    }
    let waits = count as f64 * watched.as_secs_f64();
    let (cpu, wakes) = (busy.as_secs_f64() / waits * 100.0, turns as f64 / waits);

    // Who runs at a release.
    let released = section.release().await;
    assert_eq!(soon("the first", herd[0].answer()).await, "held");
    stage.took("from a release to the next grant", released.elapsed());
    let mut woken = Vec::new();
    for i in 0..count {
        let is_watched = woken.len() < WATCHED.min(count / 3);
        let before = if is_watched {
            tokio::time::sleep(PAUSE).await;
            look()
        } else {
            Vec::new()
        };
        herd[i].tell("release");
        let released = Instant::now();
        assert_eq!(soon("a release", herd[i].answer()).await, "released");
        if i + 1 < count {
            let next = soon("the next", herd[i + 1].answer()).await;
            stage.took("from a release to the next grant", released.elapsed());
            assert_eq!(next, "held");
        }
        if is_watched {
            tokio::time::sleep(PAUSE).await;
            let others = before.iter().zip(look()).enumerate();
            woken.push(others.filter(|(at, (was, is))| *at != i && was.1 != is.1).count());
        }
    }

    // Does each have its share?
    let seconds = (count as u64 * 3 / 40).clamp(2, 15);
    let (before, begun) = (look(), Instant::now());
    herd.iter_mut().for_each(|one| one.tell(&format!("churn {seconds}")));
    let (mut shares, mut longest) = (Vec::new(), 0);
    for one in &mut herd {
        let said = one.answer().await;
        let (share, wait) = said.split_once(' ').unwrap();
        shares.push(share.parse::<u64>().unwrap());
        longest = longest.max(wait.parse::<u64>().unwrap());
    }
    let (after, took) = (look(), begun.elapsed());
    let switches: u64 = before.iter().zip(&after).map(|(was, is)| is.1 - was.1).sum();
    let locks_had: u64 = shares.iter().sum();
    let (index, least) = (jain(&shares), shares.iter().min().copied().unwrap());
    stage.took("the longest wait of all in the crowd", Duration::from_micros(longest));
    stage.check(index >= 0.95, || format!("Jain's index is {index:.3}: {shares:?}"));
    stage.check(least > 0, || format!("somebody had nothing: {shares:?}"));
    stage.check(cpu < 5.0, || format!("a process that waits takes {cpu:.2} % of a processor"));
    stage.check(median(woken.clone()) <= 2, || format!("woken at a release: {woken:?}"));
    drop(herd);
    (0..count).for_each(|_| stage.ran());
    stage.judge(count, false);
    stage.note(format!(
        "{count} processes: at a release {} run besides who releases ({woken:?}); a waiting one takes \
         {cpu:.3} % of a processor and runs {wakes:.2} times a second; then {locks_had} locks of 2 ms in \
         {:.1} s, Jain's index {index:.4}, least {least} and most {}, {:.1} runs of some process for each",
        median(woken.clone()),
        took.as_secs_f64(),
        shares.iter().max().unwrap(),
        switches as f64 / locks_had as f64,
    ));
}
