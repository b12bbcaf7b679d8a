//! What a turn finds besides itself: a hold to take over, or readers to join.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{Key, held::Readers};
use crate::{
    erased::BoxHold,
    sync::{AtomicUsize, Mutex, MutexGuard, Ordering, lock},
};

/// What a turn finds besides itself.
#[derive(Default)]
pub(super) struct Kept {
    /// How many there are, so that nobody takes the mutex to find none.
    count: AtomicUsize,
    map: Mutex<HashMap<Key, Keep>>,
}

pub(super) enum Keep {
    /// For the next turn.
    HandedOver(BoxHold),
    /// For readers to join.
    Readers(Weak<Readers>),
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Keep>> {
        lock(&self.map)
    }

    fn is_empty(&self) -> bool {
        // A hold is kept before its turn is given up, and a turn is a synchronising handshake: who
        // has the turn after it sees the count.
        self.count.load(Ordering::Relaxed) == 0
    }

    pub(super) fn put(&self, key: &Key, keep: Keep) {
        let mut map = self.lock();
        let old = map.insert(Arc::clone(key), keep);
        self.count.store(map.len(), Ordering::Relaxed);
        drop(map);
        drop(old); // frees a hold, if at all: not under our mutex
    }

    pub(super) fn remove_if(
        &self,
        key: &[u8],
        condition: impl FnOnce(&Keep) -> bool,
    ) -> Option<Keep> {
        if self.is_empty() {
            return None;
        }
        let mut map = self.lock();
        let keep = if map.get(key).is_some_and(condition) { map.remove(key) } else { None };
        self.count.store(map.len(), Ordering::Relaxed);
        keep
    }

    pub(super) fn has_handed_over(&self, key: &[u8]) -> bool {
        !self.is_empty() && matches!(self.lock().get(key), Some(Keep::HandedOver(_)))
    }

    pub(super) fn take_handed_over(&self, key: &[u8]) -> Option<BoxHold> {
        match self.remove_if(key, |keep| matches!(keep, Keep::HandedOver(_))) {
            Some(Keep::HandedOver(hold)) => Some(hold),
            _ => None,
        }
    }

    pub(super) fn readers(&self, key: &[u8]) -> Option<Arc<Readers>> {
        if self.is_empty() {
            return None;
        }
        match self.lock().get(key) {
            Some(Keep::Readers(readers)) => readers.upgrade(),
            _ => None,
        }
    }
}
