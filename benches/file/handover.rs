//! Between two processes: from before the release in one to after the acquisition in the other, while
//! the other is parked. The two swap after each.
//!
//! Those who are woken are parked for 1.5 to 5 ms; those who poll for 1 to 200 ms, because how late
//! they look depends on how long they have waited. B and keyward are measured in both ways.
//!
//! How long a wake-up takes depends on where the kernel puts the two: on one processor B is at its
//! best, and so is the ratio to it at its worst. So B and keyward are measured pinned to two as well.

use std::{collections::BTreeMap, path::Path, time::Duration};

use keyward_benches::{
    clock::Dice,
    crew::{Outcome, Pair},
    report::{Report, median, most, percentile},
};

use crate::{
    crew,
    peers::{Who, folder},
};

const NAME: &str = "hand-over";

/// How two processes hand over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// Parked for a short time.
    Soon,
    /// The same, and each pinned to a processor of its own.
    Apart,
    /// Parked for as long as those who poll.
    Late,
}

impl How {
    const fn name(self) -> &'static str {
        match self {
            Self::Soon => "parked 1.5 to 5 ms",
            Self::Apart => "parked 1.5 to 5 ms, on two processors",
            Self::Late => "parked 1 to 200 ms",
        }
    }
}

type Row = (Who, How);

/// What of a distribution is printed, beside the greatest.
const PERCENTS: [usize; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

const ROWS: [Row; 12] = [
    (Who::Bare, How::Soon),
    (Who::Keyward, How::Soon),
    (Who::KeywardTwo, How::Soon),
    (Who::Std, How::Soon),
    (Who::Bare, How::Apart),
    (Who::Keyward, How::Apart),
    (Who::Bare, How::Late),
    (Who::Keyward, How::Late),
    (Who::Std, How::Late),
    (Who::Poll, How::Late),
    (Who::Fasteners, How::Late),
    (Who::DistributedLock, How::Late),
];

fn name((who, how): Row) -> String {
    format!("{}, {}", who.name(), how.name())
}

fn pair(scratch: &Path, (who, how): Row) -> Outcome<Pair> {
    let folder = folder(scratch, &format!("hand-over-{}", how as u8), who)?;
    let mut members = [crew::start(who, &folder)?, crew::start(who, &folder)?];
    if how == How::Apart {
        for (cpu, member) in members.iter_mut().enumerate() {
            member.ask(&format!("pin {cpu}"))?;
        }
    }
    Pair::new(members)
}

/// What the rounds have shown of one.
#[derive(Default)]
struct Shown {
    all: Vec<f64>,
    /// Of each round's median to the bare one.
    ratios: Vec<f64>,
}

pub(crate) fn run(report: &mut Report, scratch: &Path) {
    let shown = if report.wants(NAME) { measure(report.quick, scratch) } else { BTreeMap::new() };
    let ratio = |row| shown.get(&row).map(|shown: &Shown| median(shown.ratios.clone()));
    let at = |row, percent| shown.get(&row).map(|shown| percentile(shown.all.clone(), percent));
    let long = (Who::Keyward, How::Late);
    let of = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let own = (Who::Keyward, How::Soon);
    let figures = [
        ("F3.current-thread", ratio(own), "x-SETLKW", "<=2.6"),
        ("F3.two-workers", ratio((Who::KeywardTwo, How::Soon)), "x-SETLKW", "<=4.5"),
        ("F3.two-processors", ratio((Who::Keyward, How::Apart)), "x-SETLKW", "(none)"),
        ("F3.vs-fasteners", of(at((Who::Fasteners, How::Late), 50), at(long, 50)), "x", ">=300"),
        ("F3.p99", of(at(own, 99), at(own, 50)), "x-own-p50", "<=10"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

fn measure(quick: bool, scratch: &Path) -> BTreeMap<Row, Shown> {
    println!("\n{NAME} (us from release to acquisition)");
    let (rounds, woken, polling) = if quick { (3, 30, 6) } else { (10, 40, 15) };
    let (mut shown, mut dice) = (BTreeMap::<Row, Shown>::new(), Dice::default());
    let mut pairs = Vec::new();
    for row in ROWS {
        match pair(scratch, row) {
            Ok(pair) => pairs.push((row, pair)),
            Err(error) => println!("n/a: {}: {error}", name(row)),
        }
    }
    for round in 0..rounds {
        let mut medians = BTreeMap::new();
        for turn in 0..pairs.len() {
            let which = (turn + round) % pairs.len();
            let (row, pair) = &mut pairs[which];
            let (count, least, most) =
                if row.1 == How::Late { (polling, 1000, 200_000) } else { (woken, 1500, 5000) };
            let mut samples = Vec::new();
            for _ in 0..count {
                let parked = Duration::from_micros(least + dice.below(most - least));
                match pair.hand_over(parked) {
                    Ok(us) => samples.push(us),
                    Err(error) => {
                        println!("n/a: {}: {error}", name(*row));
                        break;
                    }
                }
            }
            medians.insert(*row, median(samples.clone()));
            shown.entry(*row).or_default().all.extend(samples);
        }
        for (row, us) in &medians {
            let bare = medians.get(&(Who::Bare, row.1)).copied().unwrap_or(f64::NAN);
            shown.entry(*row).or_default().ratios.push(us / bare);
        }
    }
    let columns = PERCENTS.map(|percent| format!("{:>10}", format!("p{percent}"))).join(" ");
    println!("{columns} {:>10} {:>8} {:>6}", "max", "x B", "n");
    for row in ROWS {
        if let Some(Shown { all, ratios }) = shown.get(&row) {
            let us = PERCENTS.map(|percent| percentile(all.clone(), percent));
            let us = us.map(|us| format!("{us:>10.1}")).join(" ");
            let (most, ratio, count) = (most(all), median(ratios.clone()), all.len());
            println!("{us} {most:>10.1} {ratio:>8.2} {count:>6}  {}", name(row));
        }
    }
    shown
}
