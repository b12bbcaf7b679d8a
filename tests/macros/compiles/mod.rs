//! What must compile, without a warning.

mod elsewhere;
mod fragments;
mod hygiene;
mod kinds;
mod returns;
