//! The table of rows, and who plays them: one after the other, since they measure.

use std::{
    env,
    io::{Write, stdout},
    path::Path,
    pin::Pin,
    process::Command,
    sync::{Arc, Once},
};

use crate::{
    files, kills, limits, networks,
    process::die_with_the_parent,
    processes,
    room::{alone, is_inner, with_mounts},
    server::Kind,
    servers,
    stage::{Backend, Stage},
};

type Play = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which backends a row is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Registry,
    Memory,
    File,
    MySql,
}

/// Where it is played.
#[derive(Clone, Copy)]
enum Place {
    Here,
    /// In a process of its own, where nobody else opens files or starts threads.
    Alone,
    /// In one with mounts of its own.
    Mounts,
}

struct Row {
    number: &'static str,
    name: &'static str,
    on: &'static [On],
    /// How often it runs in full; and at least, whatever is asked for.
    runs: [usize; 2],
    place: Place,
    play: fn(Arc<Stage>) -> Play,
}

/// A row of the table: its function becomes a boxed future.
macro_rules! row {
    ($number:literal, $name:literal, $on:expr, $runs:expr, $play:path) => {
        row!($number, $name, $on, $runs, $play, Place::Here)
    };
    ($number:literal, $name:literal, $on:expr, $runs:expr, $play:path, $place:expr) => {
        Row {
            number: $number,
            name: $name,
            on: &$on,
            runs: $runs,
            place: $place,
            play: |stage| Box::pin($play(stage)),
        }
    };
}

use On::{File, Memory, MySql, Registry};

const ROWS: &[Row] = &[
    row!("1", "kill -9 of a holder", [File, MySql], [200, 5], processes::holder_killed),
    row!("2", "kill -9 of a waiter", [File, MySql], [200, 5], processes::waiter_killed),
    row!("3", "SIGSTOP of a holder, and CONT", [File], [50, 5], processes::holder_stopped_on_files),
    row!(
        "3",
        "SIGSTOP of a holder for 2 ttl, and CONT",
        [MySql],
        [50, 5],
        processes::holder_stopped
    ),
    row!(
        "4",
        "SIGSTOP of a waiter, then a release",
        [File, MySql],
        [50, 5],
        processes::waiter_stopped
    ),
    row!("5", "kill -9 and restart of the server", [MySql], [100, 8], servers::killed),
    row!("6", "SIGSTOP of the server for half a ttl", [MySql], [40, 8], servers::stopped_briefly),
    row!("6", "SIGSTOP of the server for 2 ttl", [MySql], [40, 8], servers::stopped_for_long),
    row!("7", "graceful restart of the server", [MySql], [40, 8], servers::restarted),
    row!("8", "a holder is cut off, by a proxy", [MySql], [1000, 20], networks::holder_cut),
    row!(
        "8",
        "a holder is cut off, by a blackhole in its namespace",
        [MySql],
        [50, 5],
        networks::holder_in_a_blackhole
    ),
    row!("9", "a waiter is cut off", [MySql], [200, 10], networks::waiter_cut),
    row!(
        "10",
        "200 ms each way, and 800 ms for one packet in twenty",
        [MySql],
        [60, 6],
        networks::slow
    ),
    row!("11", "requests pass, replies are lost", [MySql], [100, 10], networks::half_open),
    row!("12", "KILL CONNECTION of a holder", [MySql], [200, 10], kills::holder_connection),
    row!("12", "KILL QUERY of a holder", [MySql], [200, 10], kills::holder_query),
    row!("12", "KILL CONNECTION and KILL QUERY of a waiter", [MySql], [200, 10], kills::waiter),
    row!("12", "a hold is taken away", [Memory], [200, 10], kills::memory_lost),
    row!("14", "a wait_timeout that is capped below the ttl", [MySql], [27, 5], servers::capped),
    row!("14", "idle at the shortest ttl", [MySql], [40, 4], servers::idle),
    row!(
        "16",
        "no block is left in the lock directory",
        [File],
        [200, 10],
        files::no_block,
        Place::Mounts
    ),
    row!(
        "16",
        "no inode is left in the lock directory",
        [File],
        [200, 10],
        files::no_inode,
        Place::Mounts
    ),
    row!(
        "17",
        "read-only, forbidden, missing, a link",
        [File],
        [100, 5],
        files::refused,
        Place::Mounts
    ),
    row!(
        "18",
        "removed, renamed, replaced while waited for",
        [File],
        [100_000, 5_000],
        files::replaced_while_waited_for
    ),
    row!(
        "18",
        "removed, renamed, replaced while held",
        [File],
        [300, 15],
        files::replaced_while_held
    ),
    row!(
        "19",
        "fork and exec, and the child lives on",
        [File, MySql],
        [50, 5],
        processes::child_lives_on
    ),
    row!("20", "no descriptor is left", [File, MySql], [100, 5], limits::descriptors, Place::Alone),
    row!(
        "20",
        "no descriptor is left",
        [Registry, Memory],
        [100, 5],
        limits::descriptors_in_memory,
        Place::Alone
    ),
    row!("20", "no thread is left", [File], [20, 3], limits::threads, Place::Alone),
];

