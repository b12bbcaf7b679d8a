//! Leases on real servers, which the tests start themselves.

mod death;
mod driver;
mod facts;
mod harness;
mod kills;
mod network;
mod session;

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server/mod.rs"]
mod server;
