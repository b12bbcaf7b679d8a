//! keyward beside Python's lock libraries, on one directory or one server: processes of both, driven
//! line by line.
//!
//! `scripts/test --python` makes the environment that these tests need. Nothing here asserts a speed,
//! but for the bounds that are promised: by [`LocksBuilder::polite`](keyward::LocksBuilder::polite), and
//! at a server for what becomes of the dead.

mod cinder;
mod death;
mod exclusion;
mod keyward_peer;
mod load;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "macros")]
mod names;
mod oracle;
mod paths;
mod peer;
mod polite;
mod protocol;
mod room;
#[cfg(feature = "mysql")]
#[path = "../support/server/mod.rs"]
mod server;

/// How keyward's peers reach what they are asked for.
async fn connect(prefix: &str, url: &str) -> Result<keyward::Locks, keyward::Error> {
    keyward::Locks::builder().prefix(prefix).connect(url).await
}
