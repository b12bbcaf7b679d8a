//! The slow half of the table: the held keys of a part of the buckets, behind one mutex.
//!
//! What is in a shard is published and held (T1), so it may be read; its queue may be touched by
//! whoever holds the mutex (N2). The table's invariants are at the head of `table.rs`.

use std::ptr::NonNull;

use hashbrown::HashTable;

use super::{
    node::Node,
    queue::{Queue, Waiter},
};
use crate::sync::{Mutex, MutexGuard, lock};

/// Entries for which an empty shard keeps its memory, about 300 bytes; above, it gives it back.
const KEPT_ENTRIES: usize = 28;

/// One shard.
///
/// Padded, so that two of them never share a cache line (or the pair of lines that is fetched at once).
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard<K: 'static>(Mutex<Keys<K>>);

impl<K> Shard<K> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Keys { nodes: HashTable::new(), closed: false }))
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Keys<K>> {
        lock(&self.0)
    }
}

/// The held keys of the slow buckets of one shard.
#[derive(Debug)]
pub(super) struct Keys<K: 'static> {
    nodes: HashTable<NonNull<Node<K>>>,
    /// The last handle is gone (T5).
    pub(super) closed: bool,
}

// SAFETY: the nodes are reached under the mutex only (N2), and keys may be sent, compared and dropped
// by any thread.
unsafe impl<K: Send + Sync> Send for Keys<K> {}

/// The bits by which a shard's table goes; all its keys share the low ones.
const fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

fn spread_of<K>(node: &NonNull<Node<K>>) -> u64 {
    // SAFETY: what is in a shard, or about to be, is published and held (T1).
    spread(unsafe { Node::hash(*node) })
}

impl<K> Keys<K> {
    /// The node of the key that `matches`, among those of the bucket.
    pub(super) fn find(&self, hash: u64, matches: impl Fn(&K) -> bool) -> Option<NonNull<Node<K>>> {
        let is_it = |node: &NonNull<Node<K>>| {
            // SAFETY: what is in the table is published and held (T1).
            unsafe { Node::hash(*node) == hash && matches(Node::key(*node)) }
        };
        self.nodes.find(spread(hash), is_it).copied()
    }

    /// Makes room for one more, so that the next insertion cannot fail.
    pub(super) fn reserve_one(&mut self) {
        self.nodes.reserve(1, spread_of);
    }

    /// Adds a node that is published and held, and belongs here.
    pub(super) fn insert(&mut self, node: NonNull<Node<K>>) {
        self.nodes.insert_unique(spread_of(&node), node, spread_of);
    }

    /// Takes out a node that is here, with its hash.
    pub(super) fn remove(&mut self, node: NonNull<Node<K>>, hash: u64) {
        if let Ok(entry) = self.nodes.find_entry(spread(hash), |other| *other == node) {
            entry.remove();
        }
        if self.nodes.is_empty() && self.nodes.capacity() > KEPT_ENTRIES {
            self.nodes.shrink_to(0, spread_of);
        }
    }

    /// How many guards hold the keys that are here.
    pub(super) fn holders(&self) -> usize {
        let holders = |node: &NonNull<Node<K>>| {
            // SAFETY: it is here, and we are reached under the mutex only.
            unsafe { Node::queue(*node, |queue| queue.holders()) }
        };
        self.nodes.iter().map(holders).sum()
    }
}

/// A held key, with its shard's mutex held.
pub(super) struct Contended<'t, K: 'static> {
    pub(super) keys: MutexGuard<'t, Keys<K>>,
    pub(super) node: NonNull<Node<K>>,
}

impl<K> Contended<'_, K> {
    /// Looks at the key's queue.
    pub(super) fn look<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        debug_assert!(!self.keys.nodes.is_empty());
        // SAFETY: we hold the mutex, and the node is in its table.
        unsafe { Node::queue(self.node, f) }
    }

    /// The key.
    #[cfg(not(keyward_loom))]
    pub(super) fn key(&self) -> &K {
        // SAFETY: what is in the table is published and held (T1), and leaves it under the mutex only.
        unsafe { Node::key(self.node) }
    }

    /// Queues `waiter` and returns the node it waits for.
    ///
    /// # Safety
    ///
    /// `waiter` is not linked, and stays valid until it is granted or cancelled.
    pub(super) unsafe fn push(self, waiter: *const Waiter) -> NonNull<Node<K>> {
        // SAFETY: as the caller says.
        self.look(|queue| unsafe { queue.push(waiter) });
        self.node
    }
}
