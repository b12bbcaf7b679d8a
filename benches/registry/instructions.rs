//! Instructions per lock and unlock, counted by callgrind: free of the machine's noise.
//!
//! *hot* locks and unlocks one free key again and again, *fresh* a new key each time; *wait* locks a key, queues
//! for it once more, unlocks, and unlocks what was granted by that.
//!
//! The C library picks its copies and comparisons by the processor, which is a few instructions more or less. With
//! *plain copies* it takes those that are everywhere, so that the count is the same on other machines:
//! `scripts/test --instructions` compares it with what is kept.

use std::{
    env, fs,
    hint::black_box,
    pin::pin,
    process::{Command, id},
    task::{Context, Poll},
};

use futures::task::noop_waker_ref;
use tokio::runtime::Builder;

use crate::{
    contestants::{Amalgam, Bare, Contestant, Key, KeyedLock, Keyward, Lockable, so_many_keys},
    memory::now,
    report::Report,
    workloads::repeat,
};

/// The first argument of a run that is being counted.
pub(crate) const HIDDEN: &str = "instructions-of";

const STEP: usize = 20_000;

const WORKLOADS: [&str; 3] = ["hot", "fresh", "wait"];

/// What those processors lack that have the least.
const PLAIN: &str = "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// The counted run: `NAME hot|fresh|wait COUNT`.
pub(crate) fn run_counted(arguments: &[String]) {
    let [name, workload, count] = arguments else { panic!("NAME hot|fresh|wait COUNT") };
    let count = count.parse().unwrap();
    fn work<C: Contestant>(workload: &str, count: usize) {
        let lock: &'static C = Box::leak(Box::default());
        let keys = so_many_keys(2 * STEP);
        if workload == "wait" {
            return (0..count).for_each(|_| hand_over(lock, &keys[0]));
        }
        let fresh = workload == "fresh";
        let runtime = Builder::new_current_thread().build().unwrap();
        let key = move |n: usize| &keys[if fresh { n } else { 0 }];
        runtime.block_on(async { tokio::spawn(repeat(lock, count, key)).await.unwrap() });
    }
    match name.as_str() {
        "keyward" => work::<Keyward>(workload, count),
        "bare" => work::<Bare>(workload, count),
        "amalgam" => work::<Amalgam>(workload, count),
        "lockable" => work::<Lockable>(workload, count),
        "keyed-lock" => work::<KeyedLock>(workload, count),
        _ => panic!("who is {name}?"),
    }
}

/// Somebody holds the key, somebody waits for it, and both let go.
fn hand_over<C: Contestant>(lock: &'static C, key: &'static Key) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let guard = now(lock.lock(key));
    let mut wait = pin!(lock.lock(key));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    drop(black_box(guard));
    match wait.as_mut().poll(&mut cx) {
        Poll::Ready(guard) => drop(black_box(guard)),
        Poll::Pending => panic!("it has been granted"),
    }
}

/// Instructions of one operation, or none if callgrind cannot be had.
fn count(name: &str, workload: &str, plain: bool) -> Option<f64> {
    let total = |count: usize| -> Option<f64> {
        let out = env::temp_dir().join(format!("keyward-callgrind-{}", id()));
        let mut command = Command::new("valgrind");
        if plain {
            command.env("GLIBC_TUNABLES", PLAIN);
        }
        let run = command
            .args([
                "--tool=callgrind".to_owned(),
                format!("--callgrind-out-file={}", out.display()),
            ])
            .arg(env::current_exe().ok()?)
            .args([HIDDEN, name, workload, &count.to_string()])
            .output();
        // It may not have been written.
        fs::remove_file(&out).ok();
        let text = String::from_utf8(run.ok()?.stderr).ok()?;
        let collected = text.lines().find_map(|line| line.split_once("Collected : "))?;
        collected.1.trim().parse().ok()
    };
    Some((total(2 * STEP)? - total(STEP)?) / STEP as f64)
}

pub(crate) fn run(report: &mut Report) {
    let rows: &[&str] = if report.quick {
        &["bare", "keyward"]
    } else {
        &["bare", "keyward", "amalgam", "lockable", "keyed-lock"]
    };
    let [hot, fresh, _] = table(report, "instructions", false, rows);
    report.figure("R1.instructions", hot, "instructions", "<=180");
    report.figure("R2.instructions", fresh, "instructions", "(none)");
    let [hot, fresh, wait] = table(report, "instructions, plain copies", true, &["keyward"]);
    report.figure("registry.instructions", hot, "instructions", "(none)");
    report.figure("registry.instructions.fresh", fresh, "instructions", "(none)");
    report.figure("registry.instructions.wait", wait, "instructions", "(none)");
}

/// Counts those of each, and returns ours.
fn table(report: &Report, title: &str, plain: bool, rows: &[&str]) -> [Option<f64>; 3] {
    let mut ours = [None; 3];
    if !report.wants(title) {
        return ours;
    }
    println!("\n{title}");
    println!("{}", WORKLOADS.map(|workload| format!("{workload:>10}")).join(" "));
    for name in rows {
        let counts = WORKLOADS.map(|workload| count(name, workload, plain));
        let text = |count: Option<f64>| {
            format!("{:>10}", count.map_or("-".to_owned(), |count| format!("{count:.0}")))
        };
        println!("{}  {name}", counts.map(text).join(" "));
        if *name == "keyward" {
            ours = counts;
        }
    }
    if ours[0].is_none() {
        println!("not measured: valgrind is not installed");
    }
    ours
}
