//! What `Locks` promises, whatever is behind it, one file per concern. Futures are polled by hand, the
//! clock is paused, and `Scripted` is the backend where one has to fail, wait or count.

mod blocking;
mod bounds;
mod cancel;
mod close;
mod errors;
mod faults;
mod handover;
mod inspect;
mod loss;
#[cfg(feature = "metrics")]
mod metered;
mod observed;
mod readers;
mod run;
mod timeouts;
mod urls;
mod warnings;

#[cfg(feature = "metrics")]
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/scripted.rs"]
mod scripted;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/woken.rs"]
mod woken;

use std::future::IntoFuture;

use keyward::{Acquire, Error, Lease, Locks, futures::Acquiring, memory::MemoryBackend};
use tokio_test::task::{self, Spawn};

/// A store of its own in this process.
fn memory() -> Locks {
    Locks::builder().backend(MemoryBackend::new())
}

/// A wait that is polled by hand.
fn by_hand<L>(wait: Acquire<L>) -> Spawn<Acquiring<L>>
where
    Acquire<L>: IntoFuture<IntoFuture = Acquiring<L>>,
{
    task::spawn(wait.into_future())
}

/// A lease that must be had without waiting.
fn now(wait: Acquire) -> Result<Lease, Error> {
    futures::FutureExt::now_or_never(wait.into_future()).expect("it waits")
}

/// A runtime with a paused clock, for what is polled by hand but has timers.
fn paused() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap()
}
