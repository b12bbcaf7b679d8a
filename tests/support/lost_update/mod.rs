//! The lost update: processes that lock one name, read a register, compute, write it and let go, while
//! somebody stops and kills them; and a checker that finds out which acknowledged writes are gone.
//!
//! The register is a row in a server's table. It knows nothing of the lock, and can refuse by a column
//! for the fence, or not: see [`register`]. What the processes do, they write down in a [`log`], and the
//! [`checker`] knows nothing but that log and the row that is left. So neither the lock that is tried
//! nor the processes judge themselves.
//!
//! It is shared by path between the tests and the benches, which are another crate.

#![allow(dead_code, unused_imports, reason = "each binary uses a part of it")]

pub(crate) mod checker;
pub(crate) mod leased;
pub(crate) mod log;
pub(crate) mod nemesis;
pub(crate) mod register;
pub(crate) mod worker;

use std::fmt;

/// What goes wrong, with its whole text.
pub(crate) type Outcome<T> = Result<T, String>;

pub(crate) fn text(error: impl fmt::Display) -> String {
    error.to_string().replace('\n', " ")
}
