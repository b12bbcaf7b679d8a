//! Lost updates: what each lock is worth while its processes are stopped and killed.
//!
//! ```text
//! cargo bench -p keyward-benches --bench lost_update                    10,000 operations a row, 20 minutes
//! cargo bench -p keyward-benches --bench lost_update -- --quick         500 operations a row, 3 minutes
//! cargo bench -p keyward-benches --bench lost_update -- mysql std       the rows whose names contain a word
//! ```
//!
//! Five processes lock one name, read a register, compute for 3 ms, write it back and let go. Somebody
//! stops them at random, for up to twice the ttl of 3 s, or kills them, and starts others. The register
//! is a row on a MariaDB server that knows nothing of the lock, for locks on files too: it has a comparison
//! and a write that nothing comes between, so the same row can be fenced and not. With the fence, the
//! read leaves its token there and the write is done if no newer one has come; without, both just are.
//! `tests/support/lost_update` has the processes, the evils and the checker, which judges from a log and the row
//! that is left.
//!
//! | column | of the operations that had the lock |
//! |---|---|
//! | acked | their write was said to be done |
//! | refused | by the fence |
//! | told | by the lock, in time: they have written nothing |
//! | unknown | killed, or without an answer |
//! | **lost** | acked, and gone: written over by one who had not read them |
//! | overlaps | began to have the lock while another process believed to have it |
//! | late | acked, and told of the loss only when they let go |
//! | failed | of all: no lock, no confirmed release, no answer |
//! | gap | the longest time in which nobody got the lock |
//! | stops | of processes, and of these those of one that was computing under the lock, for longer than the ttl |
//!
//! "Blind" is a program that acquires and writes. The "careful" one works inside of `lease.run` and asks
//! `ensure_held` before it writes. The naive one is what one writes with sqlx: a session of its own,
//! `GET_LOCK`, no heartbeat.
//!
//! A late write that comes while the next holder computes is written over by that one: it alone is lost. One
//! that comes between two holders takes with it all that was done while its process stood still. So the
//! percentage leaps from run to run; what counts is whether it is 0. A lock that a stopped process holds for
//! as long as it stands loses nothing and stalls: its price is in the last columns. Where the queue is in
//! order, a stopped process that waits stalls the others too, when its turn comes. A row ends after 4
//! minutes, however far it has come.
//!
//! keyward must lose nothing with the fence, give out tokens that grow in the order of the grants, and
//! never say that a lease is held which somebody else has had since; or this fails. The Python peers run
//! where a Python has them, as in the other benches. The last lines are one `figure` each: percent of the
//! acknowledged.
#![allow(missing_docs, reason = "a program")]

#[path = "lost_update/contestants.rs"]
mod contestants;
#[path = "../tests/support/lost_update/mod.rs"]
mod lost_update;
#[path = "lost_update/naive.rs"]
mod naive;
#[path = "../tests/support/server/mod.rs"]
mod server;
#[path = "lost_update/table.rs"]
mod table;

use std::{path::Path, process::ExitCode};

use keyward_benches::{
    crew::Scratch,
    report::{self, Report},
};

fn main() -> ExitCode {
    let arguments = report::arguments();
    if let [first, rest @ ..] = &arguments[..]
        && first == contestants::HIDDEN
    {
        return contestants::work(rest);
    }
    let mut report = Report::new(&arguments);
    let scratch = Scratch::new("lost-update", Path::new(env!("CARGO_TARGET_TMPDIR")));
    let wrong = table::run(&mut report, scratch.path());
    report.finish();

    if wrong.is_empty() {
        return ExitCode::SUCCESS;
    }
    wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    ExitCode::FAILURE
}
