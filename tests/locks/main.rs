//! What `Locks` promises over any backend, one file per concern.
