//! Lost updates over keyward's own backends, with processes that are stopped and killed; and that the
//! checker finds some where there are some.
//!
//! The whole workload, with peers, is `cargo bench -p keyward-benches --bench lost_update`.

#[path = "../support/lost_update/mod.rs"]
mod lost_update;
#[path = "../support/server/mod.rs"]
mod server;

mod checker;
mod register;
mod workload;