/// How much of the matrix is to be run.
fn share() -> f64 {
    let share = env::var("KEYWARD_FAULT_RUNS").unwrap_or_else(|_| "0.05".to_owned());
    share.parse().unwrap_or_else(|_| panic!("KEYWARD_FAULT_RUNS={share} is no number"))
}

/// Rows that are asked for: all of a number, or `number/backend`.
fn is_wanted(row: &Row, label: &str) -> bool {
    let Ok(wanted) = env::var(WANTED) else { return true };
    wanted.split(',').any(|wanted| match wanted.split_once('/') {
        Some((number, backend)) => number == row.number && backend == label,
        None => wanted == row.number,
    })
}

const WANTED: &str = "KEYWARD_FAULT_ROWS";

/// Of a row that is played in a process of its own: which of [`ROWS`] that process is to play.
const INNER: &str = "KEYWARD_FAULT_ROW";

fn backends(row: &Row) -> Vec<Backend> {
    let backends = row.on.iter().flat_map(|on| match on {
        Registry => vec![Backend::Registry],
        Memory => vec![Backend::Memory],
        File => vec![Backend::File],
        MySql => Kind::all().iter().map(Backend::MySql).collect(),
    });
    backends.collect()
}

#[test]
fn the_matrix() {
    if is_inner() {
        die_with_the_parent();
        let at: usize = env::var(INNER).unwrap().split('/').next().unwrap().parse().unwrap();
        let label = env::var(INNER).unwrap().split_once('/').unwrap().1.to_owned();
        let backend = backends(&ROWS[at]).into_iter().find(|backend| backend.label() == label);
        assert!(play(&ROWS[at], backend.unwrap()), "see above");
        return;
    }
    let (mut played, mut failed) = (0, Vec::new());
    for (at, row) in ROWS.iter().enumerate() {
        for backend in backends(row) {
            let label = backend.label();
            if !is_wanted(row, &label) {
                continue;
            }
            played += 1;
            let is_good = match row.place {
                Place::Here => play(row, backend),
                Place::Alone => play_apart(at, &label, alone),
                Place::Mounts => play_apart(at, &label, with_mounts),
            };
            if !is_good {
                failed.push(format!("{} {label}: {}", row.number, row.name));
            }
        }
    }
    assert!(played > 0, "{WANTED} names no row");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Past what the test harness captures, and on a line of its own.
fn say(line: &str) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| println_raw(""));
    println_raw(line);
}

fn println_raw(line: &str) {
    let mut out = stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Plays a row and prints its lines; false if something is wrong.
fn play(row: &Row, backend: Backend) -> bool {
    let [full, least] = row.runs;
    let runs = ((full as f64 * share()).ceil() as usize).max(least);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let stage = Stage::new(backend, runs);
    let played = runtime.block_on(runtime.spawn((row.play)(Arc::clone(&stage))));
    drop(runtime);
    if let Err(e) = played {
        let panic = e.into_panic();
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        stage.violation(text.unwrap_or_else(|| "a panic".to_owned()));
    }
    let ran = stage.outcome().runs;
    stage.check(ran >= runs, || format!("it ran {ran} times and not {runs}"));
    let outcome = stage.outcome();
    for line in outcome.lines(row.number, &backend.label(), row.name) {
        say(&line);
    }
    for violation in outcome.violations.iter().take(20) {
        say(&format!("    violation: {violation}"));
    }
    outcome.violations.is_empty()
}

/// Has another process play it, and passes on what that says.
fn play_apart(at: usize, label: &str, wrap: fn(&Path) -> Command) -> bool {
    let mut command = wrap(&env::current_exe().unwrap());
    command.args(["matrix::the_matrix", "--exact", "--nocapture", "--test-threads=1"]);
    command.env("KEYWARD_TEST_INNER", "1").env(INNER, format!("{at}/{label}"));
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.starts_with("fault ") || line.starts_with("    "));
    let said = lines.inspect(|line| say(line)).count();
    let is_good = output.status.success() && said > 0;
    if !is_good {
        say(&format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    }
    is_good
}
