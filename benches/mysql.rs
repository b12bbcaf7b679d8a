//! `mysql:` beside the server's own calls and what people do today, on a server of its own.
//!
//! ```text
//! cargo bench -p keyward-benches --bench mysql                     everything, about 7 minutes
//! cargo bench -p keyward-benches --bench mysql -- --quick          the same with fewer rounds, 2 minutes
//! cargo bench -p keyward-benches --bench mysql -- crowd takeover   the workloads whose names contain a word
//! ```
//!
//! | workload | what |
//! |---|---|
//! | uncontended, … | acquire and release by one task; T is one round trip, `SELECT 1` |
//! | crowd, one name | 64 tasks that want one name all the time; T has a session for each of them |
//! | crowd, a name each | 64 tasks that nobody else is in the way of; T as above |
//! | waiters | 1 to 256 tasks that want one name all the time, with and without handing holds over in the process |
//! | many names | 1,000 names held at once: sessions, and the time to take and to release all; sessions for fewer |
//! | hand-over | two processes, one parked: from before the release to after the acquisition |
//! | cancel | waits that are dropped or time out: how soon the server has them no more |
//! | takeover | a holder that stops, or is cut off: how soon the next one has the lock, and it knows |
//!
//! The server is a MariaDB on a unix socket, started for the run. In every round each contestant runs
//! once, and the round's number says who begins, so that a noisy moment hits nobody in particular.
//! Ratios within a run are what is claimed; the times of a shared machine are not. The other processes
//! are this binary once more, or Python; a contestant who cannot be had is "n/a", and why. The last
//! lines are one `figure` each.
//!
//! "Naive" is what one writes with sqlx and an afternoon: a session for each task, `GET_LOCK` that
//! blocks on it, prepared statements. The Python peer runs where a Python has it: the one named by
//! `KEYWARD_TEST_PYTHON`, or `python-env` in the target folder, with tooz 9.1.0 and PyMySQL.
#![allow(missing_docs, reason = "a program")]

#[path = "mysql/child.rs"]
mod child;
#[path = "mysql/crowd.rs"]
mod crowd;
#[path = "mysql/handover.rs"]
mod handover;
#[path = "mysql/hot.rs"]
mod hot;
#[path = "mysql/many.rs"]
mod many;
#[path = "mysql/peers.rs"]
mod peers;
#[path = "../tests/support/proxy.rs"]
mod proxy;
#[path = "../tests/support/server/mod.rs"]
mod server;
#[path = "mysql/session.rs"]
mod session;
#[path = "mysql/setting.rs"]
mod setting;
#[path = "mysql/takeover.rs"]
mod takeover;
#[path = "mysql/waiters.rs"]
mod waiters;
#[path = "mysql/waits.rs"]
mod waits;
#[path = "mysql/without.rs"]
mod without;

use std::rc::Rc;

use keyward_benches::report::{self, Report};

fn main() {
    let arguments = report::arguments();
    if let [first, rest @ ..] = &arguments[..]
        && first == child::HIDDEN
    {
        return child::run(rest);
    }
    let mut report = Report::new(&arguments);
    let setting = Rc::new(setting::Setting::start().expect("a session"));
    hot::run(&mut report, &setting);
    crowd::run(&mut report, &setting);
    waiters::run(&mut report, &setting);
    many::run(&mut report, &setting);
    handover::run(&mut report, &setting);
    waits::run(&mut report, &setting);
    takeover::run(&mut report, &setting);
    report.finish();
}
