//! Between two processes: from before the release in one to after the acquisition in the other, while
//! the other is parked. The two swap after each.
//!
//! Those who are woken are parked for 1.5 to 5 ms; those who poll for 1 to 200 ms, because how late
//! they look depends on how long they have waited. keyward is measured in both ways.

use std::{collections::BTreeMap, path::Path, time::Duration};

use keyward_benches::report::{Report, median, percentile};

use crate::{
    bare::Dice,
    crew::Member,
    peers::{Outcome, Who, folder},
};

const NAME: &str = "hand-over";

/// Who, and whether parked as long as those who poll.
type Row = (Who, bool);

const ROWS: [Row; 8] = [
    (Who::Bare, false),
    (Who::Keyward, false),
    (Who::KeywardTwo, false),
    (Who::Std, false),
    (Who::Keyward, true),
    (Who::Poll, true),
    (Who::Fasteners, true),
    (Who::DistributedLock, true),
];

const LIMIT: Duration = Duration::from_secs(20);

/// Two processes, the first of which has the lock.
struct Pair([Member; 2]);

impl Pair {
    fn start(scratch: &Path, (who, long): Row) -> Outcome<Self> {
        let folder = folder(scratch, if long { "hand-over-long" } else { "hand-over" }, who)?;
        let mut pair = [Member::start(who, &folder)?, Member::start(who, &folder)?];
        pair[0].say("acquire")?;
        pair[0].hear(LIMIT)?;
        pair[0].hear(LIMIT)?;
        Ok(Self(pair))
    }

    /// Microseconds.
    fn hand_over(&mut self, parked: Duration) -> Outcome<f64> {
        let [holder, waiter] = &mut self.0;
        waiter.say("acquire")?;
        waiter.hear(LIMIT)?;
        // By itself, so that nobody but the two is awake when it lets go.
        holder.say(&format!("release {}", parked.as_micros()))?;
        let (released, acquired) = (holder.hear(LIMIT)?, waiter.hear(LIMIT)?);
        self.0.swap(0, 1);
        match (&released[..], &acquired[..]) {
            ([released], [acquired]) => Ok((acquired - released) / 1000.0),
            _ => Err("no time was told".to_owned()),
        }
    }
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
    let long = (Who::Keyward, true);
    let of = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let own = (Who::Keyward, false);
    let figures = [
        ("F3.current-thread", ratio(own), "x-SETLKW", "<=2.6"),
        ("F3.two-workers", ratio((Who::KeywardTwo, false)), "x-SETLKW", "<=4.5"),
        ("F3.vs-fasteners", of(at((Who::Fasteners, true), 50), at(long, 50)), "x", ">=300"),
        ("F3.p99", of(at(own, 99), at(own, 50)), "x-own-p50", "<=10"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

fn measure(quick: bool, scratch: &Path) -> BTreeMap<Row, Shown> {
    println!("\n{NAME} (us from release to acquisition)");
    let (rounds, woken, polling) = if quick { (3, 30, 6) } else { (10, 40, 15) };
    let (mut shown, mut dice) = (BTreeMap::<Row, Shown>::new(), Dice::new());
    let mut pairs = Vec::new();
    for row in ROWS {
        match Pair::start(scratch, row) {
            Ok(pair) => pairs.push((row, pair)),
            Err(error) => println!("n/a: {}: {error}", row.0.name()),
        }
    }
    for round in 0..rounds {
        let mut medians = BTreeMap::new();
        for turn in 0..pairs.len() {
            let which = (turn + round) % pairs.len();
            let (row, pair) = &mut pairs[which];
            let (count, least, most) =
                if row.1 { (polling, 1000, 200_000) } else { (woken, 1500, 5000) };
            let mut samples = Vec::new();
            for _ in 0..count {
                let parked = Duration::from_micros(least + dice.below(most - least));
                match pair.hand_over(parked) {
                    Ok(us) => samples.push(us),
                    Err(error) => {
                        println!("n/a: {}: {error}", row.0.name());
                        break;
                    }
                }
            }
            medians.insert(*row, median(samples.clone()));
            shown.entry(*row).or_default().all.extend(samples);
        }
        for (row, us) in &medians {
            let bare = medians.get(&(Who::Bare, false)).copied().unwrap_or(f64::NAN);
            shown.entry(*row).or_default().ratios.push(us / bare);
        }
    }
    println!("{:>10} {:>10} {:>10} {:>8}", "p50", "p90", "p99", "x B");
    for row in ROWS {
        if let Some(Shown { all, ratios }) = shown.get(&row) {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile(all.clone(), percent));
            let ratio = median(ratios.clone());
            let parked = if row.1 { "1 to 200 ms" } else { "1.5 to 5 ms" };
            println!(
                "{p50:>10.1} {p90:>10.1} {p99:>10.1} {ratio:>8.2}  {}, parked {parked}",
                row.0.name()
            );
        }
    }
    shown
}
