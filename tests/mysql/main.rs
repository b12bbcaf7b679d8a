//! Leases on real servers, which the tests start themselves.

mod harness;

#[path = "../support/server/mod.rs"]
mod server;
