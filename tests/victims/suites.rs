//! The suites, as functions over any of the locks: what comes of one case.
//!
//! A case runs on a thread and in a runtime of its own, so that a panic is its end and nobody else's, and
//! a case that hangs is noticed. Where all that a lock waits for is Tokio's clock, that is paused: it jumps
//! to the next moment at which something happens, and the suites' minutes of patience take no time.

use std::{
    any::Any, fmt, future::Future, panic::resume_unwind, sync::mpsc, thread, time::Duration,
};

use keyward::conformance::{self, Fixture, Verdict};

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(50);

/// What comes of a case.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    NotApplicable,
    /// With what it has said.
    Failed(String),
    Hung,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("it passes"),
            Self::NotApplicable => f.write_str("it is not applicable"),
            Self::Failed(message) => write!(f, "it fails: {message}"),
            Self::Hung => write!(f, "it takes longer than {PATIENCE:?}"),
        }
    }
}

/// Runs a case that is not async.
pub(crate) fn outcome(case: impl FnOnce() -> Verdict + Send + 'static) -> Outcome {
    let (sender, end) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _end = sender; // dropped also by a panic
        case()
    });
    if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        return Outcome::Hung;
    }
    match thread.join() {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(_)) => Outcome::NotApplicable,
        Err(panic) => Outcome::Failed(message(panic)),
    }
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => match panic.downcast::<&str>() {
            Ok(message) => (*message).to_owned(),
            Err(panic) => resume_unwind(panic),
        },
    }
}

/// Runs a case on a clock that is paused.
pub(crate) fn on_a_paused_clock(case: impl Future<Output = Verdict>) -> Verdict {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(case)
}

/// Runs a case as `conformance_tests!` does.
pub(crate) fn on_a_real_clock(case: impl Future<Output = Verdict>) -> Verdict {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(case)
}

/// Writes down the cases of the conformance suite, as names and as a function of the name.
macro_rules! conformance {
    ($($case:ident)+) => {
        pub(crate) const CONFORMANCE: &[&str] = &[$(stringify!($case)),+];

        /// One case of the conformance suite.
        pub(crate) async fn conform(case: &str, fixture: &impl Fixture) -> Verdict {
            match case {
                $(stringify!($case) => Box::pin(conformance::$case(fixture)).await,)+
                _ => panic!("the conformance suite has no case {case}"),
            }
        }
    };
}

conformance! {
    excludes
    try_fails_while_held
    is_not_reentrant
    a_release_frees
    a_drop_frees
    a_drop_needs_no_runtime
    a_hand_over_frees_in_the_end
    a_lease_outlives_its_locks
    local_waiters_are_served_in_order
    inspect_tells
    without_blocking_a_held_name_is_an_error
    a_free_name_is_locked_whatever_the_limit
    waits_end_at_the_limit
    a_cancelled_wait_leaves_nothing
    a_cancelled_wait_in_the_queue_leaves_nothing
    a_cancelled_reader_leaves_nothing
    a_cancelled_lock_all_leaves_nothing
    a_storm_of_timeouts_leaves_nothing
    closing_ends_waits_and_waits_for_leases
    shared_mode_is_as_announced
    readers_share
    readers_and_writers_exclude
    writers_are_not_starved
    tokens_grow
    readers_have_no_token
    empty_names_are_refused
    names_are_exact
    raw_names_are_exact
    exact_names_are_exact
    lock_all_takes_each_name_once
    lock_all_is_all_or_nothing
    opposite_orders_do_not_deadlock
    a_release_is_no_loss
    a_severed_lease_is_lost
    a_severed_lease_is_not_passed_on
    a_cut_off_holder_is_told_first
    a_wait_may_outlast_a_lease
    processes_exclude
    processes_share
    tokens_grow_over_processes
    a_killed_holder_frees
    a_stopped_holder_holds
    a_killed_waiter_is_passed_over
    a_stopped_waiter_is_passed_over
}

/// What every backend has to keep, these have to keep as well.
#[test]
fn all_of_the_conformance_suite_is_here() {
    let stamps = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance/mod.rs");
    let stamps = std::fs::read_to_string(stamps).unwrap();
    let stamped = stamps.split("@stamp ($fixture)").nth(1).unwrap().split('}').next().unwrap();
    assert_eq!(stamped.split_whitespace().collect::<Vec<_>>(), CONFORMANCE);
}
