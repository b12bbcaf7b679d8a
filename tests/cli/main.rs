//! The `keyward` command, as scripts and people use it: the binary itself, on real stores.

mod codes;
mod death;
mod doctor;
mod lost;
#[cfg(feature = "mysql")]
mod mysql;
mod pages;
mod place;
mod program;
mod running;
mod stuck;
mod terminal;
mod waiting;

#[cfg(feature = "mysql")]
#[path = "../support/server/mod.rs"]
mod server;
