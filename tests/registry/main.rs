//! What `LockRegistry` promises, one file per concern. Everything here goes through the public API;
//! futures are polled by hand, and no test waits for a clock to show that something happens.

mod blocking;
mod bounds;
mod cancel;
mod defects;
mod fifo;
mod fused;
mod keys;
mod lifetime;
mod lock;
mod lock_all;
mod prefix;
mod runtimes;
mod shared;
#[cfg(debug_assertions)]
mod stall;
mod stress;
mod timeout;

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/woken.rs"]
mod woken;

/// The registry that most tests use.
type Names = keyward::LockRegistry<String>;
