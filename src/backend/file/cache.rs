//! Lock files that are open and idle, so that a name that is locked again and again is not opened
//! again and again.
//!
//! A table of as many places as there are files kept, each name with one place: no list to keep in
//! order, and a bound on what is open. A file is in the table, or in one hold; never in both.
#![forbid(unsafe_code)]

use std::{
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use super::lock_file::LockFile;
use crate::hash::RandomState;

/// How many files are kept open at most.
pub(super) const PLACES: usize = 128;

#[derive(Debug)]
pub(super) struct Cache {
    places: [Mutex<Option<Box<LockFile>>>; PLACES],
    hasher: RandomState,
}

impl Cache {
    pub(super) fn new() -> Self {
        let places = [const { Mutex::new(None) }; PLACES];
        Self { places, hasher: RandomState::default() }
    }

    fn place(&self, key: &[u8]) -> &Mutex<Option<Box<LockFile>>> {
        &self.places[self.hasher.hash_one(key) as usize % PLACES]
    }

    pub(super) fn take(&self, key: &[u8]) -> Option<Box<LockFile>> {
        let mut place = self.place(key).lock().unwrap_or_else(PoisonError::into_inner);
        place.take_if(|file| file.key() == key)
    }

    pub(super) fn put(&self, file: Box<LockFile>) {
        let place = self.place(file.key());
        let old = place.lock().unwrap_or_else(PoisonError::into_inner).replace(file);
        drop(old); // closes a file: not under the mutex
    }

    /// Closes what is idle.
    pub(super) fn clear(&self) {
        for place in &self.places {
            let old = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(old);
        }
    }
}
