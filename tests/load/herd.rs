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

use futures::{StreamExt, future::select_all, stream};
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

/// Who of those who wait has it next, and at which place he stood.
async fn next(herd: &mut [Process], waiting: &[usize]) -> (usize, usize) {
    let answers = herd.iter_mut().enumerate().filter(|(i, _)| waiting.contains(i));
    let answers = answers.map(|(i, one)| Box::pin(async move { (i, one.answer().await) }));
    let ((holder, said), _, _) = soon("the next", select_all(answers)).await;
    assert_eq!(said, "held");
    (holder, waiting.iter().position(|&i| i == holder).expect("it waits"))
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
    let mut released = section.release().await;
    let (mut waiting, mut woken, mut early) = ((0..count).collect::<Vec<_>>(), Vec::new(), 0);
    let mut looked_for = Duration::ZERO;
    while !waiting.is_empty() {
        let (holder, at) = next(&mut herd, &waiting).await;
        stage.took("from a release to the next grant", released.elapsed());
        // In the order of asking, unless somebody has found the name free for a while, and takes it.
        early += usize::from(at != 0);
        waiting.remove(at);
        let is_watched = woken.len() < WATCHED.min(count / 3) && !waiting.is_empty();
        let (before, since) = if is_watched {
            tokio::time::sleep(PAUSE).await;
            (look(), Instant::now())
        } else {
            (Vec::new(), Instant::now())
        };
        herd[holder].tell("release");
        released = Instant::now();
        assert_eq!(soon("a release", herd[holder].answer()).await, "released");
        if is_watched {
            tokio::time::sleep(PAUSE).await;
            let others = before.iter().zip(look()).enumerate();
            let ran = others.filter(|(i, (was, is))| *i != holder && was.1 != is.1);
            woken.push(ran.count());
            looked_for += since.elapsed();
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
    // Who waits looks at the lock by himself each second or two: with many of them, some do just then. A
    // release that wakes everybody would be far above that.
    let chance = wakes * count as f64 * looked_for.as_secs_f64() / woken.len() as f64;
    let ran = woken.iter().sum::<usize>() as f64 / woken.len() as f64;
    stage.check(ran <= 1.5 * chance + 3.0, || format!("{chance:.1} by chance, but {woken:?}"));
    drop(herd);
    (0..count).for_each(|_| stage.ran());
    stage.judge(count, None);
    stage.note(format!(
        "{count} processes, {early} of them out of turn: at a release {ran:.1} run besides who releases, and \
         {chance:.1} would by chance ({woken:?}); a waiting one takes {cpu:.3} % of a processor and runs {wakes:.2} \
         times a second; then {locks_had} locks of 2 ms in {:.1} s, Jain's index {index:.4}, least {least} \
         and most {}, {:.1} runs of some process for each",
        took.as_secs_f64(),
        shares.iter().max().unwrap(),
        switches as f64 / locks_had as f64,
    ));
}
