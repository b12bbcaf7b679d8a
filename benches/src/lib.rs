//! What the benches beside this folder share: rounds, medians, tables and figures.

pub mod report;
