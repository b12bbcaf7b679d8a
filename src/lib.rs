//! Named locks for async Rust: `lock_named("vol-42").await`, across tasks, processes and hosts.
//!
//! Async services must not touch one resource twice at once: two tasks that resize one volume, two
//! processes that write one image, two hosts that attach one disk. keyward locks the *name* of the
//! resource. The lock is made when it is asked for and gone when it is free; there is nothing to declare,
//! to clean up or to poll.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
//! use std::time::Duration;
//! use keyward::{LockRegistry, Locks};
//!
//! // The tasks of one process: fair, infallible, nothing to set up.
//! let volumes = LockRegistry::<String>::new();
//! let guard = volumes.lock_named("vol-42").await; // waits its turn
//! assert!(volumes.try_lock_named("vol-42").is_err()); // does not wait
//! drop(guard); // hands it to the first in the queue
//!
//! // Processes and hosts: the store is chosen by a URL, and the wait can fail.
//! let locks = Locks::connect("memory:").await?; // or "file:///var/lib/cinder", "mysql://…"
//! let lease = locks.lock_named("vol-42").timeout(Duration::from_secs(5)).await?;
//! lease.run(async { /* work, as long as the lease is held */ }).await?;
//! lease.release().await?;
//! # Ok(())
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
//! | contenders in several processes of one host, Python services among them | [`Locks`], `file:` |
//! | code that will have them later, or tests of code that has | [`Locks`], `memory:` |
//! | contenders on several hosts, Python services among them | [`Locks`], `mysql:` |
//! | at most n at once, whoever they are | `tokio::sync::Semaphore` |
//! | one computation whose result all callers want | a cache with single flight, not a lock |
//!
//! Both have shared mode ([`read_named`](LockRegistry::read_named), [`shared`](Acquire::shared)), several
//! names at once without deadlock (`lock_all`), tries, timeouts, and callers that are not async. And
//! `#[keyward::synchronized("{volume.id}-{f_name}")]` holds a lock while an `async fn` runs.
//!
//! # What a named lock does not give you
//!
//! * It is **advisory**: code that does not ask for the name is not stopped.
//! * It is **not re-entrant**: a task that locks a name it already holds waits for ever. That is
//!   reported through `tracing` after 5 seconds, with who holds it.
//! * A registry **does not reach beyond the process**, and not beyond itself: two registries with one
//!   name are two locks.
//! * A lease **can be lost**: somebody deletes the lock file, a server goes away. It tells you so
//!   ([`Lease::lost`], [`Lease::run`]), but what you write between the loss and its news only the store
//!   can refuse: give it the [`FencingToken`].
//! * It **protects no data**. There is no poisoning either: a panic while holding releases, and what
//!   state the resource is in is yours to find out.
//! * It is only as fast as its holder: a fair queue waits for whoever is at its head, also for a
//!   future that somebody polled once and forgot about (see [`futures`]).
//!
//! # Backends
//!
//! | | `memory:` | [`file:`](crate::file) | [`mysql:`](crate::mysql) |
//! |---|---|---|---|
//! | excludes | tasks of the process | processes of the host, also Python's oslo.concurrency, fasteners and tooz | hosts that use one MySQL or MariaDB server, also Python's tooz |
//! | order | of asking | of asking, between processes too; inside one, its tasks in order | as `file:` |
//! | who waits | sleeps | sleeps; polls on filesystems that are not local | sleeps; polls beyond 8 names at once |
//! | shared mode | yes | yes | no |
//! | lost when | never | the lock file or its directory is deleted, renamed or replaced | its session is killed, the server restarts, or has not heard of it for 30 s |
//! | loss is told | | within 1 s, mostly at once | within a heartbeat, 5 s; when cut off, 3 s before others can have it |
//! | fencing tokens | grow within the process | grow over processes, crashes and restarts | grow over restarts of one server; from a table, over failovers |
//! | longest name | any | any; up to 255 bytes as it stands | any; up to 64 lower-case characters as it stands |
//!
//! [What a lease guarantees](_documentation::leases), until when, and what only the token can do.
//!
//! More can be written outside of this crate, on the [`contract`] that these stand on.
//!
//! # Runtimes
//!
//! The registry works on every runtime and on none; inside Tokio it takes part in cooperative
//! scheduling, and only [timeouts](futures::LockNamed::timeout) need Tokio's clock. [`Locks`] need a Tokio
//! runtime with time enabled to wait in.
//!
//! # Features
//!
//! | feature | default | why it is one |
//! |---|---|---|
//! | `file` | yes | the file backend; needs libc and rustix |
//! | `macros` | yes | the attribute [`synchronized`]; needs syn |
//! | `mysql` | no | the MySQL and MariaDB backend; needs sqlx, some 100 crates |
//! | `mysql-tls` | no | encryption to such a server, by rustls and the system's certificates |
//! | `conformance` | no | the contract's test cases, for backends of your own |
//! | `full` | no | all of them |
//!
//! A feature adds API and changes nothing else. `cli` and `metrics` are names that are reserved
//! for what is being built, so that a `Cargo.toml` written today stays as it is. Without its feature, the
//! URL of a backend is an error that says so.
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
#[cfg(all(feature = "mysql", not(keyward_loom)))]
mod deadline;
#[cfg(not(keyward_loom))]
mod erased;
mod error;
#[cfg(not(keyward_loom))]
mod handover;
pub mod hash;
#[cfg(not(keyward_loom))]
mod installed;
#[cfg(not(keyward_loom))]
mod lease;
#[cfg(not(keyward_loom))]
mod locks;
mod name;
mod registry;
#[cfg(not(keyward_loom))]
mod run;
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
#[cfg(all(feature = "mysql", not(keyward_loom)))]
pub use crate::backend::mysql;
#[cfg(all(feature = "macros", not(keyward_loom)))]
#[doc(inline)]
pub use keyward_macros::synchronized;

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
    #[doc = include_str!("../docs/leases.md")]
    pub mod leases {}
}
