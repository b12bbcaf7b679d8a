//! Who waits, and since when: for people who look, and for nothing else.

use std::collections::{BTreeMap, HashMap, hash_map};

use super::Key;
use crate::sync::{
    AtomicU64, Mutex, MutexGuard, Ordering, lock,
    time::{Instant, now},
};

/// The waits of one process for the names of one backend, those of a name in the order in which they began.
#[derive(Default)]
pub(crate) struct Waits {
    next: AtomicU64,
    began: Mutex<HashMap<Key, BTreeMap<u64, Instant>>>,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<u64, Instant>>> {
        lock(&self.began)
    }

    /// Takes down a wait that has begun, until what is returned is dropped.
    pub(crate) fn enter(&self, key: &Key) -> Entry<'_> {
        let (number, key) = (self.next.fetch_add(1, Ordering::Relaxed), Key::clone(key));
        self.lock().entry(Key::clone(&key)).or_default().insert(number, now());
        Entry { waits: self, key, number }
    }

    /// How many wait for the key, and since when the first of them does.
    pub(crate) fn look(&self, key: &[u8]) -> (usize, Option<Instant>) {
        let began = self.lock();
        let Some(began) = began.get(key) else { return (0, None) };
        (began.len(), began.first_key_value().map(|(_, since)| *since))
    }
}

/// One wait.
pub(crate) struct Entry<'a> {
    waits: &'a Waits,
    key: Key,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut began = self.waits.lock();
        if let hash_map::Entry::Occupied(mut of_key) = began.entry(Key::clone(&self.key)) {
            of_key.get_mut().remove(&self.number);
            if of_key.get().is_empty() {
                of_key.remove();
            }
        }
    }
}
