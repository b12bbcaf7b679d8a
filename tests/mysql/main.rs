//! Leases on real servers, which the tests start themselves.
