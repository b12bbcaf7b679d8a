//! Who waits, and since when: for people who look, and for nothing else.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;

use super::Key;

/// The waits of one process for the names of one backend, in the order in which they began.
#[derive(Default)]
pub(crate) struct Waits {
    next: AtomicU64,
    began: Mutex<BTreeMap<u64, (Key, Instant)>>,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Key, Instant)>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down a wait that has begun, until what is returned is dropped.
    pub(crate) fn enter(&self, key: &Key) -> Entry<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, (Key::clone(key), Instant::now()));
        Entry { waits: self, number }
    }

    /// How many wait for the key, and since when the first of them does.
    pub(crate) fn look(&self, key: &[u8]) -> (usize, Option<Instant>) {
        let began = self.lock();
        let mut of_key = began.values().filter(|(waited, _)| **waited == *key);
        let first = of_key.next().map(|(_, since)| *since);
        (usize::from(first.is_some()) + of_key.count(), first)
    }
}

/// One wait.
pub(crate) struct Entry<'a> {
    waits: &'a Waits,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let gone = self.waits.lock().remove(&self.number);
        drop(gone); // not under the mutex
    }
}
