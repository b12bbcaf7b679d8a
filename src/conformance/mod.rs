//! What every backend has to keep, as test cases: for backends of your own.
//!
//! Each line of the [contract](crate::contract) has cases here, written against [`Locks`] and not
//! against a store. You write a [`Fixture`], which says how your store is reached, and stamp the cases
//! into a test binary with [`conformance_tests!`](crate::conformance_tests). The macro only writes the
//! test functions: a case is an ordinary `async fn` that can be called, and stepped through, by hand.
//!
//! A case panics if the backend fails it, and returns [`NotApplicable`] with the reason if it cannot
//! be asked of this backend: it has no shared mode, the fixture cannot make it lose a hold. The stamped
//! tests print the reason also when they pass, so that a suite that asks nothing does not look green.
//!
//! No case asserts speed. What must happen is awaited for a minute, what must not happen is looked for
//! after something later has been seen to happen, or for about a second.
//!
//! # Examples
//!
//! In `tests/conformance.rs`, with the features `macros` and `rt-multi-thread` of Tokio:
//!
//! ```
//! use keyward::{Locks, conformance::{self, Fixture}, memory::MemoryBackend};
//!
//! struct Mine {
//!     store: MemoryBackend, // here goes your own
//!     prefix: String,
//! }
//!
//! impl Mine {
//!     fn new() -> Self {
//!         Self { store: MemoryBackend::new(), prefix: conformance::unique_prefix() }
//!     }
//! }
//!
//! impl Fixture for Mine {
//!     async fn connect(&self) -> Locks {
//!         Locks::builder().backend(self.store.clone())
//!     }
//!
//!     fn prefix(&self) -> &str {
//!         &self.prefix
//!     }
//! }
//!
//! mod mine {
//!     keyward::conformance_tests!(super::Mine::new());
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! conformance::excludes(&Mine::new()).await.unwrap();
//! # }
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "a case returns why it does not apply, and panics if it fails"
)]

mod by_hand;
mod exclusion;
mod loss;
mod names;
mod peer;
mod processes;
mod several;
mod shared;
mod tokens;
mod waiting;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    io::Write,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use crate::{
    error::Error,
    lease::{Lease, Released},
    locks::Locks,
};

pub use self::{
    exclusion::{
        a_drop_frees, a_drop_needs_no_runtime, a_hand_over_frees_in_the_end,
        a_lease_outlives_its_locks, a_release_frees, excludes, inspect_tells, is_not_reentrant,
        local_waiters_are_served_in_order, try_fails_while_held,
    },
    loss::{
        a_cut_off_holder_is_told_first, a_release_is_no_loss, a_severed_lease_is_lost,
        a_severed_lease_is_not_passed_on, a_wait_may_outlast_a_lease,
    },
    names::{empty_names_are_refused, exact_names_are_exact, names_are_exact, raw_names_are_exact},
    peer::serve,
    processes::{
        a_killed_holder_frees, a_killed_waiter_is_passed_over, a_stopped_holder_holds,
        a_stopped_waiter_is_passed_over, processes_exclude, processes_share,
        tokens_grow_over_processes,
    },
    several::{
        lock_all_is_all_or_nothing, lock_all_takes_each_name_once, opposite_orders_do_not_deadlock,
    },
    shared::{
        readers_and_writers_exclude, readers_share, shared_mode_is_as_announced,
        writers_are_not_starved,
    },
    tokens::{readers_have_no_token, tokens_grow},
    waiting::{
        a_cancelled_lock_all_leaves_nothing, a_cancelled_reader_leaves_nothing,
        a_cancelled_wait_in_the_queue_leaves_nothing, a_cancelled_wait_leaves_nothing,
        a_free_name_is_locked_whatever_the_limit, a_storm_of_timeouts_leaves_nothing,
        closing_ends_waits_and_waits_for_leases, waits_end_at_the_limit,
        without_blocking_a_held_name_is_an_error,
    },
};

/// How long what must happen may take: no measure of speed, but of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a store is reached, and what can be done to it. One is made for each case.
///
/// See the [module's docs](self) for an example.
pub trait Fixture: Sync {
    /// Connects to the store once more: [`Locks`] that share nothing with those before but the store.
    fn connect(&self) -> impl Future<Output = Locks> + Send;

    /// What stands before every name, so that cases and runs do not meet in the store, which is
    /// never wiped: keep a [`unique_prefix`] here.
    fn prefix(&self) -> &str;

    /// Whether nobody else can be using the store, so that names can be tried without a prefix, such
    /// as `..`. False unless you say so.
    fn is_private(&self) -> bool {
        false
    }

    /// Takes the lock of this lease away from its holder, as an operator or a crash would: kills the
    /// session, deletes the file. It returns once the store has done it.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`] if it cannot, which is what it does unless you write it.
    fn sever(&self, lease: &Lease) -> impl Future<Output = Verdict> + Send {
        let _ = lease;
        async { Err(NotApplicable::because("the fixture cannot sever a lease")) }
    }

