//! What the benches beside this folder share: rounds, medians, tables and figures; the other processes;
//! a clock; histograms; and many processes that are only played.

pub mod clock;
pub mod crew;
pub mod histogram;
pub mod report;
pub mod sim;
