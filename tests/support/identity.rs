//! Keys of models: a hash that the model chooses.

use std::hash::{BuildHasher, Hasher};

use keyward::LockRegistry;

/// Numbers that hash to themselves, so that a model says which keys share a slot.
#[derive(Clone, Default)]
pub(crate) struct Identity;

pub(crate) struct Same(u64);

impl BuildHasher for Identity {
    type Hasher = Same;
    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type Registry = LockRegistry<u64, Identity>;
