//! What a child does: it reads orders from its standard input and answers each with a line.
//!
//! | order | what it does | answer |
//! |---|---|---|
//! | `acquire` | says `waiting`, takes the lock | when it had it |
//! | `release AFTER` | sleeps AFTER us, lets go, and does nothing for 1 ms | when it began to let go |
//! | `pin CPU` | stays on that processor, with the threads it starts from now on | 1 |
//! | `churn BEGIN END HOLD` | takes the lock again and again, sleeping HOLD us while it has it | acquisitions counted, all of them, context switches |
//! | `wait TASKS SECONDS` | lets tasks wait for a lock that others hold | us of CPU per second |
//! | `gone COUNT` | drops acquisitions that wait | ns until the kernel's list has them no more, each |
//! | `drop COUNT` | drops acquisitions up to 100 us after their first poll | how many remained in the kernel's list |
//! | `free` | takes the lock within a second | 1, or 0 if it could not |
//!
//! Times are those of CLOCK_MONOTONIC.

use std::{
    future::{Future, IntoFuture},
    hint::spin_loop,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    task::Context,
    time::{Duration, Instant},
};

use futures::task::noop_waker_ref;
use keyward::Locks;
use keyward_benches::{
    clock::{Dice, now},
    crew::{Outcome, orders, text},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{JoinSet, unconstrained, yield_now},
    time::sleep,
};

use crate::{
    bare::{self, Watched},
    peers::{Locker, Who},
};

/// The first argument of a child.
pub(crate) const HIDDEN: &str = "member-of-the-crew";

/// `WHO DIRECTORY`
pub(crate) fn run(arguments: &[String]) {
    let [who, directory] = arguments else { panic!("WHO DIRECTORY") };
    let who = Who::parse(who).expect("a known one");
    let orders = orders();
    let directory = PathBuf::from(directory);
    who.runtime().block_on(async {
        let obeyed = tokio::spawn(obey(who, directory, orders)).await;
        if let Err(error) = obeyed.map_err(text).and_then(|outcome| outcome) {
            println!("! {error}");
        }
    });
}

async fn obey(who: Who, directory: PathBuf, mut orders: UnboundedReceiver<String>) -> Outcome<()> {
    let mut locker = Locker::new(who, &directory).await?;
    println!("ready");
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.split_whitespace().collect();
        let number =
            |n: usize| words.get(n).and_then(|word| word.parse::<u64>().ok()).ok_or("no number");
        match words.first().copied().unwrap_or_default() {
            "acquire" => {
                println!("waiting");
                locker.acquire().await?;
                let at = now();
                println!("{at}");
            }
            "release" => {
                sleep(Duration::from_micros(number(1)?)).await;
                let at = now();
                locker.release()?;
                sleep(Duration::from_millis(1)).await;
                println!("{at}");
            }
            "pin" => {
                pin_to(number(1)? as usize)?;
                println!("1");
            }
            "churn" => churn(&mut locker, number(1)?, number(2)?, number(3)?).await?,
            "wait" => {
                wait(&locker, &directory, number(1)?, Duration::from_secs(number(2)?)).await?
            }
            "gone" => gone(keyward(&locker)?, &directory, number(1)?).await?,
            "drop" => drops(keyward(&locker)?, &directory, number(1)?).await?,
            "free" => {
                let taken = tokio::time::timeout(Duration::from_secs(1), locker.acquire()).await;
                if taken.is_ok() {
                    locker.release()?;
                }
                println!("{}", u8::from(taken.is_ok()));
            }
            _ => return Err(format!("not known: {order}")),
        }
    }
    Ok(())
}

fn pin_to(cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(cpu).map_err(text)?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(text)
}

