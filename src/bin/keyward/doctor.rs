//! `doctor`: what a store does, tried out and printed as a table.
//!
//! D1. Only a name of our own is locked, with our number and a random one in it.
//! D2. Nothing is left: leases are released, and the handles closed. A lock file is removed as well, which
//!     is no business of a locker's otherwise: whoever deletes one takes the lock away from those who
//!     have it open. Here these are we alone, and that we are told of it is one of the questions. A
//!     signal ends the questions, not the tidying up.
//! D3. What is said to be so has been tried; what has not been tried is called *stated*.

use std::{
    fmt::{Display, Write as _},
    hash::{BuildHasher, RandomState},
    io::{self, Write as _},
    process::id,
};

use keyward::{Error, Locks};
use tokio::{
    select,
    time::{Instant, timeout},
};

use crate::{
    args,
    exit::{self, End},
    probes::{self, Probe},
    say,
    signals::Signals,
    take::{GOODBYE, leave, url},
};

/// What has been found, row by row.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, &'static str, String)>,
    /// The worst so far.
    code: u8,
}

impl Report {
    /// It is as it should be, or is neither good nor bad.
    pub(crate) fn good(&mut self, what: &'static str, verdict: &'static str, text: impl Display) {
        self.rows.push((what, verdict, text.to_string()));
    }

    /// It is not as it should be.
    pub(crate) fn bad(&mut self, what: &'static str, text: impl Display) {
        self.rows.push((what, "no", text.to_string()));
        self.code = self.code.max(exit::FAULTY);
    }

    /// It could not be tried.
    fn failed(&mut self, what: &'static str, error: &Error) {
        self.rows.push((what, "?", say::chain(error)));
        self.code = self.code.max(exit::code(error.kind()).min(exit::UNAVAILABLE));
    }

    fn note(&mut self, what: &'static str, asked: Result<(), Error>) {
        if let Err(error) = asked {
            self.failed(what, &error);
        }
    }

    fn print(&self) {
        let mut table = String::new();
        for (what, verdict, text) in &self.rows {
            let line = format!("{what:<14} {verdict:<4} {text}");
            writeln!(table, "{}", say::clean(line.trim_end())).expect("a string takes everything");
        }
        drop(io::stdout().write_all(table.as_bytes()));
    }
}

pub(crate) async fn doctor(doctor: args::Doctor) -> End {
    let url = match url(&doctor.store) {
        Ok(url) => url,
        Err(end) => return end,
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            say::failed("signals cannot be listened to", &error);
            return End::Code(exit::UNAVAILABLE);
        }
    };
    let mut report = Report::default();
    let connected = select! {
        biased;
        signal = signals.end() => return End::Signal(signal),
        connected = connect_twice(url, &mut report) => connected,
    };
    match connected {
        Ok((one, other)) => {
            let name = name();
            let probe = Probe { url, name: &name, one: &one, other: &other };
            let signal = select! {
                biased;
                signal = signals.end() => Some(signal),
                () = examine(&probe, &mut report) => None,
            };
            if signal.is_some() {
                // Nobody else has the name: it is free as soon as what was under way has ended.
                drop(timeout(GOODBYE, probes::tidy(&probe)).await);
            }
            leave(&other).await;
            leave(&one).await;
            if let Some(signal) = signal {
                return End::Signal(signal);
            }
        }
        Err(error) => {
            report.failed("reachable", &error);
            report.code = exit::code(error.kind());
        }
    }
    report.print();
    End::Code(report.code)
}

async fn connect_twice(url: &str, report: &mut Report) -> Result<(Locks, Locks), Error> {
    let begun = Instant::now();
    let one = Locks::connect(url).await?;
    let took = begun.elapsed();
    report.good("store", "", one.capability().backend);
    report.good("reachable", "yes", format_args!("connected in {}", probes::time(took)));
    Ok((one, Locks::connect(url).await?))
}

async fn examine(probe: &Probe<'_>, report: &mut Report) {
    let asked = probes::excludes(probe, report).await;
    report.note("excludes", asked);
    let asked = probes::latency(probe, report).await;
    report.note("latency", asked);
    let asked = probes::shared(probe, report).await;
    report.note("shared mode", asked);
    probes::order(probe, report);
    // The last one with the lock: it takes the file away (D2).
    let asked = probes::loss(probe, report).await;
    report.note("loss", asked);
    let asked = probes::left_behind(probe, report).await;
    report.note("left behind", asked);
    let warnings = probe.one.capability().warnings;
    if warnings.is_empty() {
        report.good("warnings", "", "none");
    }
    for warning in warnings {
        report.good("warning", "", warning);
    }
}

/// A name that nobody else has.
fn name() -> String {
    format!("keyward-doctor-{}-{:016x}", id(), RandomState::new().hash_one(id()))
}
