//! Instructions per lock and unlock, counted by callgrind: free of the machine's noise.

use std::{
    env, fs,
    process::{Command, id},
};

use tokio::runtime::Builder;

use crate::{
    contestants::{Amalgam, Bare, Contestant, KeyedLock, Keyward, Lockable, keys},
    report::Report,
    workloads::repeat,
};

/// The first argument of a run that is being counted.
pub(crate) const HIDDEN: &str = "instructions-of";

const STEP: usize = 20_000;

/// The counted run: `NAME hot|fresh COUNT`.
pub(crate) fn run_counted(arguments: &[String]) {
    let [name, workload, count] = arguments else { panic!("NAME hot|fresh COUNT") };
    let count = count.parse().unwrap();
    fn work<C: Contestant>(fresh: bool, count: usize) {
        let lock: &'static C = Box::leak(Box::default());
        let keys = keys();
        let runtime = Builder::new_current_thread().build().unwrap();
        let key = move |n: usize| &keys[if fresh { n % keys.len() } else { 0 }];
        runtime.block_on(async { tokio::spawn(repeat(lock, count, key)).await.unwrap() });
    }
    let fresh = workload == "fresh";
    match name.as_str() {
        "keyward" => work::<Keyward>(fresh, count),
        "bare" => work::<Bare>(fresh, count),
        "amalgam" => work::<Amalgam>(fresh, count),
        "lockable" => work::<Lockable>(fresh, count),
        "keyed-lock" => work::<KeyedLock>(fresh, count),
        _ => panic!("who is {name}?"),
    }
}

/// Instructions of one operation, or none if callgrind cannot be had.
fn count(name: &str, workload: &str) -> Option<f64> {
    let total = |count: usize| -> Option<f64> {
        let out = env::temp_dir().join(format!("keyward-callgrind-{}", id()));
        let run = Command::new("valgrind")
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
    let mut ours = [None, None];
    if report.wants("instructions") {
        let rows: &[&str] = if report.quick {
            &["bare", "keyward"]
        } else {
            &["bare", "keyward", "amalgam", "lockable", "keyed-lock"]
        };
        println!("\ninstructions (hot, fresh)");
        for name in rows {
            let counts = [count(name, "hot"), count(name, "fresh")];
            let [hot, fresh] = counts.map(|n| n.map_or("-".to_owned(), |n| format!("{n:.0}")));
            println!("{hot:>10} {fresh:>8}  {name}");
            if *name == "keyward" {
                ours = counts;
            }
        }
        if ours[0].is_none() {
            println!("not measured: valgrind is not installed");
        }
    }
    report.figure("R1.instructions", ours[0], "instructions", "<=180");
    report.figure("R2.instructions", ours[1], "instructions", "(none)");
}
