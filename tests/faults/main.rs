//! The fault matrix: processes, servers, networks, disks and descriptors fail, as often as is asked for,
//! and an oracle that does not trust keyward looks at what becomes of the locks.
//!
//! For each row and backend there is a line of output,
//!
//! ```text
//! fault <row> <backend> runs N violations V p50 … p99 … max … # <name>: <what was measured>
//! ```
//!
//! and the test fails if V is not 0. `KEYWARD_FAULT_RUNS=1` runs each row as often as the matrix says
//! (`scripts/test --faults`), the default is a twentieth of it. `KEYWARD_FAULT_ROWS=18,3/mysql` picks
//! rows.
//!
//! A new row is one `async fn` over a [`Stage`](stage::Stage), and one line in [`matrix`].

mod files;
mod kills;
mod limits;
mod matrix;
mod networks;
mod processes;
mod servers;

#[path = "../support/child.rs"]
mod child;
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

/// What the workers run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
    worker::run();
}
