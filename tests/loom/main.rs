//! Models of the registry: every interleaving of small cases, under `--cfg keyward_loom`
//! (`scripts/test --loom`). Without that cfg this binary is empty.
//!
//! In a model the table has 2 slots and 1 shard, a thread keeps 1 spare node, and a batch of wakers has
//! room for 1, so that the rare paths are the common ones. Keys are numbers and hash to themselves:
//! 0, 2 and 4 share a slot, 1 and 3 the other.
#![cfg(keyward_loom)]
#![allow(clippy::redundant_clone, reason = "the threads of a model are written alike")]

#[path = "../support/identity.rs"]
mod identity;
mod lifetime;
mod lock;
mod queue;
mod support;
