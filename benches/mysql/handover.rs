//! Between two processes: from before the release in one to after the acquisition in the other, while
//! the other is parked. The two swap after each.
//!
//! Those who are woken are parked for 3 to 8 ms, which is time enough to be in the server's queue; tooz,
//! which looks once a second, for up to two seconds, and keyward beside it once more.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use keyward_benches::{
    clock::Dice,
    crew::{Outcome, Pair},
    report::{Report, median, percentile},
};

use crate::{
    peers::Who,
    setting::{Setting, USUAL},
};

const WORKLOAD: &str = "hand-over";

/// Who, and whether they are parked for as long as those who poll.
type Row = (Who, bool);

const ROWS: [Row; 5] = [
    (Who::Server, false),
    (Who::Keyward, false),
    (Who::KeywardTwo, false),
    (Who::Keyward, true),
    (Who::Tooz, true),
];

fn name((who, late): Row) -> String {
    let parked = if late { "parked 1 ms to 2 s" } else { "parked 3 to 8 ms" };
    format!("{}, {parked}", who.name())
}

fn pair(setting: &Setting, who: Who) -> Outcome<Pair> {
    Pair::new([setting.member(who, USUAL)?, setting.member(who, USUAL)?])
}

/// What the rounds have shown of one.
#[derive(Default)]
struct Shown {
    all: Vec<f64>,
    /// Of each round's median to the server's own.
    ratios: Vec<f64>,
}

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    let shown =
        if report.wants(WORKLOAD) { measure(report.quick, setting) } else { BTreeMap::new() };
    let ratio = |row| shown.get(&row).map(|shown: &Shown| median(shown.ratios.clone()));
    let at = |row, percent| shown.get(&row).map(|shown| percentile(shown.all.clone(), percent));
    let of = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let own = (Who::Keyward, false);
    let figures = [
        ("M5.current-thread", ratio(own), "x-server", "<=1.5"),
        ("M5.two-workers", ratio((Who::KeywardTwo, false)), "x-server", "(none)"),
        ("M5.p50", at(own, 50), "us", "(none)"),
        ("M5.p99", of(at(own, 99), at((Who::Server, false), 99)), "x-server-p99", "(none)"),
        ("M5.vs-tooz", of(at((Who::Tooz, true), 50), at((Who::Keyward, true), 50)), "x", "(none)"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

fn measure(quick: bool, setting: &Setting) -> BTreeMap<Row, Shown> {
    println!("\n{WORKLOAD} (us from release to acquisition)");
    let (rounds, woken, polling) = if quick { (5, 40, 2) } else { (10, 100, 4) };
    let (mut shown, mut dice) = (BTreeMap::<Row, Shown>::new(), Dice::default());
    for round in 0..rounds {
        let mut medians = BTreeMap::new();
        for turn in 0..ROWS.len() {
            let row = ROWS[(turn + round) % ROWS.len()];
            // Those who have failed are not asked again.
            if round > 0 && !shown.contains_key(&row) {
                continue;
            }
            let (count, least, most) =
                if row.1 { (polling, 1000, 2_000_000) } else { (woken, 3000, 8000) };
            // A pair for each, so that those who wait for their turn do not send heartbeats into it.
            let samples: Outcome<Vec<f64>> = pair(setting, row.0).and_then(|mut pair| {
                let mut parked = || Duration::from_micros(least + dice.below(most - least));
                (0..count).map(|_| pair.hand_over(parked())).collect()
            });
            match samples {
                Ok(samples) => {
                    medians.insert(row, median(samples.clone()));
                    shown.entry(row).or_default().all.extend(samples);
                }
                Err(error) => println!("n/a: {}: {error}", name(row)),
            }
        }
        let server = medians.get(&(Who::Server, false)).copied().unwrap_or(f64::NAN);
        for (row, us) in &medians {
            shown.entry(*row).or_default().ratios.push(us / server);
        }
    }
    println!("{:>10} {:>10} {:>10} {:>8}", "p50", "p90", "p99", "x B");
    for row in ROWS {
        if let Some(Shown { all, ratios }) = shown.get(&row) {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile(all.clone(), percent));
            let ratio = median(ratios.clone());
            println!("{p50:>10.1} {p90:>10.1} {p99:>10.1} {ratio:>8.2}  {}", name(row));
        }
    }
    shown
}
