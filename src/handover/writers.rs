//! Which keys a writer of this process waits for at the store.

use std::{collections::HashSet, sync::Arc};

use super::Key;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// The keys for which a writer of this process waits at the store: one each, since he has the turn.
#[derive(Default)]
pub(super) struct Writers {
    /// As in [`Kept`](super::kept::Kept); who misses one that comes just now has come before it.
    count: AtomicUsize,
    keys: Mutex<HashSet<Key>>,
}

pub(super) struct Waiting<'a> {
    writers: &'a Writers,
    key: &'a [u8],
}

impl Writers {
    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        lock(&self.keys)
    }

    pub(super) fn wait_for(&self, key: &[u8]) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.lock().contains(key)
    }

    pub(super) fn enter<'a>(&'a self, key: &'a Key) -> Waiting<'a> {
        let mut keys = self.lock();
        keys.insert(Arc::clone(key));
        self.count.store(keys.len(), Ordering::Relaxed);
        Waiting { writers: self, key }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut keys = self.writers.lock();
        keys.remove(self.key);
        self.writers.count.store(keys.len(), Ordering::Relaxed);
    }
}
