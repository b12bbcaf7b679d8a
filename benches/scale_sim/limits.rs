//! From 20 to 1,000 processes, the server on a machine of its own: how it goes, and what is in the way first.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use keyward_benches::{
    report::Report,
    sim::{Costs, Machine, Outcome, Setting, Workload, play},
};

const MS: u64 = 1_000_000;

/// Of the server that is played.
const CORES: usize = 4;

/// A server's `max_connections` unless it is told.
const CONNECTIONS: usize = 151;
/// Beyond that share of its cores a server has nothing left for a bad moment.
const SHARE: f64 = 0.7;
/// For sessions, which is memory that its caches have not.
const GIB: f64 = 1.0;
/// Waits so many times as long as those of 20 processes and a hold.
const LONGER: f64 = 5.0;

struct Case {
    id: &'static str,
    what: &'static str,
    tasks: u32,
    names: Names,
    hold: u64,
    pause: u64,
    length: u64,
}

#[derive(Clone, Copy)]
enum Names {
    All(u32),
    OfEachProcess(u32),
    Own,
}

const CASES: [Case; 6] = [
    Case {
        id: "service",
        what: "8 tasks a process, any of 10,000 names, hold 50 ms, pause 450 ms: 16 locks/s a process",
        tasks: 8,
        names: Names::All(10_000),
        hold: 50 * MS,
        pause: 450 * MS,
        length: 10_000 * MS,
    },
    Case {
        id: "busy",
        what: "8 tasks a process, any of 100 names a process, hold 1 ms, pause 50 ms: 154 locks/s a process",
        tasks: 8,
        names: Names::OfEachProcess(100),
        hold: MS,
        pause: 50 * MS,
        length: 4_000 * MS,
    },
    Case {
        id: "shard",
        what: "one of four servers that share the names of \"busy\" out: a quarter of the tasks comes here",
        tasks: 2,
        names: Names::OfEachProcess(25),
        hold: MS,
        pause: 50 * MS,
        length: 4_000 * MS,
    },
    Case {
        id: "held",
        what: "64 tasks a process with a name each, held for a minute: heartbeats",
        tasks: 64,
        names: Names::Own,
        hold: 60_000 * MS,
        pause: 1_000 * MS,
        length: 65_000 * MS,
    },
    Case {
        id: "contended",
        what: "8 tasks a process, any of 20 names a process, hold 50 ms, pause 100 ms: waits for each other",
        tasks: 8,
        names: Names::OfEachProcess(20),
        hold: 50 * MS,
        pause: 100 * MS,
        length: 10_000 * MS,
    },
    Case {
        id: "one",
        what: "1 task a process, one name for all, hold 10 ms, pause 10 s",
        tasks: 1,
        names: Names::All(1),
        hold: 10 * MS,
        pause: 10_000 * MS,
        length: 30_000 * MS,
    },
];

impl Case {
    fn setting(&self, processes: u32, round_trip: u64) -> Setting {
        let names = match self.names {
            Names::All(names) => Some(names),
            Names::OfEachProcess(names) => Some(names * processes),
            Names::Own => None,
        };
        let workload = Workload { tasks: self.tasks, names, hold: self.hold, pause: self.pause };
        Setting {
            processes,
            workload,
            machine: Machine::Apart { cores: CORES, round_trip },
            heartbeat: 5_000 * MS,
            warm_up: 3_000 * MS + self.pause + self.hold,
            length: self.length,
            seed: 1,
        }
    }
}

/// A cable in a rack; and what there is beside it: none, and another building.
const NEAR: u64 = MS * 3 / 10;
const OTHERS: [u64; 2] = [0, 2 * MS];

pub(crate) fn run(report: &mut Report, costs: &Costs) {
    let sizes: &[u32] =
        if report.quick { &[20, 100, 1_000] } else { &[20, 50, 100, 200, 500, 1_000] };
    println!(
        "\nscale: played, a server with {CORES} cores of its own, {} ms there and back unless said otherwise",
        NEAR as f64 / 1e6
    );
    let mut settings = Vec::new();
    for case in &CASES {
        settings.extend(sizes.iter().map(|&size| case.setting(size, NEAR)));
        settings.extend(OTHERS.map(|trip| case.setting(100, trip)));
    }
    let outcomes = play_all(costs, &settings);
    let of_each = sizes.len() + OTHERS.len();
    for ((case, settings), outcomes) in
        CASES.iter().zip(settings.chunks(of_each)).zip(outcomes.chunks(of_each))
    {
        table(report, case, costs, settings, outcomes, sizes.len());
    }
}

/// On all cores that are here.
fn play_all(costs: &Costs, settings: &[Setting]) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(setting) = settings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let place = std::ptr::from_ref(setting) as usize;
                    let outcome = play(costs, setting);
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push((place, outcome));
                }
            });
        }
    });
    let mut all = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What is too much, of one outcome: in the order in which it is said.
fn limits(outcome: &Outcome, gib: f64, usual: f64) -> [(&'static str, bool); 4] {
    [
        ("max_connections", outcome.sessions > CONNECTIONS),
        ("server's cores", outcome.server_cores > SHARE * CORES as f64),
        ("memory", gib > GIB),
        ("waits", outcome.waits.percentile(99) > LONGER * usual),
    ]
}

fn table(
    report: &mut Report,
    case: &Case,
    costs: &Costs,
    settings: &[Setting],
    outcomes: &[Outcome],
    sizes: usize,
) {
    println!("\n{}: {}", case.id, case.what);
    println!(
        "{:>9} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7}  too much",
        "processes",
        "trip ms",
        "locks/s",
        "p50 ms",
        "p99 ms",
        "sessions",
        "cores",
        "MiB",
        "beats/s"
    );
    let usual = outcomes[0].waits.percentile(99) + case.hold as f64;
    let mut first: [Option<u32>; 4] = [None; 4];
    for (place, (setting, outcome)) in settings.iter().zip(outcomes).enumerate() {
        let bytes = outcome.sessions as f64 * costs.session_bytes as f64;
        let limits = limits(outcome, bytes / f64::from(1 << 30), usual);
        if place < sizes {
            for (first, (_, is_met)) in first.iter_mut().zip(limits) {
                if is_met {
                    first.get_or_insert(setting.processes);
                }
            }
        }
        let too_much: Vec<_> =
            limits.iter().filter(|(_, is_met)| *is_met).map(|(what, _)| *what).collect();
        let Machine::Apart { round_trip, .. } = setting.machine else { continue };
        println!(
            "{:>9} {:>7.1} {:>8.0} {:>8.2} {:>8.2} {:>8} {:>7.2} {:>7.0} {:>7.0}  {}",
            setting.processes,
            round_trip as f64 / 1e6,
            outcome.rate,
            outcome.waits.percentile(50) / 1e6,
            outcome.waits.percentile(99) / 1e6,
            outcome.sessions,
            outcome.server_cores,
            bytes / f64::from(1 << 20),
            outcome.heartbeats,
            too_much.join(", ")
        );
    }
    for (what, first) in ["connections", "cores", "memory", "waits"].iter().zip(first) {
        let id = format!("scale_sim.{}.{what}-from", case.id);
        report.figure(&id, first.map(f64::from), "processes", "(none)");
    }
}
