//! Leases on real servers, which the tests start themselves.

mod death;
mod faults;
mod harness;
mod network;

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server/mod.rs"]
mod server;
