//! `LockRegistry` beside its peers: every workload, one process, interleaved rounds.
//!
//! ```text
//! cargo bench -p keyward-benches --bench registry               everything, about 3 minutes
//! cargo bench -p keyward-benches --bench registry -- --quick    the same with fewer rounds, 60 s at most
//! cargo bench -p keyward-benches --bench registry -- hot many   the workloads whose names contain a word
//! ```
//!
//! In every round each contestant runs once, and the round's number says who begins, so that a noisy
//! moment hits nobody in particular. The tables show the median time, and the median over the rounds of
//! (contestant / T of the same round), where T is one bare `tokio::sync::Mutex`. Ratios within a run are
//! what is claimed; the times of a shared machine are not. The last lines are one `figure` each.
//!
//! Keys are 100,000 names of 40 bytes, made before. CT is a current-thread runtime, MT has two workers.
//! The work runs in a spawned task, and guards pass through `black_box`. Instructions are counted by
//! callgrind, if valgrind is installed: the binary runs itself under it, at two scales, and takes the
//! difference.
#![allow(missing_docs, reason = "a program")]

#[path = "registry/contestants.rs"]
mod contestants;
#[path = "registry/instructions.rs"]
mod instructions;
#[path = "registry/memory.rs"]
mod memory;
#[path = "registry/workloads.rs"]
mod workloads;

use keyward_benches::report;

use crate::report::Report;

fn main() {
    let arguments = report::arguments();
    if let [first, rest @ ..] = &arguments[..]
        && first == instructions::HIDDEN
    {
        return instructions::run_counted(rest);
    }
    let mut report = Report::new(&arguments);
    workloads::run(&mut report);
    memory::run(&mut report);
    instructions::run(&mut report);
    report.finish();
}
