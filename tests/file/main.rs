//! What the file backend promises beyond the contract, one file per concern: on real files, on ext4
//! and tmpfs, with real processes.

mod descriptors;
mod directory;
mod fork;
mod garbage;
mod loss;
mod names;
mod order;
mod polite;
mod record;
mod tokens;
mod urls;
mod waiting;
mod warnings_of_waits;
mod wire;

#[path = "../support/child.rs"]
mod child;
#[path = "../support/room.rs"]
mod room;
#[path = "../support/warnings.rs"]
mod warnings;

/// What the children run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
}
