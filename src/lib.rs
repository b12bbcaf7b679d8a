//! Named locks for async Rust: `lock_named("vol-42").await`, across tasks, processes and hosts.
//!
//! Async services must not touch one resource twice at once: two tasks that resize one volume, two
//! processes that write one image, two hosts that attach one disk. keyward locks the *name* of the
//! resource. The lock is made when it is asked for and gone when it is free; there is nothing to declare or
//! to poll, and but for old lock files nothing to clean up.
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
//! | code that will have them later, or tests of code that has, losses included | [`Locks`], `memory:` |
//! | contenders on several hosts, Python services among them | [`Locks`], `mysql:` |
//! | at most n at once, whoever they are | `tokio::sync::Semaphore` |
//! | one computation whose result all callers want | a cache with single flight, not a lock |
//!
//! Both have shared mode ([`read_named`](LockRegistry::read_named); [`shared`](Acquire::shared), not for `mysql:`), several
//! names at once without deadlock (`lock_all`), tries, timeouts, and callers that are not async. And
//! `#[keyward::synchronized("{volume.id}-{f_name}")]` holds a lock while an `async fn` runs.
//!
//! # What a named lock does not give you
//!
//! * It is **advisory**: code that does not ask for the name is not stopped.
//! * It is **not re-entrant**: a task that locks a name it already holds waits for ever. That is
//!   reported through `tracing` after 5 seconds, with who holds it; of a registry, in debug builds.
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
//! | lost when | never; in tests, [on demand](memory::MemoryFaults) | the lock file or its directory is deleted, renamed or replaced | its session is killed, the server restarts, or has not heard of it for 30 s |
//! | loss is told | | within 1 s, mostly at once | within a heartbeat, 5 s; when cut off, 3 s before others can have it |
//! | fencing tokens | grow within the process | grow over processes, crashes and restarts | grow over restarts of one server; from a table, over failovers |
//! | longest name | any | any; up to 255 bytes as it stands | any; up to 64 lower-case characters as it stands |
//!
//! [The whole table](_documentation::guarantees), and [what a lease is](_documentation::leases).
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
//! | `tower` | no | a [`tower`] layer: a lock for each request of a service; needs tower-layer and tower-service |
//! | `cli` | no | the [`keyward` command](_documentation::command), which runs a program under a lock; needs clap |
//! | `metrics` | no | [numbers](crate::metrics) of waits, holds and losses, for the `metrics` facade |
//! | `conformance` | no | the contract's test cases, for backends of your own |
//! | `full` | no | all of them |
//!
//! A feature adds API and changes nothing else. Without its feature, the URL of a backend is an error that
//! says so.
//!
//! # Guides
//!
//! * [Choosing a lock](_documentation::choosing): which one, what it costs, what to name it.
//! * [Cookbook](_documentation::cookbook): the usual jobs, each in a few lines.
//! * [What each backend guarantees](_documentation::guarantees), whatever dies, stops, or is cut off.
//! * [How far each engine goes](_documentation::scale), and what is in the way first.
//! * [What a lease is](_documentation::leases), until when, and what only the fence can do.
//! * [The command](_documentation::command): a program under a lock.
//! * Coming from [oslo.concurrency](_documentation::coming_from::oslo),
//!   [tooz and Cinder](_documentation::coming_from::cinder),
//!   [a map of mutexes](_documentation::coming_from::dashmap),
//!   [`GET_LOCK` by hand](_documentation::coming_from::sqlx), or
//!   [Redlock](_documentation::coming_from::redlock).
//!
//! [How it is built, and why](_documentation::design); [what has changed](_documentation::changelog).

#[cfg(not(keyward_loom))]
mod acquire;
#[cfg(not(keyward_loom))]
mod backend;
#[cfg(not(keyward_loom))]
mod blocking;
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
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql", not(keyward_loom)))]
mod inputs;
#[cfg(not(keyward_loom))]
mod installed;
#[cfg(not(keyward_loom))]
mod lease;
#[cfg(not(keyward_loom))]
mod locks;
#[cfg(all(feature = "metrics", not(keyward_loom)))]
pub mod metrics;
mod name;
#[cfg(not(keyward_loom))]
mod observe;
mod registry;
#[cfg(not(keyward_loom))]
mod run;
#[cfg(not(keyward_loom))]
mod runtime;
mod sync;
#[cfg(not(keyward_loom))]
mod token;
#[cfg(all(feature = "tower", not(keyward_loom)))]
pub mod tower;
#[cfg(not(keyward_loom))]
mod url;
#[cfg(not(keyward_loom))]
mod watch;

#[cfg(all(feature = "file", not(keyward_loom)))]
pub use crate::backend::file;
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql", not(keyward_loom)))]
#[doc(hidden)]
pub use crate::backend::fuzzed;
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

/// For `tests/shuttle/`, whose clock stands still.
#[cfg(keyward_shuttle)]
#[doc(hidden)]
pub mod _clock {
    pub use crate::sync::advance;
}

#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

// Links of a document are by reference: it ends with where they lead on a repository's page, and
// guides.md, which comes first and therefore wins, says where they lead here.
#[doc = include_str!("guides.md")]
#[doc = include_str!("../docs/README.md")]
pub mod _documentation {
    #[doc = include_str!("../CHANGELOG.md")]
    pub mod changelog {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/choosing.md")]
    pub mod choosing {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/command.md")]
    pub mod command {}
    /// Guides for those who come from another library, or from locks made by hand.
    pub mod coming_from {
        #[doc = include_str!("guides.md")]
        #[doc = include_str!("../docs/coming-from/cinder.md")]
        pub mod cinder {}
        #[doc = include_str!("guides.md")]
        #[doc = include_str!("../docs/coming-from/dashmap.md")]
        pub mod dashmap {}
        #[doc = include_str!("guides.md")]
        #[doc = include_str!("../docs/coming-from/oslo.md")]
        pub mod oslo {}
        #[doc = include_str!("guides.md")]
        #[doc = include_str!("../docs/coming-from/redlock.md")]
        pub mod redlock {}
        #[doc = include_str!("guides.md")]
        #[doc = include_str!("../docs/coming-from/sqlx.md")]
        pub mod sqlx {}
    }
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/cookbook.md")]
    pub mod cookbook {}
    #[doc = include_str!("../DESIGN.md")]
    pub mod design {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/guarantees.md")]
    pub mod guarantees {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/leases.md")]
    pub mod leases {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/mutants.md")]
    pub mod mutants {}
    // This page and the last one are written anew by each run of the benches, which is to build nothing anew.
    #[cfg(doc)]
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/reliability.md")]
    pub mod reliability {}
    #[cfg(doc)]
    #[doc = include_str!("guides.md")]
    #[doc = include_str!("../docs/scale.md")]
    pub mod scale {}
}
