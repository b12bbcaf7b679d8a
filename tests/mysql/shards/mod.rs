//! Names that are shared out among several real servers, and generations of these.
//!
//! Where a name is at home is computed here once more, by the formula of the docs, and asked of the servers;
//! that two never hold one name is judged by counters of the test's own.

mod agree;
mod apart;
mod backups;
mod cancels;
mod change;
mod cluster;
mod frozen;
mod networks;
mod races;
mod recipe;
mod rolling;
mod tokens;
mod twins;