    /// Connects to the store as [`connect`](Self::connect) does, through a [`Network`] of its own.
    ///
    /// It is for stores that give a lock to the next one if its holder has not been heard of for a
    /// while, and that while should be a few seconds in a test.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`] if there is no network that could be cut, which is the answer unless you
    /// write it.
    fn connect_through_a_network(
        &self,
    ) -> impl Future<Output = Result<(Locks, Box<dyn Network>), NotApplicable>> + Send {
        async { Err(NotApplicable::because("the fixture has no network that could be cut")) }
    }

    /// A command that starts another process, which connects to the store and [`serve`]s. Its standard
    /// input and output are replaced.
    ///
    /// It should also see to it that the process does not outlive a killed parent; `serve` returns at
    /// the end of its input.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`] if other processes do not reach the store, or none can be started, which is
    /// the answer unless you write it.
    fn another_process(&self) -> Result<Command, NotApplicable> {
        Err(NotApplicable::because("the fixture cannot start another process"))
    }
}

/// What is between one handle and the store, and can be cut.
pub trait Network: Send + Sync {
    /// From now on nothing arrives on either side, not even that a side has closed.
    fn cut(&self);

    /// From now on everything arrives. What was sent meanwhile may arrive late, or never.
    fn heal(&self);
}

/// What comes of a case that does not panic.
pub type Verdict = Result<(), NotApplicable>;

/// A case could not be asked of this backend, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable(Cow<'static, str>);

impl NotApplicable {
    /// With the reason.
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not applicable: {}", self.0)
    }
}

impl std::error::Error for NotApplicable {}

/// A prefix that no other case has, in no process: `conf-`, the process, the time, a counter, and `-`.
pub fn unique_prefix() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (pid, count) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    format!("conf-{pid:x}-{:x}-{count:x}-", now.as_nanos())
}

/// Prints the verdict of a test that does not apply, past the test harness's capture.
///
/// The tests that [`conformance_tests!`](crate::conformance_tests) stamps call it.
pub fn report(test: &str, verdict: &Verdict) {
    if let Err(not_applicable) = verdict {
        // A reason that cannot be shown is no failure.
        drop(writeln!(std::io::stderr(), "{test}: {not_applicable}"));
    }
}

/// Stamps a test for each case of the [`conformance`](crate::conformance) suite; its argument makes
/// the [`Fixture`](crate::conformance::Fixture) of each.
///
/// Put it into a module of its own, so that failures name the backend: `mod mine { … }`. It writes
/// `#[tokio::test]`s on two worker threads. See the [module](crate::conformance) for an example.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::conformance_tests! { @stamp ($fixture)
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
    };
    (@stamp ($fixture:expr) $($case:ident)+) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = $fixture;
                let verdict = $crate::conformance::$case(&fixture).await;
                let test = ::std::concat!(::std::module_path!(), "::", ::std::stringify!($case));
                $crate::conformance::report(test, &verdict);
            }
        )+
    };
}

/// The name of that part of a case.
fn named(fixture: &impl Fixture, part: &str) -> String {
    [fixture.prefix(), part].concat()
}

/// Two [`Locks`] that share nothing but the store.
async fn two(fixture: &impl Fixture) -> [Locks; 2] {
    [fixture.connect().await, fixture.connect().await]
}

/// What must happen.
async fn soon<T>(what: &str, future: impl Future<Output = T> + Send) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: has not happened within {PATIENCE:?}"))
}

/// Waits for a lease that must be had.
async fn lock(locks: &Locks, name: &str) -> Lease {
    let lease = soon(name, locks.lock_named(name).into_future()).await;
    lease.unwrap_or_else(|e| panic!("{name:.80}: {}", chain(&e)))
}

/// Releases a lease that must be ours.
async fn release(lease: Lease) {
    let released = soon("a release", lease.release()).await;
    let released = released.unwrap_or_else(|e| panic!("a release failed: {}", chain(&e)));
    assert_eq!(released, Released::Released, "a lease was lost that nobody took away");
}

/// Tries a name that must be held by somebody else.
async fn busy(locks: &Locks, name: &str) {
    match soon("a try", locks.try_lock_named(name).into_future()).await {
        Ok(lease) => panic!("{lease:?} was to be had, although it is held"),
        Err(e) => {
            assert!(e.is_would_block(), "a try of a held name failed otherwise: {}", chain(&e))
        }
    }
}

/// Tries a name that must be free, and leaves it free.
async fn free(locks: &Locks, name: &str) {
    let lease = soon("a try", locks.try_lock_named(name).into_future()).await;
    release(lease.unwrap_or_else(|e| panic!("a free name was refused: {}", chain(&e)))).await;
}

/// The error with its causes.
fn chain(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
