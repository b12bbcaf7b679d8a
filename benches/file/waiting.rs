//! What it costs to wait, and how soon a wait that is given up is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::Duration,
};

use keyward_benches::{
    clock::Dice,
    crew::{Outcome, text},
    report::{Report, median, most, percentile},
};

use crate::{
    bare::{self, Watched},
    crew,
    peers::{Who, folder},
};

const WAITING: &str = "waiting";
const CANCEL: &str = "cancel";

/// Who waits, with so many tasks; with none it is what the measurement itself costs.
const ROWS: [(Who, u64); 7] = [
    (Who::Keyward, 0),
    (Who::Keyward, 1),
    (Who::Keyward, 10),
    (Who::Keyward, 100),
    (Who::Fasteners, 1),
    (Who::Poll, 1),
    (Who::Poll, 100),
];

pub(crate) fn run(report: &mut Report, scratch: &Path) {
    let cost = if report.wants(WAITING) { waiting(report.quick, scratch) } else { BTreeMap::new() };
    for (id, tasks) in [("F7.1-task", 1), ("F7.10-tasks", 10), ("F7.100-tasks", 100)] {
        let percent = cost.get(&(Who::Keyward, tasks)).map(|us| us / 1e4);
        report.figure(id, percent, "%-of-a-core", "<=0.02");
    }
    let cancelled = if report.wants(CANCEL) {
        println!("\n{CANCEL}");
        cancel(report.quick, scratch)
            .inspect_err(|error| println!("n/a: {}: {error}", Who::Keyward.name()))
            .ok()
    } else {
        None
    };
    let (p99, lost) = cancelled.unzip();
    report.figure("F8.gone-p99", p99, "ms", "<=1");
    report.figure("F8.lost", lost, "cancels", "0");
}

/// Microseconds of CPU for each second of waiting.
fn waiting(quick: bool, scratch: &Path) -> BTreeMap<(Who, u64), f64> {
    let (rounds, seconds) = if quick { (1, 3) } else { (2, 5) };
    println!("\n{WAITING} (CPU of a process that waits for {seconds} s)");
    let mut samples: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    for round in 0..rounds {
        for turn in 0..ROWS.len() {
            let row = ROWS[(turn + round) % ROWS.len()];
            if failed.contains(&row.0) {
                continue;
            }
            match wait(scratch, row, seconds) {
                Ok(us) => samples.entry(row).or_default().push(us),
                Err(error) => {
                    println!("n/a: {}: {error}", row.0.name());
                    failed.insert(row.0);
                }
            }
        }
    }
    println!("{:>10} {:>8} {:>6}", "us/s", "% core", "tasks");
    let mut medians = BTreeMap::new();
    for row in ROWS {
        if let Some(samples) = samples.get(&row) {
            let us = median(samples.clone());
            println!("{us:>10.1} {:>8.4} {:>6}  {}", us / 1e4, row.1, row.0.name());
            medians.insert(row, us);
        }
    }
    medians
}

fn wait(scratch: &Path, (who, tasks): (Who, u64), seconds: u64) -> Outcome<f64> {
    let folder = folder(scratch, &format!("waiting-{tasks}"), who)?;
    let held = bare::open(&folder).map_err(text)?;
    bare::lock(&held).map_err(text)?;
    crew::start(who, &folder)?.ask(&format!("wait {tasks} {seconds}"))
}

/// The 99th percentile of the milliseconds until a wait is gone, and how many have not gone at all.
fn cancel(quick: bool, scratch: &Path) -> Outcome<(f64, f64)> {
    let (watched, dropped) = if quick { (500, 5000) } else { (2000, 100_000) };
    let folder = folder(scratch, "cancel", Who::Keyward)?;
    let held = bare::open(&folder).map_err(text)?;
    bare::lock(&held).map_err(text)?;
    let mut member = crew::start(Who::Keyward, &folder)?;

    member.say(&format!("gone {watched}"))?;
    let samples = member.hear(Duration::from_secs(120))?;
    let [p50, p99] = [50, 99].map(|percent| percentile(samples.clone(), percent) / 1e6);
    let most = most(&samples) / 1e6;
    println!(
        "gone from the kernel's list after p50 {p50:.3} ms, p99 {p99:.3} ms, at most {most:.3} ms"
    );

    member.say(&format!("drop {dropped}"))?;
    let still = member.hear(Duration::from_secs(240))?;
    let mut lost = still.first().copied().ok_or("no number")?;
    // With a holder who lets go now and then, so that the lock is granted to waits that are given up.
    let raced = dropped / 5;
    member.say(&format!("drop {raced}"))?;
    let mut dice = Dice::default();
    let still = loop {
        bare::unlock(&held).map_err(text)?;
        thread::sleep(Duration::from_micros(dice.below(100)));
        bare::lock(&held).map_err(text)?;
        thread::sleep(Duration::from_micros(dice.below(1000)));
        match member.hear(Duration::ZERO) {
            Ok(answer) => break answer,
            Err(error) if error.contains("timed out") => {}
            Err(error) => return Err(error),
        }
    };
    lost += still.first().copied().ok_or("no number")?;
    let (_, waiting) = Watched::below(&folder).map_err(text)?.count().map_err(text)?;
    lost += waiting as f64;
    bare::unlock(&held).map_err(text)?;
    // Nobody may have it now, and its next user gets it.
    lost += 1.0 - member.ask("free")?;
    let free = bare::try_lock(&held).map_err(text)?;
    lost += f64::from(u8::from(!free));
    println!("{dropped} waits dropped, and {raced} while the lock changed hands: {lost} lost");
    Ok((p99, lost))
}
