//! Real processes, and as many that are played on as many cores, beside each other.
//!
//! All of them are on this machine with the server, so the cores are shared, also with whatever else the
//! machine does meanwhile. That is measured: if the play wants more than others have left, it is played
//! once more, on a machine that is slower by as much.

use std::{
    thread,
    time::{Duration, Instant},
};

use keyward_benches::{
    clock::now,
    crew::{Member, Outcome, again},
    histogram::Histogram,
    report::Report,
    sim::{Machine, Outcome as Played, Setting, Workload, play},
};

use crate::{
    child,
    costs::Measured,
    service::{Service, machine_time},
};

const MS: u64 = 1_000_000;

/// A workload, and what keyward is told.
struct Case {
    id: &'static str,
    what: &'static str,
    tasks: u32,
    /// For each process; none if nobody shares any.
    names: Option<u32>,
    hold: u64,
    pause: u64,
    query: &'static str,
    heartbeat: u64,
}

const CASES: [Case; 4] = [
    Case {
        id: "many",
        what: "4 tasks each, 200 names a process of which each takes any, hold 1 ms, pause 20 ms",
        tasks: 4,
        names: Some(200),
        hold: MS,
        pause: 20 * MS,
        query: "ttl=30&heartbeat=5",
        heartbeat: 5_000 * MS,
    },
    Case {
        id: "one",
        what: "4 tasks each, one name for all, hold 1 ms, pause 5 ms",
        tasks: 4,
        names: None,
        hold: MS,
        pause: 5 * MS,
        query: "ttl=30&heartbeat=5",
        heartbeat: 5_000 * MS,
    },
    Case {
        id: "held",
        what: "100 tasks each with a name of its own, hold 2 s, pause 100 ms, a heartbeat each 250 ms",
        tasks: 100,
        names: Some(0),
        hold: 2_000 * MS,
        pause: 100 * MS,
        query: "ttl=3&heartbeat=250ms",
        heartbeat: 250 * MS,
    },
    Case {
        id: "busy",
        what: "4 tasks each with a name of its own, no hold, no pause: as fast as it goes",
        tasks: 4,
        names: Some(0),
        hold: 0,
        pause: 0,
        query: "ttl=30&heartbeat=5",
        heartbeat: 5_000 * MS,
    },
];

impl Case {
    fn setting(&self, processes: u32, quick: bool) -> Setting {
        let names = match self.names {
            Some(0) => None,
            Some(each) => Some(each * processes),
            None => Some(1),
        };
        let (tasks, hold, pause) = (self.tasks, self.hold, self.pause);
        let workload = Workload { tasks, names, hold, pause };
        Setting {
            processes,
            workload,
            machine: Machine::Shared { cores: cores() },
            heartbeat: self.heartbeat,
            warm_up: 1_000 * MS + hold + pause,
            length: if quick { 3_000 * MS } else { 6_000 * MS },
            seed: 1,
        }
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn run(report: &mut Report, service: &mut Service, costs: &Measured) {
    let counts: &[u32] = if report.quick { &[20] } else { &[20, 100] };
    println!(
        "\ncheck: real processes beside as many that are played, all on this machine; server, clients and what \
         else it does, in cores of {}",
        cores()
    );
    println!(
        "{:>5} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>7} {:>10}",
        "", "locks/s", "p50 ms", "p99 ms", "sessions", "server", "clients", "others", "statements"
    );
    for &processes in counts {
        for case in &CASES {
            println!("{processes} processes, {}", case.what);
            let setting = case.setting(processes, report.quick);
            let (real, others) = match real(service, case, &setting) {
                Ok(real) => real,
                Err(error) => {
                    println!("n/a: {error}");
                    continue;
                }
            };
            let played = beside(costs, &setting, others);
            row("real", &real, others);
            row("play", &played, others);
            figures(report, case, processes, &real, &played);
        }
    }
}

/// Played with as much of the machine as others have left.
fn beside(costs: &Measured, setting: &Setting, others: f64) -> Played {
    let played = play(&costs.of_steps, setting);
    let left = (cores() as f64 - others).max(0.1);
    let times = (played.server_cores + played.client_cores) / left;
    if times <= 1.0 {
        return played;
    }
    let mut played = play(&costs.of_steps.on_slower(times), setting);
    played.server_cores /= times;
    played.client_cores /= times;
    played
}

fn row(title: &str, of: &Played, others: f64) {
    let ms = |percent| of.waits.percentile(percent) / 1e6;
    println!(
        "{title:>5} {:>9.0} {:>9.2} {:>9.2} {:>8} {:>8.2} {:>8.2} {others:>7.2} {:>10.0}",
        of.rate,
        ms(50),
        ms(99),
        of.sessions,
        of.server_cores,
        of.client_cores,
        of.statements
    );
}

fn figures(report: &mut Report, case: &Case, processes: u32, real: &Played, played: &Played) {
    let half = |of: &Played| of.waits.percentile(50);
    for (what, real, played, range) in [
        ("throughput", real.rate, played.rate, "0.67..1.5"),
        ("sessions", real.sessions as f64, played.sessions as f64, "0.91..1.1"),
        ("wait-p50", half(real), half(played), "0.67..1.5"),
        ("server-time", real.server_cores, played.server_cores, "0.67..1.5"),
    ] {
        let id = match processes {
            20 => format!("scale_sim.{}.{what}-error", case.id),
            _ => format!("scale_sim.{}-{processes}.{what}-error", case.id),
        };
        report.figure(&id, Some(real / played), "real:played", range);
    }
}

/// The real thing, for as long; and how many cores others had meanwhile.
fn real(service: &mut Service, case: &Case, setting: &Setting) -> Outcome<(Played, f64)> {
    service.settle()?;
    let url = service.url(case.query);
    let mut members = Vec::new();
    for number in 0..setting.processes {
        let mut command = again(child::HIDDEN)?;
        command.arg(&url).args(child::arguments(&setting.workload, number));
        members.push(Member::start(command)?);
    }
    let start = now() + setting.warm_up;
    let end = start + setting.length;
    for member in &mut members {
        member.say(&format!("run {start} {end}"))?;
    }
    sleep_until(start);
    service.forget_the_most()?;
    let (statements, time) = (service.counter("QUESTIONS")?, service.time()?);
    let machine = machine_time()?;
    let began = Instant::now();
    sleep_until(end);
    let seconds = began.elapsed().as_secs_f64();
    let (time, machine) = (service.time()? - time, machine_time()? - machine);
    let statements = service.counter("QUESTIONS")? - statements - 1;
    let sessions = service.counter("MAX_USED_CONNECTIONS")?.saturating_sub(1);
    let (mut waits, mut spent) = (Histogram::default(), 0.0);
    for member in &members {
        let numbers = member.hear(Duration::from_secs(60))?;
        let (own, seen) = numbers.split_first().ok_or("no numbers")?;
        spent += own;
        waits.merge(&Histogram::from_numbers(seen));
    }
    let length = setting.length as f64 / 1e9;
    let real = Played {
        rate: waits.count() as f64 / length,
        waits,
        sessions: sessions as usize,
        server_cores: time as f64 / 1e9 / seconds,
        client_cores: spent / 1e9 / length,
        statements: statements as f64 / seconds,
        heartbeats: f64::NAN,
    };
    let others = machine as f64 / 1e9 / seconds - real.server_cores - real.client_cores;
    Ok((real, others.max(0.0)))
}

fn sleep_until(time: u64) {
    thread::sleep(Duration::from_nanos(time.saturating_sub(now())));
}
