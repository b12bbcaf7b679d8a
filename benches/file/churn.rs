//! Many processes that want one name all the time: how many acquisitions, how evenly, and how many
//! context switches each of them costs all processes together.
//!
//! A hold of 2 ms sleeps as its user would: one of those switches is its own, and Tokio's timer rounds
//! up to its next millisecond, where the bare one does not. So locks/s do not compare with a hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use keyward_benches::{
    clock::now,
    crew::Outcome,
    report::{Report, median},
};

use crate::{
    crew,
    peers::{Who, folder},
};

/// So many processes, who sleep so long while they hold the lock, and who they are.
struct Crowd {
    processes: usize,
    hold_us: u64,
    who: &'static [Who],
    /// Not in a quick run.
    slow: bool,
}

const TWO: &[Who] = &[Who::Bare, Who::Keyward];
const FOUR: &[Who] = &[Who::Bare, Who::Keyward, Who::Fasteners, Who::Poll];

const CROWDS: [Crowd; 6] = [
    Crowd { processes: 2, hold_us: 0, who: TWO, slow: false },
    Crowd { processes: 8, hold_us: 0, who: FOUR, slow: false },
    Crowd { processes: 8, hold_us: 2000, who: FOUR, slow: false },
    Crowd { processes: 10, hold_us: 2000, who: TWO, slow: false },
    Crowd { processes: 50, hold_us: 2000, who: TWO, slow: false },
    Crowd { processes: 100, hold_us: 2000, who: TWO, slow: true },
];

/// What a round has shown.
#[derive(Clone, Copy)]
struct Shown {
    per_second: f64,
    /// The luckiest process to the unluckiest one.
    spread: f64,
    /// Jain's index: 1 if all have got the same, 1/n if one has got all.
    jain: f64,
    /// Context switches for each acquisition.
    switches: f64,
}

type Key = (usize, u64, Who);

pub(crate) fn run(report: &mut Report, scratch: &Path) {
    let mut shown = BTreeMap::new();
    for crowd in CROWDS {
        let name = match crowd.hold_us {
            0 => format!("churn, {} processes, no hold", crowd.processes),
            us => format!("churn, {} processes, hold {} ms", crowd.processes, us / 1000),
        };
        if report.wants(&name) && !(report.quick && crowd.slow) {
            println!("\n{name}");
            measure(report.quick, scratch, &crowd, &mut shown);
        }
    }
    let get = |processes, hold, who| shown.get(&(processes, hold, who)).copied();
    let ours = |processes| get(processes, 2000, Who::Keyward);
    let spread = |processes| ours(processes).map(|shown: Shown| shown.spread);
    let switches = |processes| ours(processes).map(|shown| shown.switches);
    let rate = |who| get(8, 0, who).map(|shown: Shown| shown.per_second);
    let vs = |who| Some(rate(Who::Keyward)? / rate(who)?);
    let figures = [
        ("F4.8-processes", spread(8), "max/min", "<=1.15"),
        ("F4.50-processes", spread(50), "max/min", "<=1.15"),
        ("F4.100-processes", spread(100), "max/min", "<=1.15"),
        ("F5.10-processes", switches(10), "switches", "<=6"),
        ("F5.50-processes", switches(50), "switches", "<=6"),
        ("F5.100-processes", switches(100), "switches", "<=6"),
        ("F6.vs-fasteners", vs(Who::Fasteners), "x", ">=6"),
        ("F6.vs-bare", vs(Who::Bare), "xB", ">=0.3"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

fn measure(quick: bool, scratch: &Path, crowd: &Crowd, shown: &mut BTreeMap<Key, Shown>) {
    let rounds = if quick { 1 } else { 3 };
    // As many turns for each process of a large crowd as of a small one, or chance looks like favour.
    let seconds = match crowd.processes {
        ..=10 if quick => 1.5,
        ..=10 => 3.0,
        many if quick => many as f64 * 0.08,
        many => many as f64 * 0.1,
    };
    let mut samples: BTreeMap<Who, Vec<Shown>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    for round in 0..rounds {
        for turn in 0..crowd.who.len() {
            let who = crowd.who[(turn + round) % crowd.who.len()];
            if failed.contains(&who) {
                continue;
            }
            match once(scratch, crowd, who, seconds) {
                Ok(shown) => samples.entry(who).or_default().push(shown),
                Err(error) => {
                    println!("n/a: {}: {error}", who.name());
                    failed.insert(who);
                }
            }
        }
    }
    println!("{:>10} {:>8} {:>8} {:>10}", "locks/s", "max/min", "Jain", "switches");
    for who in crowd.who {
        let Some(samples) = samples.get(who) else { continue };
        let of = |f: fn(&Shown) -> f64| median(samples.iter().map(f).collect());
        let row = Shown {
            per_second: of(|shown| shown.per_second),
            spread: of(|shown| shown.spread),
            jain: of(|shown| shown.jain),
            switches: of(|shown| shown.switches),
        };
        println!(
            "{:>10.0} {:>8.2} {:>8.3} {:>10.2}  {}",
            row.per_second,
            row.spread,
            row.jain,
            row.switches,
            who.name()
        );
        shown.insert((crowd.processes, crowd.hold_us, *who), row);
    }
}

fn once(scratch: &Path, crowd: &Crowd, who: Who, seconds: f64) -> Outcome<Shown> {
    let folder = folder(scratch, &format!("churn-{}", crowd.processes), who)?;
    let mut members = crew::several(who, &folder, crowd.processes)?;
    let begin = now() + 100_000_000;
    let end = begin + (seconds * 1e9) as u64;
    for member in &mut members {
        member.say(&format!("churn {begin} {end} {}", crowd.hold_us))?;
    }
    let (mut counts, mut all, mut switches) = (Vec::new(), 0.0, 0.0);
    for member in &members {
        let answer = member.hear(Duration::from_secs_f64(seconds + 30.0))?;
        let [counted, every, switched] = answer[..] else { return Err("not counted".to_owned()) };
        counts.push(counted);
        all += every;
        switches += switched;
    }
    let sum: f64 = counts.iter().sum();
    let squares: f64 = counts.iter().map(|count| count * count).sum();
    let of = |pick: fn(f64, f64) -> f64| counts.iter().copied().reduce(pick).unwrap_or(f64::NAN);
    Ok(Shown {
        // A tenth of the time is not counted.
        per_second: sum / (seconds * 0.9),
        spread: of(f64::max) / of(f64::min),
        jain: sum * sum / (counts.len() as f64 * squares),
        switches: switches / all,
    })
}
