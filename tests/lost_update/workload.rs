//! 3 processes, 300 operations, the first of them stopped for longer than its lease. What is fenced loses
//! nothing, whatever the program under the lock looks at.

use std::{env, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    lost_update::{
        Outcome,
        checker::{Verdict, judge},
        leased::Leased,
        nemesis::{self, Plan, Ran},
        register::Register,
        text,
        worker::{self, Orders},
    },
    server::{Kind, Server},
};

/// What a process is told: lines; without it, the entry test has nothing to do.
const ORDERS: &str = "KEYWARD_TEST_LOST_UPDATE";

const TTL: Duration = Duration::from_secs(3);

/// Fixed, so that a failure can be met again, as far as the kernel allows.
const SEED: u64 = 0x006b_6579_7761_7264;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The entry of the processes that work.
#[test]
fn process() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let ended = worker::until_told();
    let words: Vec<String> = orders.lines().map(str::to_owned).collect();
    let orders = Orders::parse(&words[2..]).unwrap();
    runtime().block_on(async {
        let lock = Leased::connect(&words[0], words[1] == "careful").await.unwrap();
        worker::run(orders, lock, &ended).await.unwrap();
    });
}

fn command(lock: &str, program: &str, orders: &Orders) -> Outcome<Command> {
    let mut command = Command::new(env::current_exe().map_err(text)?);
    command.args(["workload::process", "--exact", "--nocapture", "--test-threads=1"]);
    let words = [&[lock.to_owned(), program.to_owned()][..], &orders.words()].concat();
    command.env(ORDERS, words.join("\n")).stdout(std::process::Stdio::null());
    Ok(command)
}

struct Case<'a> {
    lock: &'a str,
    program: &'a str,
    /// Whether a holder that is stopped loses the lock.
    loses: bool,
    fenced: bool,
}

/// Runs it; what all of them have in common is asserted here.
fn lost_update(server: &Server, case: &Case<'_>) -> Verdict {
    let &Case { lock, program, loses, fenced } = case;
    let table = "register";
    runtime().block_on(Register::create(server, table));
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let plan = Plan {
        processes: 3,
        operations: 300,
        ttl: if loses { TTL } else { TTL / 4 },
        loses,
        // A stopped process that waits is granted the lock too, and keeps it for the ttl.
        pause: Duration::from_millis(2000),
        limit: Duration::from_secs(120),
    };
    let ran = nemesis::run(&plan, &log, SEED, |process| {
        let orders = Orders {
            process,
            register: server.url(),
            table: table.to_owned(),
            log: log.display().to_string(),
            fenced,
            compute: Duration::from_millis(5),
        };
        command(lock, program, &orders)
    });
    let ran: Ran = ran.unwrap();
    let left = runtime().block_on(Register::left(server, table));
    let verdict = judge(&ran.lines, left).unwrap();
    println!(
        "{lock}, {program}: {verdict:?}, {} stops, {} kills, {:?}",
        ran.stops, ran.kills, ran.time
    );
    assert!(ran.long_stops > 0 && ran.kills > 0, "{} stops, {} kills", ran.long_stops, ran.kills);
    assert!(verdict.operations >= plan.operations, "{verdict:?}");
    assert!(verdict.acknowledged > plan.operations / 2, "{verdict:?}");
    assert!(!fenced || verdict.lost == 0, "{verdict:?}");
    assert_eq!(verdict.out_of_order, 0, "{verdict:?}");
    assert_eq!(verdict.vouched_wrongly, 0, "{verdict:?}");
    verdict
}

/// On a server of its own.
fn on_a_server(program: &str, fenced: bool) -> Verdict {
    let server = Server::start(Kind::mariadb());
    let lock = &format!("{}&ttl=3", server.url());
    lost_update(&server, &Case { lock, program, loses: true, fenced })
}

#[test]
fn files() {
    let (server, folder) = (Server::start(Kind::mariadb()), TempDir::new().unwrap());
    let lock = &format!("file://{}", folder.path().display());
    let case = Case { lock, program: "blind", loses: false, fenced: true };
    let verdict = lost_update(&server, &case);
    assert_eq!(verdict.overlaps, 0, "{verdict:?}");
    assert_eq!(verdict.refused, 0, "nobody had lost it: {verdict:?}");
}

#[test]
fn a_server_and_a_program_that_looks_at_nothing() {
    let verdict = on_a_server("blind", true);
    assert!(verdict.refused > 0, "somebody slept and wrote: {verdict:?}");
}

#[test]
fn a_server_and_a_program_that_asks() {
    let verdict = on_a_server("careful", true);
    assert!(verdict.told > 0, "somebody slept and was told: {verdict:?}");
}

/// What the others are good for: whoever slept has not read what was written meanwhile, so either that
/// is gone or his own write is.
#[test]
fn the_same_without_the_fence_loses() {
    let verdict = on_a_server("blind", false);
    assert!(verdict.lost > 0, "nobody was in the way of a write that is too late: {verdict:?}");
}
