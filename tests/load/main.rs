//! Load, and what people do to futures, runtimes, names and clocks: the rows of the fault matrix that are
//! about many, about long, and about the process itself. `tests/faults` has those about other processes,
//! servers, networks and disks; what both rest on is in `tests/support/rig`.
//!
//! The lines of output are those of `tests/faults`, and for each operation that is dropped at its await
//! points (row 22)
//!
//! ```text
//! cancellation <backend> <operation> K points V violations
//! ```
//!
//! By itself it does a little of each in about a minute, and a minute's soak. `KEYWARD_LOAD=full` does all
//! of it (`scripts/test --load`), `KEYWARD_LOAD_ROWS=22,31/mysql` picks rows, and `KEYWARD_LOAD_SOAK=600`
//! says for how many seconds the soak goes on (`scripts/soak`), from the seed in `KEYWARD_LOAD_SEED`.

mod cancel;
mod clocks;
mod crowd;
mod deadlock;
mod ends;
mod herd;
mod matrix;
mod measure;
mod names;
mod runtimes;
mod soak;
mod storms;

#[path = "../support/child.rs"]
mod child;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/rig/oracle.rs"]
mod oracle;
#[path = "../support/rig/player.rs"]
mod player;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/rig/report.rs"]
mod report;
#[path = "../support/room.rs"]
mod room;
#[path = "../support/server/mod.rs"]
mod server;
#[path = "../support/sessions.rs"]
mod sessions;
#[path = "../support/rig/stage.rs"]
mod stage;
#[path = "../support/rig/worker.rs"]
mod worker;

/// What the other processes run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
    herd::run();
    soak::run();
    worker::run();
}
