//! A thousand processes on one server: played, with costs that are measured here, and beside real ones.
//!
//! ```text
//! cargo bench -p keyward-benches --bench scale_sim               everything, under 4 minutes
//! cargo bench -p keyward-benches --bench scale_sim -- --quick    shorter, and fewer processes, under a minute
//! cargo bench -p keyward-benches --bench scale_sim -- costs      the parts whose names contain a word
//! ```
//!
//! | part | what |
//! |---|---|
//! | costs | what each step costs on this machine, with a MariaDB of our own on a unix socket |
//! | check | 20 real processes, and 100, beside as many that are played on one machine with as many cores |
//! | scale | 20 to 1,000 that are played, the server on a machine of its own, and which limit is met first |
//!
//! `src/sim/` says what is played and what is not. The other parts need the costs, so those are measured
//! always. *Ratios of the check are real : played.* What they are is said, and what they should be.
#![allow(missing_docs, reason = "a program")]

#[path = "scale_sim/check.rs"]
mod check;
#[path = "scale_sim/child.rs"]
mod child;
#[path = "scale_sim/costs.rs"]
mod costs;
#[path = "scale_sim/limits.rs"]
mod limits;
#[path = "../tests/support/server/mod.rs"]
mod server;
#[path = "scale_sim/service.rs"]
mod service;
#[allow(dead_code, reason = "the other bench uses all of it")]
#[path = "mysql/session.rs"]
mod session;

use keyward_benches::report::{self, Report};

fn main() {
    let arguments = report::arguments();
    if let [first, rest @ ..] = &arguments[..]
        && first == child::HIDDEN
    {
        return child::run(rest);
    }
    let mut report = Report::new(&arguments);
    let mut service = service::Service::start().expect("a server");
    let costs = costs::measure(&mut service, report.quick).expect("what it costs");
    costs::print(&mut report, &costs);
    if report.wants("check") {
        check::run(&mut report, &mut service, &costs);
    }
    drop(service);
    if report.wants("scale") {
        limits::run(&mut report, &costs.of_steps);
    }
    report.finish();
}
