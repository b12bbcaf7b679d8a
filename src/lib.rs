//! Named locks for async Rust: `lock_named("vol-42").await`.
//!
//! Async services must not touch one resource twice at once: two tasks that resize one volume, two
//! jobs that write one report. keyward locks the *name* of the resource. The lock is made when it is
//! asked for and gone when it is free; there is nothing to declare, to clean up or to poll.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use keyward::LockRegistry;
//!
//! let volumes = LockRegistry::<String>::new();
//!
//! let guard = volumes.lock_named("vol-42").await; // waits its turn
//! assert!(volumes.try_lock_named("vol-42").is_err()); // does not wait
//! assert!(volumes.try_lock_named("vol-43").is_ok()); // another name, another lock
//! drop(guard); // hands it to the first in the queue
//! assert!(volumes.is_empty()); // and of free names nothing is left
//! # }
//! ```
//!
//! # Which lock do I want?
//!
//! | you have | use |
//! |---|---|
//! | data with one owner, locked for a moment, nothing awaited meanwhile | `std::sync::Mutex` |
//! | data with one owner, something awaited while it is locked | `tokio::sync::Mutex` |
//! | many resources known by name or id, touched by tasks of one process | [`LockRegistry`] |
//! | ... read by many, changed by few | [`LockRegistry::read_named`] and `lock_named` |
//! | ... several at once | [`LockRegistry::lock_all`] |
//! | ... from code that is not async | [`LockRegistry::blocking_lock_named`] |
//! | at most n at once, whoever they are | `tokio::sync::Semaphore` |
//! | one computation whose result all callers want | a cache with single flight, not a lock |
//! | contenders in several processes, or on several hosts | not this release: leases by URL are being built |
//!
//! # What a named lock does not give you
//!
//! * It is **advisory**: code that does not ask for the name is not stopped.
//! * It is **not re-entrant**: a task that locks a name it already holds waits for ever. In debug
//!   builds that is reported through `tracing` after 5 seconds, with where the name was locked.
//! * It **does not reach beyond the process**, and not beyond its registry: two registries with one
//!   name are two locks.
//! * It **protects no data**. There is no poisoning either: a panic while holding releases, and what
//!   state the resource is in is yours to find out.
//! * It is only as fast as its holder: a fair queue waits for whoever is at its head, also for a
//!   future that somebody polled once and forgot about (see [`futures`]).
//!
//! # Runtimes
//!
//! The registry works on every runtime and on none. Inside Tokio it takes part in cooperative
//! scheduling: a loop over free names yields now and then. Only [timeouts](futures::LockNamed::timeout)
//! need Tokio's clock.
//!
//! # Features
//!
//! None of the features changes what this release does: `file`, `macros`, `mysql`, `mysql-tls`, `cli`,
//! `metrics` and `conformance` are names that are reserved for what is being built, so that a
//! `Cargo.toml` written today stays as it is; `full` is all of them.
//!
//! # More
//!
//! [How it is built, and why](_documentation::design); [what has changed](_documentation::changelog).

#[cfg(not(keyward_loom))]
mod acquire;
#[cfg(not(keyward_loom))]
mod backend;
#[cfg(not(keyward_loom))]
mod boxed;
#[cfg(all(feature = "conformance", not(keyward_loom)))]
pub mod conformance;
#[cfg(not(keyward_loom))]
pub mod contract;
#[cfg(not(keyward_loom))]
mod erased;
mod error;
#[cfg(not(keyward_loom))]
mod handover;
pub mod hash;
#[cfg(not(keyward_loom))]
mod lease;
#[cfg(not(keyward_loom))]
mod locks;
mod name;
mod registry;
#[cfg(not(keyward_loom))]
mod runtime;
mod sync;
#[cfg(not(keyward_loom))]
mod token;
#[cfg(not(keyward_loom))]
mod url;
#[cfg(not(keyward_loom))]
mod watch;

#[cfg(all(feature = "file", not(keyward_loom)))]
pub use crate::backend::file;
#[cfg(not(keyward_loom))]
pub use crate::{
    acquire::Acquire,
    backend::memory,
    contract::{Capability, Fencing, Mode, Occupancy, Owner},
    lease::{Lease, Leases, Released},
    locks::{Locks, LocksBuilder, Status},
    token::FencingToken,
    watch::{LeaseState, LossReason, LossSignal},
};
pub use crate::{
    error::{Elapsed, Error, ErrorKind, TryLockError},
    name::LockName,
    registry::{LockRegistry, NamedGuard, NamedGuards, NamedReadGuard, ToKey},
};

pub mod futures {
    #![doc = include_str!("futures.md")]

    pub use crate::registry::futures::{LockAll, LockNamed, ReadNamed, Timeout};
    #[cfg(not(keyward_loom))]
    pub use crate::{acquire::Acquiring, watch::Lost};
}

/// The documents that come with the crate.
pub mod _documentation {
    #[doc = include_str!("../CHANGELOG.md")]
    pub mod changelog {}
    #[doc = include_str!("../DESIGN.md")]
    pub mod design {}
}
