//! Models of all that is asynchronous, each in many random schedules, under `--cfg keyward_shuttle`
//! (`scripts/test --shuttle`). Without that cfg this program does nothing.
//!
//! loom tries every schedule of two or three threads at the registry; these are the larger cases, and
//! reach the queue in front of a backend, hand-over, losses and limits. As in loom's models the table has
//! 2 slots and 1 shard, a thread keeps 1 spare node, and a batch of wakers has room for 1. The clock
//! stands still unless a model moves it.
//!
//! Half of the schedules are random, half by PCT with 3 changes of priority. `KEYWARD_SHUTTLE=N` is how
//! many there are of all models together, `KEYWARD_SHUTTLE_SEED=N` makes them others; arguments pick
//! models by parts of their names. The schedule of a failure is written to a file, which is named before
//! the failure's message: `KEYWARD_SHUTTLE_REPLAY=FILE` and the model's name run it again, and fail if
//! it does.
//!
//! The last line, `shuttle schedules N models M failures F`, is counted where schedules begin.
#![allow(clippy::redundant_clone, reason = "the tasks of a model are written alike")]

#[cfg(keyward_shuttle)]
mod handover;
#[cfg(keyward_shuttle)]
mod harness;
#[cfg(keyward_shuttle)]
mod losses;
#[cfg(keyward_shuttle)]
mod queue;
#[cfg(keyward_shuttle)]
mod support;
#[cfg(keyward_shuttle)]
mod table;

#[cfg(keyward_shuttle)]
#[path = "../support/identity.rs"]
mod identity;
#[cfg(keyward_shuttle)]
#[path = "../support/scripted.rs"]
mod scripted;

#[cfg(keyward_shuttle)]
fn main() -> std::process::ExitCode {
    harness::run([table::MODELS, queue::MODELS, handover::MODELS, losses::MODELS].concat())
}

#[cfg(not(keyward_shuttle))]
fn main() {}
