//! What several test binaries use.

pub(crate) mod cancellation;