async fn churn(locker: &mut Locker, begin: u64, end: u64, hold_us: u64) -> Outcome<()> {
    sleep(Duration::from_nanos(begin.saturating_sub(now()))).await;
    // The first tenth is for the latecomers.
    let settled = begin + (end - begin) / 10;
    let (mut counted, mut all, before) = (0, 0, bare::usage());
    loop {
        locker.acquire().await?;
        let at = now();
        all += 1;
        counted += u64::from((settled..end).contains(&at));
        if at < end && hold_us > 0 {
            hold(locker, Duration::from_micros(hold_us)).await;
        }
        locker.release()?;
        if at >= end {
            break;
        }
    }
    println!("{counted} {all} {}", bare::usage().switches - before.switches);
    Ok(())
}

/// Sleeps as its user would.
async fn hold(locker: &Locker, time: Duration) {
    match locker {
        Locker::Bare(_) => std::thread::sleep(time),
        _ => sleep(time).await,
    }
}

async fn wait(locker: &Locker, directory: &Path, tasks: u64, time: Duration) -> Outcome<()> {
    let mut waits = JoinSet::new();
    for _ in 0..tasks {
        let mut locker = locker.again(directory)?;
        waits.spawn(async move { locker.acquire().await });
    }
    // Until all are parked, and the first backing off is over.
    sleep(Duration::from_millis(700)).await;
    let (start, before) = (Instant::now(), bare::usage());
    sleep(time).await;
    let used = bare::usage().cpu_us - before.cpu_us;
    let per_second = used as f64 / start.elapsed().as_secs_f64();
    match waits.try_join_next() {
        Some(ended) => Err(format!("somebody did not wait: {ended:?}")),
        None => {
            println!("{per_second}");
            Ok(())
        }
    }
}

fn keyward(locker: &Locker) -> Outcome<&Locks> {
    match locker {
        Locker::Keyward(locks, _) => Ok(locks),
        _ => Err("it cannot be cancelled".to_owned()),
    }
}

/// One poll, by a task that is not there; outside of the task's budget, which many would exhaust.
fn is_pending(future: Pin<&mut impl Future>) -> bool {
    let mut once = pin!(unconstrained(future));
    once.as_mut().poll(&mut Context::from_waker(noop_waker_ref())).is_pending()
}

/// Waits until the kernel's list has as many waiting as it should; false if it does not come to that.
fn until_waiting(watched: &Watched, right: impl Fn(usize) -> bool) -> Outcome<bool> {
    let start = Instant::now();
    while !right(watched.count().map_err(text)?.1) {
        if start.elapsed() > Duration::from_secs(1) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn gone(locks: &Locks, directory: &Path, count: u64) -> Outcome<()> {
    let mut samples = Vec::new();
    for _ in 0..count {
        let mut wait = Box::pin(locks.lock_named(bare::NAME).into_future());
        if !is_pending(wait.as_mut()) {
            return Err("the lock is not held".to_owned());
        }
        // What it waits for may not exist before it waits.
        let watched = Watched::below(directory).map_err(text)?;
        if !until_waiting(&watched, |waiting| waiting > 0)? {
            return Err("the wait is not in the kernel's list".to_owned());
        }
        let start = Instant::now();
        drop(wait);
        until_waiting(&watched, |waiting| waiting == 0)?;
        samples.push(start.elapsed().as_nanos().to_string());
        yield_now().await;
    }
    println!("{}", samples.join(" "));
    Ok(())
}

async fn drops(locks: &Locks, directory: &Path, count: u64) -> Outcome<()> {
    let (mut dice, mut remained) = (Dice::default(), 0);
    for number in 1..=count {
        let mut wait = Box::pin(locks.lock_named(bare::NAME).into_future());
        // The lock may be granted, if its holder lets go now and then.
        let _ = is_pending(wait.as_mut());
        let (start, delay) = (Instant::now(), Duration::from_nanos(dice.below(100_000)));
        while start.elapsed() < delay {
            spin_loop();
        }
        drop(wait);
        yield_now().await;
        if number.is_multiple_of(1000) || number == count {
            let watched = Watched::below(directory).map_err(text)?;
            if !until_waiting(&watched, |waiting| waiting <= remained)? {
                remained = watched.count().map_err(text)?.1;
            }
        }
    }
    println!("{remained}");
    Ok(())
}
