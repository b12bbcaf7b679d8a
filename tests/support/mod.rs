//! What several test binaries use.

pub(crate) mod cancellation;
#[cfg_attr(
    not(debug_assertions),
    allow(dead_code, reason = "the registry warns in debug builds only")
)]
pub(crate) mod warnings;
