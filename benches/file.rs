//! `file:` beside the bare system calls and what people lock files with today, between processes.
//!
//! ```text
//! cargo bench -p keyward-benches --bench file                   everything, about 8 minutes
//! cargo bench -p keyward-benches --bench file -- --quick        the same with fewer rounds, 80 s
//! cargo bench -p keyward-benches --bench file -- churn cancel   the workloads whose names contain a word
//! ```
//!
//! | workload | what |
//! |---|---|
//! | uncontended, one name | lock and unlock; T looks whether the name still is the locked file, as keyward does |
//! | uncontended, first … | as above, names of existing files that this process has not locked before |
//! | hand-over | two processes, one parked: from before the release to after the acquisition |
//! | churn | 2 to 100 processes that want one name all the time, with no hold or a sleep of 2 ms |
//! | waiting | CPU of a process with 0, 1, 10 or 100 tasks that wait for what another process holds |
//! | cancel | acquisitions that wait and are dropped: how soon the kernel has them no more |
//!
//! In every round each contestant runs once, and the round's number says who begins, so that a noisy
//! moment hits nobody in particular. Ratios within a run are what is claimed; the times of a shared
//! machine are not. The other processes are this binary once more, or Python; a contestant who cannot
//! be had is "n/a", and why. The last lines are one `figure` each.
//!
//! The Python peers run where a Python has them: the one named by `KEYWARD_TEST_PYTHON`, or
//! `python-env` in the target folder, with oslo.concurrency 7.6.1 and fasteners 0.20.
#![allow(missing_docs, reason = "a program")]

#[path = "file/bare.rs"]
mod bare;
#[path = "file/child.rs"]
mod child;
#[path = "file/churn.rs"]
mod churn;
#[path = "file/crew.rs"]
mod crew;
#[path = "file/handover.rs"]
mod handover;
#[path = "file/hot.rs"]
mod hot;
#[path = "file/peers.rs"]
mod peers;
#[path = "file/waiting.rs"]
mod waiting;

use std::path::Path;

use keyward_benches::{
    crew::Scratch,
    report::{self, Report},
};

fn main() {
    let arguments = report::arguments();
    if let [first, rest @ ..] = &arguments[..]
        && first == child::HIDDEN
    {
        return child::run(rest);
    }
    let mut report = Report::new(&arguments);
    let scratch = Scratch::new("file", Path::new(env!("CARGO_TARGET_TMPDIR")));
    hot::run(&mut report, scratch.path());
    hot::figures(&mut report);
    handover::run(&mut report, scratch.path());
    churn::run(&mut report, scratch.path());
    waiting::run(&mut report, scratch.path());
    report.finish();
}
