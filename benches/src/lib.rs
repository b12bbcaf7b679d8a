//! What the benches beside this folder share: rounds, medians, tables and figures; the other processes;
//! and a clock.

pub mod clock;
pub mod crew;
pub mod report;
