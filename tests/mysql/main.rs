//! Leases on real servers, which the tests start themselves.

mod blocking;
mod cancel;
mod clients;
mod death;
mod driver;
mod facts;
mod fair;
mod faults;
mod harness;
mod inspect;
mod kills;
mod many;
#[cfg(feature = "metrics")]
mod metered;
mod network;
mod random;
mod refuse;
mod review;
mod session;
mod shards;
mod share;
mod time;

#[cfg(feature = "metrics")]
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server/mod.rs"]
mod server;
#[path = "../support/warnings.rs"]
mod warnings;
