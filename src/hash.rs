//! How keys are hashed unless the caller chooses otherwise.
//!
//! foldhash, seeded anew for every [`RandomState`]: about 4 ns for a 40-byte name where std's
//! SipHash takes 12. The types are our own, so that foldhash is no part of the public API.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher};

/// Builds the hashers of one [`LockRegistry`](crate::LockRegistry), with a seed of its own.
///
/// The seed keeps equal tables of two processes apart and makes collisions hard to guess. It is no
/// defence against somebody who can measure latencies and choose keys at will; if that is your case,
/// give [`LockRegistry::with_hasher`](crate::LockRegistry::with_hasher) a
/// [`std::hash::RandomState`]. A collision costs time, never exclusion.
///
/// # Examples
///
/// ```
/// use std::hash::BuildHasher;
///
/// let state = keyward::hash::RandomState::default();
/// assert_eq!(state.hash_one("vol-1"), state.hash_one(&String::from("vol-1")));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RandomState(Seed);

#[cfg(not(keyward_shuttle))]
type Seed = foldhash::fast::RandomState;
/// A schedule that is run again must find the keys in the same slots.
#[cfg(keyward_shuttle)]
type Seed = foldhash::fast::FixedState;

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    #[inline]
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher(self.0.build_hasher())
    }
}

/// The hasher that [`RandomState`] builds.
#[derive(Clone)]
pub struct DefaultHasher(foldhash::fast::FoldHasher<'static>);

impl std::fmt::Debug for DefaultHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultHasher").finish_non_exhaustive()
    }
}

/// Passes each `write_*` on, since the default ones would go through `write` byte by byte.
macro_rules! forward {
    ($($write:ident: $int:ty),*) => {
        $(#[inline]
        fn $write(&mut self, i: $int) {
            self.0.$write(i);
        })*
    };
}

impl Hasher for DefaultHasher {
    forward! { write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128, write_usize: usize }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
