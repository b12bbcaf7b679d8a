//! Numbers for a recorder of the `metrics` facade: how long locks are waited for and held, how many,
//! and what has been lost. Feature `metrics`.
//!
//! | name | kind | unit | labels | what it counts |
//! |---|---|---|---|---|
//! | `keyward.acquire.duration` | histogram | seconds | `backend`, `outcome`, `error.type` | acquisitions, from the first poll to their end |
//! | `keyward.hold.duration` | histogram | seconds | `backend` | leases, from the grant until they were given back |
//! | `keyward.waiters` | gauge | | `backend` | acquisitions that were not decided at once: they wait for somebody else, or for the answer of a store on a network |
//! | `keyward.held` | gauge | | `backend` | leases that have not been given back |
//! | `keyward.lost` | counter | | `backend`, `reason` | leases whose holder was told that they are lost |
//! | `keyward.renew.duration` | histogram | seconds | `backend` | proofs that the store still knows the leases of a session |
//! | `keyward.renew.slack` | histogram | seconds | `backend` | how much was left of the last proof then: **small values are the warning before losses** |
//! | `keyward.connections` | gauge | | `backend` | sessions with the store |
//!
//! `outcome` is `acquired`, `conflict` (held, and waiting was not asked for), `timeout`, `cancelled` (the future
//! was dropped) or `error`, and then `error.type` is the [`ErrorKind`](crate::ErrorKind). `reason` is `closed`, `expired`,
//! `not_owner` or `removed`, as in [`LossReason`](crate::LossReason). The last three names are those of stores
//! that are talked to: `mysql:`.
//!
//! The name of a lock is no label, since there may be any number of them; it is in the events and spans
//! that [`Locks`](crate::Locks) emits through `tracing`. A store that refuses an outdated
//! [`FencingToken`](crate::FencingToken) is yours, and so is counting that; `keyward.fence.rejected` is the name to use.
//! Locks of a [`LockRegistry`](crate::LockRegistry) are not counted: they are held for nanoseconds.
//!
//! # Examples
//!
//! ```
//! // Once, after the recorder of your choice has been installed:
//! keyward::metrics::describe();
//! ```
#![forbid(unsafe_code)]

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) mod names {
    pub(crate) const ACQUIRE_DURATION: &str = "keyward.acquire.duration";
    pub(crate) const HOLD_DURATION: &str = "keyward.hold.duration";
    pub(crate) const WAITERS: &str = "keyward.waiters";
    pub(crate) const HELD: &str = "keyward.held";
    pub(crate) const LOST: &str = "keyward.lost";
    #[cfg(feature = "mysql")]
    pub(crate) const RENEW_DURATION: &str = "keyward.renew.duration";
    #[cfg(feature = "mysql")]
    pub(crate) const RENEW_SLACK: &str = "keyward.renew.slack";
    #[cfg(feature = "mysql")]
    pub(crate) const CONNECTIONS: &str = "keyward.connections";
}

/// Tells the installed recorder the units and the meaning of the numbers, for those that show them.
///
/// Call it once, after the recorder has been installed; without it they are recorded all the same.
pub fn describe() {
    use names::*;
    describe_histogram!(ACQUIRE_DURATION, Unit::Seconds, "From asking for a lock to its end");
    describe_histogram!(
        HOLD_DURATION,
        Unit::Seconds,
        "From the grant of a lease until it was given back"
    );
    describe_gauge!(WAITERS, Unit::Count, "Acquisitions that wait for somebody else");
    describe_gauge!(HELD, Unit::Count, "Leases that have not been given back");
    describe_counter!(LOST, Unit::Count, "Leases whose holder was told that they are lost");
    #[cfg(feature = "mysql")]
    {
        describe_histogram!(
            RENEW_DURATION,
            Unit::Seconds,
            "A proof that a session still has its leases"
        );
        describe_histogram!(
            RENEW_SLACK,
            Unit::Seconds,
            "What was left of the last proof at the next one"
        );
        describe_gauge!(CONNECTIONS, Unit::Count, "Sessions with the store");
    }
}
