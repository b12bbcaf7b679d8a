//! keyward beside Python's lock libraries on one directory: processes of both, driven line by line.
//!
//! `scripts/test --python` makes the environment that these tests need. Nothing here asserts a speed,
//! but for the one bound that [`LocksBuilder::polite`](keyward::LocksBuilder::polite) promises.

mod cinder;
mod death;
mod exclusion;
mod keyward_peer;
mod load;
mod oracle;
mod paths;
mod peer;
mod polite;
mod protocol;
mod room;
