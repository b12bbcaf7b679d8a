//! Who plays the rows of a matrix: one after the other, since they measure.
//!
//! A row is one `async fn` over a [`Stage`], and one line in its binary's table; a backend of a row has
//! lines of output as [`Outcome::lines`](crate::report::Outcome::lines) writes them.

use std::{
    env,
    io::{Write, stdout},
    path::Path,
    pin::Pin,
    process::Command,
    sync::{Arc, Once},
    thread,
};

use crate::{
    process::die_with_the_parent,
    room::{alone, is_inner, with_mounts},
    server::Kind,
    stage::{Backend, Stage},
};

pub(crate) type Play = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which backends a row is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Registry,
    Memory,
    File,
    MySql,
}

/// Where it is played.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each binary has a part of them")]
pub(crate) enum Place {
    Here,
    /// In a process of its own, where nobody else opens files or starts threads.
    Alone,
    /// The same, at the same time as its neighbours in the table that are so too: rows that wait for
    /// clocks more than they do anything.
    Beside,
    /// In one with mounts of its own.
    Mounts,
}

pub(crate) struct Row {
    pub(crate) number: &'static str,
    pub(crate) name: &'static str,
    pub(crate) on: &'static [On],
    /// How often it runs in full; and at least, whatever is asked for.
    pub(crate) runs: [usize; 2],
    pub(crate) place: Place,
    pub(crate) play: fn(Arc<Stage>) -> Play,
}

/// A row of the table: its function becomes a boxed future.
macro_rules! row {
    ($number:literal, $name:literal, $on:expr, $runs:expr, $play:path) => {
        $crate::player::row!($number, $name, $on, $runs, $play, $crate::player::Place::Here)
    };
    ($number:literal, $name:literal, $on:expr, $runs:expr, $play:path, $place:expr) => {
        $crate::player::Row {
            number: $number,
            name: $name,
            on: &$on,
            runs: $runs,
            place: $place,
            play: |stage| Box::pin($play(stage)),
        }
    };
}

pub(crate) use row;

/// A table, and what of it is to be played.
pub(crate) struct Matrix {
    pub(crate) rows: &'static [Row],
    /// The test that plays it, which processes of their own run again.
    pub(crate) test: &'static str,
    /// Of what the rows do in full.
    pub(crate) share: f64,
    /// The variable that picks rows: all of a number, or `number/backend`, with commas between them.
    pub(crate) wanted: &'static str,
}

/// Of a row that is played in a process of its own: which of the rows, and on which backend.
const INNER: &str = "KEYWARD_FAULT_ROW";

/// What the lines of a process of its own begin with.
const PASSED_ON: [&str; 3] = ["fault ", "cancellation ", "    "];

fn backends(row: &Row) -> Vec<Backend> {
    let backends = row.on.iter().flat_map(|on| match on {
        On::Registry => vec![Backend::Registry],
        On::Memory => vec![Backend::Memory],
        On::File => vec![Backend::File],
        On::MySql => Kind::all().iter().map(Backend::MySql).collect(),
    });
    backends.collect()
}

impl Matrix {
    /// Panics if something is wrong, or if nothing was to be played.
    pub(crate) fn play(&self) {
        if is_inner() {
            die_with_the_parent();
            let inner = env::var(INNER).unwrap();
            let (at, label) = inner.split_once('/').unwrap();
            let row = &self.rows[at.parse::<usize>().unwrap()];
            let backend = backends(row).into_iter().find(|backend| backend.label() == label);
            assert!(self.play_here(row, backend.unwrap()), "see above");
            return;
        }
        let (mut played, mut failed, mut beside) = (0, Vec::new(), Vec::new());
        for (at, row) in self.rows.iter().enumerate() {
            if row.place != Place::Beside {
                failed.extend(self.play_beside(std::mem::take(&mut beside)));
            }
            for backend in backends(row) {
                if !self.is_wanted(row, &backend.label()) {
                    continue;
                }
                played += 1;
                match row.place {
                    Place::Beside => beside.push((at, backend)),
                    _ => failed.extend(self.play_one(at, backend)),
                }
            }
        }
        failed.extend(self.play_beside(beside));
        assert!(played > 0, "{} names no row", self.wanted);
        assert!(failed.is_empty(), "{failed:#?}");
    }

    /// Who has failed, if it has.
    fn play_one(&self, at: usize, backend: Backend) -> Option<String> {
        let (row, label) = (&self.rows[at], backend.label());
        let is_good = match row.place {
            Place::Here => self.play_here(row, backend),
            Place::Alone | Place::Beside => self.play_apart(at, &label, alone),
            Place::Mounts => self.play_apart(at, &label, with_mounts),
        };
        (!is_good).then(|| format!("{} {label}: {}", row.number, row.name))
    }

    fn play_beside(&self, all: Vec<(usize, Backend)>) -> Vec<String> {
        thread::scope(|scope| {
            let all: Vec<_> = all
                .into_iter()
                .map(|(at, backend)| scope.spawn(move || self.play_one(at, backend)))
                .collect();
            all.into_iter().filter_map(|one| one.join().unwrap()).collect()
        })
    }

    fn is_wanted(&self, row: &Row, label: &str) -> bool {
        let Ok(wanted) = env::var(self.wanted) else { return true };
        wanted.split(',').any(|wanted| match wanted.split_once('/') {
            Some((number, backend)) => number == row.number && backend == label,
            None => wanted == row.number,
        })
    }

    /// Plays a row and prints its lines; false if something is wrong.
    fn play_here(&self, row: &Row, backend: Backend) -> bool {
        let [full, least] = row.runs;
        let runs = ((full as f64 * self.share).ceil() as usize).max(least);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
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
        let is_played = stage.outcome().not_run.is_none();
        stage.check(ran >= runs || !is_played, || format!("it ran {ran} times and not {runs}"));
        let late = stage.outcome().late();
        late.into_iter().for_each(|late| stage.violation(late));
        let outcome = stage.outcome();
        for line in &outcome.table {
            say(line);
        }
        for line in outcome.lines(row.number, &backend.label(), row.name) {
            say(&line);
        }
        for violation in outcome.violations.iter().take(20) {
            say(&format!("    violation: {violation}"));
        }
        outcome.violations.is_empty()
    }

    /// Has another process play it, and passes on what that says.
    fn play_apart(&self, at: usize, label: &str, wrap: fn(&Path) -> Command) -> bool {
        let mut command = wrap(&env::current_exe().unwrap());
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env("KEYWARD_TEST_INNER", "1").env(INNER, format!("{at}/{label}"));
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let lines =
            text.lines().filter(|line| PASSED_ON.iter().any(|start| line.starts_with(start)));
        let said = lines.inspect(|line| say(line)).count();
        let is_good = output.status.success() && said > 0;
        if !is_good {
            say(&format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        is_good
    }
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
