//! What goes wrong between a holder and its server, done for real: processes and servers are killed
//! and frozen, sessions killed, networks cut.
//!
//! Every case says what must not happen (two holders, a loss that was none) and by when what must
//! happen does: by the ttl, a heartbeat or a timeout that the design names, plus [`SLACK`](room::SLACK).

mod cancels;
mod identity;
mod kills;
mod limits;
mod peer;
mod processes;
mod restarts;
#[path = "../../support/sessions.rs"]
mod room;
mod runtimes;
mod silence;
mod stops;
