//! placeholder front page
mod error;
pub mod hash;
mod registry;
mod sync;

pub use crate::{
    error::{Elapsed, TryLockError},
    registry::{LockRegistry, NamedGuard, NamedGuards, NamedReadGuard, ToKey, futures},
};
