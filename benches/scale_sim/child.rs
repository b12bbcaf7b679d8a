//! A real process: its tasks lock all the time, and it tells how long they have waited.
//!
//! `run START END` has them begin at once, and counts what is acquired between the two times, which are
//! those of CLOCK_MONOTONIC. The answer is its processor time meanwhile, and the waits.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use keyward::Locks;
use keyward_benches::{
    clock::{Dice, now},
    crew::{Outcome, orders, text},
    histogram::Histogram,
    sim::Workload,
};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use crate::service::{current_thread, own_time};

/// The first argument of a child.
pub(crate) const HIDDEN: &str = "process-of-the-crowd";

/// What a child is told of the workload, and of its place among the others.
pub(crate) fn arguments(workload: &Workload, number: u32) -> [String; 5] {
    let Workload { tasks, names, hold, pause } = workload;
    let names = names.unwrap_or(0);
    [u64::from(*tasks), u64::from(names), *hold, *pause, u64::from(number)].map(|n| n.to_string())
}

/// `URL TASKS NAMES HOLD PAUSE NUMBER`
pub(crate) fn run(arguments: &[String]) {
    let (url, numbers) = arguments.split_first().expect("a URL");
    let numbers: Vec<u64> = numbers.iter().map(|word| word.parse().expect("a number")).collect();
    let [tasks, names, hold, pause, number] = numbers[..] else { panic!("five numbers") };
    let names = (names > 0).then_some(names as u32);
    let workload = Workload { tasks: tasks as u32, names, hold, pause };
    let (url, orders) = (url.clone(), orders());
    current_thread().block_on(async {
        let obeyed = tokio::spawn(obey(url, workload, number, orders)).await;
        if let Err(error) = obeyed.map_err(text).and_then(|outcome| outcome) {
            println!("! {error}");
        }
    });
}

async fn obey(
    url: String,
    workload: Workload,
    number: u64,
    mut orders: UnboundedReceiver<String>,
) -> Outcome<()> {
    let locks = Locks::connect(&url).await.map_err(text)?;
    println!("ready");
    let order = orders.recv().await.ok_or("no order")?;
    let times: Vec<u64> = order.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
    let [start, end] = times[..] else { return Err(format!("not known: {order}")) };
    let waits = Arc::new(Mutex::new(Histogram::default()));
    for task in 0..workload.tasks {
        let name = number * u64::from(workload.tasks) + u64::from(task);
        let (locks, waits) = (locks.clone(), Arc::clone(&waits));
        tokio::spawn(async move {
            let outcome = work(locks, workload, name, [start, end], waits).await;
            outcome.inspect_err(|error| println!("! {error}"))
        });
    }
    until(start).await;
    let before = own_time();
    until(end).await;
    let spent = own_time() - before;
    let line = waits.lock().unwrap_or_else(PoisonError::into_inner).to_line();
    println!("{spent} {line}");
    orders.recv().await; // until it is ended
    Ok(())
}

async fn until(time: u64) {
    sleep(Duration::from_nanos(time.saturating_sub(now()))).await;
}

async fn work(
    locks: Locks,
    workload: Workload,
    own: u64,
    [start, end]: [u64; 2],
    waits: Arc<Mutex<Histogram>>,
) -> Outcome<()> {
    let mut dice = Dice::default();
    // All of them are somewhere in their rounds.
    let first = dice.below(workload.pause + workload.hold + 1);
    sleep(Duration::from_nanos(first)).await;
    loop {
        let name = workload.names.map_or(own, |names| dice.below(u64::from(names)));
        let asked = now();
        let lease = locks.lock_named(format!("scale-{name}")).await.map_err(text)?;
        let held = now();
        if (start..end).contains(&held) {
            waits.lock().unwrap_or_else(PoisonError::into_inner).add(held - asked);
        }
        if workload.hold > 0 {
            sleep(Duration::from_nanos(workload.hold)).await;
        }
        lease.release().await.map_err(text)?;
        if workload.pause > 0 {
            let pause = workload.pause / 2 + dice.below(workload.pause + 1);
            sleep(Duration::from_nanos(pause)).await;
        }
    }
}
