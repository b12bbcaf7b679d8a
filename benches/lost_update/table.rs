//! A row for each contestant, with the fence and without.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use keyward_benches::{
    crew::{Outcome, text},
    report::Report,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    contestants::{Who, command},
    lost_update::{
        checker::{Verdict, judge},
        log::{Event, Line},
        nemesis::{self, Plan, Ran},
        register::Register,
        worker::Orders,
    },
    server::{Kind, Server},
};

const TTL: Duration = Duration::from_secs(3);

/// What one row rests on.
struct Setting<'a> {
    server: &'a Server,
    scratch: &'a Path,
    runtime: Runtime,
    quick: bool,
    seed: u64,
}

/// Runs all rows; what keyward has done that it must not.
pub(crate) fn run(report: &mut Report, scratch: &Path) -> Vec<String> {
    let kind = Kind::mariadb();
    // What is acknowledged need not outlive the server, which nobody kills here.
    let server = Server::start_with(kind, &["--innodb-flush-log-at-trx-commit=0"]);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let seed =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let setting = Setting { server: &server, scratch, runtime, quick: report.quick, seed };
    println!("MariaDB {}, seed {seed}\n", kind.version());
    head();
    let mut wrong = Vec::new();
    for who in Who::ALL {
        for fenced in [true, false] {
            if fenced && !who.has_tokens() || !report.wants(who.argument()) {
                continue;
            }
            let id = format!("lost.{}.{}", who.argument(), fence(fenced));
            let must = who.has_tokens() && fenced;
            let goal = if must { "0" } else { "(none)" };
            match setting.row(who, fenced) {
                Ok((ran, verdict)) => {
                    row(who, fenced, &ran, verdict);
                    wrong.extend(check(who, fenced, verdict).map(|what| format!("{id}: {what}")));
                    report.figure(&id, Some(percent(verdict)), "%-of-acknowledged", goal);
                }
                Err(error) => {
                    println!("n/a: {}, {}: {error}", who.name(), fence(fenced));
                    report.figure(&id, None, "%-of-acknowledged", goal);
                    // A peer may be missing; keyward is not.
                    wrong.extend(who.has_tokens().then(|| format!("{id}: {error}")));
                }
            }
        }
    }
    wrong
}

impl Setting<'_> {
    fn row(&self, who: Who, fenced: bool) -> Outcome<(Ran, Verdict)> {
        let table = format!("{}_{}", who.argument().replace('-', "_"), fence(fenced));
        let folder = self.scratch.join(&table);
        std::fs::create_dir_all(&folder).map_err(text)?;
        let log = self.scratch.join(format!("{table}.log"));
        self.runtime.block_on(Register::create(self.server, &table));
        let target =
            if who.is_on_files() { folder.display().to_string() } else { self.server.url() };
        let plan = Plan {
            processes: 5,
            operations: if self.quick { 500 } else { 10_000 },
            ttl: TTL,
            loses: who.loses(),
            // A queue that is in order comes to each who stands still, and waits for him too: much
            // more evil than this, and it does nothing else.
            pause: Duration::from_millis(if self.quick { 1500 } else { 4000 }),
            limit: Duration::from_secs(if self.quick { 60 } else { 240 }),
        };
        let ran = nemesis::run(&plan, &log, self.seed, |process| {
            let orders = Orders {
                process,
                register: self.server.url(),
                table: table.clone(),
                log: log.display().to_string(),
                fenced,
                compute: Duration::from_millis(3),
            };
            command(who, &target, &orders)
        })?;
        let left = self.runtime.block_on(Register::left(self.server, &table));
        let verdict = judge(&ran.lines, left)?;
        if verdict.acknowledged == 0 || ran.long_stops == 0 {
            return Err("nothing has come to pass".to_owned());
        }
        Ok((ran, verdict))
    }
}

const fn fence(fenced: bool) -> &'static str {
    if fenced { "fence" } else { "none" }
}

fn percent(verdict: Verdict) -> f64 {
    verdict.lost as f64 * 100.0 / verdict.acknowledged as f64
}

/// What keyward has promised and not kept.
fn check(who: Who, fenced: bool, verdict: Verdict) -> impl Iterator<Item = String> {
    let Verdict { lost, out_of_order, vouched_wrongly, overlaps, .. } = verdict;
    let lost = if fenced { lost } else { 0 };
    let overlaps = if who.loses() { 0 } else { overlaps };
    let all = [
        (lost, "updates lost in spite of the fence"),
        (out_of_order, "tokens out of order"),
        (vouched_wrongly, "leases vouched for that somebody else has had since"),
        (overlaps, "overlaps of a lock that cannot be lost here"),
    ];
    let all = all.into_iter().filter(move |&(count, _)| who.has_tokens() && count > 0);
    all.map(|(count, what)| format!("{count} {what}"))
}

fn head() {
    println!(
        "{:<42} {:<5} {:>6} {:>6} {:>7} {:>5} {:>7} {:>6} {:>7} {:>8} {:>5} {:>6} {:>7} {:>5} {:>6} {:>6}",
        "",
        "fence",
        "ops",
        "acked",
        "refused",
        "told",
        "unknown",
        "lost",
        "lost %",
        "overlaps",
        "late",
        "failed",
        "stops",
        "kills",
        "gap s",
        "ops/s",
    );
}

fn row(who: Who, fenced: bool, ran: &Ran, verdict: Verdict) {
    println!(
        "{:<42} {:<5} {:>6} {:>6} {:>7} {:>5} {:>7} {:>6} {:>7.2} {:>8} {:>5} {:>6} {:>7} {:>5} {:>6.1} {:>6.1}",
        who.name(),
        if fenced { "yes" } else { "no" },
        verdict.operations,
        verdict.acknowledged,
        verdict.refused,
        verdict.told,
        verdict.unknown,
        verdict.lost,
        percent(verdict),
        verdict.overlaps,
        verdict.late,
        verdict.failures,
        format!("{}/{}", ran.stops, ran.long_stops),
        ran.kills,
        longest_gap(&ran.lines),
        verdict.operations as f64 / ran.time.as_secs_f64(),
    );
}

/// The longest time, in seconds, in which nobody got the lock.
fn longest_gap(lines: &[Line]) -> f64 {
    let had = lines.iter().filter(|line| matches!(line.event, Event::Had(_)));
    let mut times: Vec<u64> = had.map(|line| line.time).collect();
    times.sort_unstable();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    longest.map_or(f64::NAN, |longest| longest as f64 / 1e9)
}
