//! The table of one registry: which keys are held, found by one hash and one compare-and-swap.
//!
//! A key belongs to the *bucket* that its hash selects. A bucket is one word, its *slot*:
//!
//! | slot               | meaning                                                | left by                      |
//! |--------------------|--------------------------------------------------------|------------------------------|
//! | null               | no key of the bucket is held                           | CAS to a node                |
//! | node (even)        | *fast*: one key, one guard, nobody waits               | CAS to null; flip: CAS to 3  |
//! | 2 × keys + 1 (odd) | *slow*: the bucket's held keys are in its shard's table | stores under the shard's mutex |
//!
//! So locking a free key is a hash and a CAS, unlocking it another CAS, and neither compares keys or
//! takes a mutex. Whatever is not that simple (a second guard, a waiter, two keys in one bucket, a
//! look) takes the mutex of the bucket's shard and *flips* the bucket to slow. It becomes fast again
//! when the last of its keys is released.
//!
//! T1. A key is held exactly while a node with it is in its slot or, never both, in its shard's table.
//! T2. A slot is odd exactly while its bucket has keys in the shard's table, and says how many. It
//!     becomes odd, and changes while odd, only under the shard's mutex.
//! T3. Only who ends the last hold of a node takes it out, and then owns it: for a fast node by the
//!     CAS to null, for a slow one under the mutex when nobody holds or is granted it.
//! T4. Under the mutex runs no foreign code but the keys' `Eq`: no waker, no clone, no drop of a key.
//! T5. The table outlives its last handle until its last guard: closing flips every bucket, so that a
//!     guard must pass the mutex, and counts the guards that are left; the last of them frees it.
//!     Until then a guard touches no counter that another guard touches.
//!
//! Orderings: the lock CAS is `AcqRel`: `Acquire` for what the last holder did, `Release` for the
//! node's contents, read by whoever flips. (`Acquire` alone is a race that x86 hides.) The unlock CAS
//! is `Release`. The flip is `AcqRel`, and reads the node only after it has succeeded: before, the
//! node may be released, recycled and published with another key. The store
//! that frees a slot under the mutex is `Release`, because the next fast lock does not take the mutex.

use std::{array, ptr, ptr::NonNull};

use super::{
    ask::Ask,
    key::ToKey,
    node::{Node, Spare},
    queue::{Queue, Waiter, WakeBatch},
    shard::{Contended, Keys, Shard},
};
use crate::sync::{AtomicPtr, AtomicUsize, MutexGuard, Ordering, UnsafeCell, fence};

/// 8 KiB. More slots are no faster while they fit the cache and slower when they do not; fewer make
/// buckets collide. Models and `--cfg keyward_small` have few, so that everything meets.
const SLOTS: usize = if cfg!(any(keyward_loom, keyward_shuttle, keyward_small)) { 2 } else { 1024 };
const SHARDS: usize = if cfg!(any(keyward_loom, keyward_shuttle, keyward_small)) { 1 } else { 32 };

/// What is held in one registry.
#[derive(Debug)]
pub(super) struct Table<K: 'static> {
    slots: [AtomicPtr<Node<K>>; SLOTS],
    shards: [Shard<K>; SHARDS],
    handles: AtomicUsize,
    /// Guards left when the last handle went, plus one while it is going (T5).
    orphans: AtomicUsize,
    /// Read by who is about to end a hold, written by who frees the table: compiles to nothing, and
    /// lets a model see it if the second is not after the first (T5).
    life: UnsafeCell<()>,
}

/// A slot's word for a slow bucket with `keys` keys.
const fn slow<K>(keys: usize) -> *mut Node<K> {
    ptr::without_provenance_mut(keys * 2 + 1)
}

/// The number of keys, if the word is that of a slow bucket.
fn slow_keys<K>(word: *mut Node<K>) -> Option<usize> {
    (word.addr() & 1 == 1).then_some(word.addr() / 2)
}

impl<K: 'static> Table<K> {
    /// An empty table with one handle.
    pub(super) fn new() -> NonNull<Self> {
        let table = Box::new(Self {
            slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            shards: array::from_fn(|_| Shard::new()),
            handles: AtomicUsize::new(1),
            orphans: AtomicUsize::new(0),
            life: UnsafeCell::new(()),
        });
        NonNull::from(Box::leak(table))
    }

    #[inline(always)]
    fn slot(&self, hash: u64) -> &AtomicPtr<Node<K>> {
        &self.slots[hash as usize & (SLOTS - 1)]
    }

    #[inline]
    fn shard(&self, hash: u64) -> MutexGuard<'_, Keys<K>> {
        self.shards[hash as usize & (SHARDS - 1)].lock()
    }

    /// Whether the bucket is free; a hint, which `publish` decides.
    #[inline(always)]
    pub(super) fn looks_free(&self, hash: u64) -> bool {
        self.slot(hash).load(Ordering::Relaxed).is_null()
    }

    /// Takes a free bucket with an addressed node; gives it back if the bucket is not free.
    #[inline(always)]
    pub(super) fn publish(&self, spare: Spare<K>) -> Result<NonNull<Node<K>>, Spare<K>> {
        let (slot, free) = (self.slot(spare.hash()), ptr::null_mut());
        match slot.compare_exchange(free, spare.as_ptr(), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(spare.into_node()),
            Err(_) => Err(spare),
        }
    }

    /// Takes a key unless it must be waited for; then it is returned with the mutex held.
    ///
    /// `ready` is a node for the key, made here without the mutex (T4), and only if the key is free,
    /// so that asking for a held one allocates nothing. What is left in it is for the caller to drop
    /// once the mutex is released.
    #[cold]
    #[inline(never)]
    pub(super) fn claim<Q>(
        &self,
        ask: &Ask<'_, K, Q>,
        ready: &mut Option<Spare<K>>,
    ) -> Result<NonNull<Node<K>>, Contended<'_, K>>
    where
        K: Eq,
        Q: ToKey<K> + ?Sized,
    {
        let hash = ask.hash;
        loop {
            let mut keys = self.shard(hash);
            let found = self.find_in(&mut keys, ask, ready.as_ref());
            if let Some(node) = found {
                let held = Contended { keys, node };
                let joined = held.look(|queue| queue.join(ask.mode, ask.origin));
                return if joined { Ok(node) } else { Err(held) };
            }
            let Some(spare) = ready.take() else {
                drop(keys);
                *ready = Some(ask.addressed());
                continue;
            };
            let slot = self.slot(hash);
            if let Some(count) = slow_keys(slot.load(Ordering::Relaxed)) {
                let node = spare.into_node();
                keys.insert(node);
                slot.store(slow(count + 1), Ordering::Relaxed); // leads to the mutex
                return Ok(node);
            }
            match self.publish(spare) {
                Ok(node) => return Ok(node),
                Err(spare) => *ready = Some(spare), // somebody was faster, without the mutex
            }
        }
    }

    /// The key that is asked for, if it is held, with the mutex held. Makes its bucket slow.
    /// `name` is what [`Ask::whole_name`] says.
    pub(super) fn find<Q>(
        &self,
        ask: &Ask<'_, K, Q>,
        name: Option<&Spare<K>>,
    ) -> Option<Contended<'_, K>>
    where
        K: Eq,
        Q: ToKey<K> + ?Sized,
    {
        let mut keys = self.shard(ask.hash);
        let node = self.find_in(&mut keys, ask, name)?;
        Some(Contended { keys, node })
    }

    /// As [`Table::find`], for a node that the caller holds or is queued for.
    ///
    /// # Safety
    ///
    /// The node is held and in the shard's table: it has, or had, a waiter.
    pub(super) unsafe fn contended(&self, node: NonNull<Node<K>>) -> Contended<'_, K> {
        // SAFETY: held.
        let keys = self.shard(unsafe { Node::hash(node) });
        Contended { keys, node }
    }

    /// How many are queued for the node's key, without making its bucket slow as [`Table::find`] does.
    ///
    /// # Safety
    ///
    /// The caller holds the node.
    #[cfg(not(keyward_loom))]
    #[inline]
    pub(super) unsafe fn queued(node: NonNull<Node<K>>) -> usize {
        // SAFETY: the node is held, and with it the table is there (T5).
        unsafe {
            let table = Node::table(node);
            // In its slot nobody has met it; else its bucket is slow, and it is in the table (T1).
            if (*table).slot(Node::hash(node)).load(Ordering::Relaxed) == node.as_ptr() {
                return 0;
            }
            (*table).contended(node).look(|queue| queue.queued())
        }
    }

    /// Makes the bucket slow unless it is free, and looks for the key in it. `name` is a node with
    /// the key's whole name, if there is one.
    fn find_in<Q>(
        &self,
        keys: &mut Keys<K>,
        ask: &Ask<'_, K, Q>,
        name: Option<&Spare<K>>,
    ) -> Option<NonNull<Node<K>>>
    where
        K: Eq,
        Q: ToKey<K> + ?Sized,
    {
        if self.flip(self.slot(ask.hash), keys) == 0 {
            return None;
        }
        match name {
            Some(name) => keys.find(ask.hash, |key| name.key() == key),
            None => keys.find(ask.hash, |key| ask.key.matches(key)),
        }
    }

    /// Makes a bucket slow unless it is free, and returns how many keys it has in the shard's table.
    fn flip(&self, slot: &AtomicPtr<Node<K>>, keys: &mut Keys<K>) -> usize {
        loop {
            let word = slot.load(Ordering::Acquire);
            if let Some(count) = slow_keys(word) {
                return count;
            }
            let Some(node) = NonNull::new(word) else {
                return 0;
            };
            keys.reserve_one(); // after the CAS there is no way back
            if slot.compare_exchange(word, slow(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                keys.insert(node);
            }
        }
    }

    /// Ends one hold of `node`.
    ///
    /// # Safety
    ///
    /// The caller has one, and uses neither it nor the node again.
    #[inline]
    pub(super) unsafe fn release(node: NonNull<Node<K>>) {
        // SAFETY: the node is held until the CAS, and with it the table is there (T5). After it the
        // table is not touched, and the node is ours (T3).
        unsafe {
            let table = Node::table(node);
            (*table).life.with(|_| ());
            let slot = (*table).slot(Node::hash(node));
            let unlock = slot.compare_exchange(
                node.as_ptr(),
                ptr::null_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match unlock {
                Ok(_) => drop(Spare::from_node(node)),
                Err(_) => Self::release_slow(table, node),
            }
        }
    }

    /// # Safety
    ///
    /// As [`Table::release`], and the node's bucket is slow.
    #[cold]
    #[inline(never)]
    unsafe fn release_slow(table: *const Self, node: NonNull<Node<K>>) {
        let mut batch = WakeBatch::new();
        // SAFETY: the caller's hold keeps node and table until its share is given back, the mutex
        // does until `hand_over` lets go of it.
        let left = unsafe {
            let held = (*table).contended(node);
            held.look(Queue::give_back);
            (*table).hand_over(held, &mut batch)
        };
        // From here on only a closed table is sure to be there, and that only by our own count.
        batch.wake();
        if left.idle {
            // SAFETY: out of the table by us, and nobody holds it (T3).
            drop(unsafe { Spare::from_node(node) });
        }
        if left.closed {
            // SAFETY: the hold that ended was counted.
            unsafe { Self::leave(table) };
        }
    }

    /// Takes a waiter out of the queue, or ends the hold that it has been granted.
    ///
    /// # Safety
    ///
    /// `waiter` was queued for `node` by `push`, and its grant, if any, has not been taken.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn cancel(&self, node: NonNull<Node<K>>, waiter: *const Waiter) {
        // SAFETY: as long as somebody is queued or granted, the node is held, and the waiter is valid.
        unsafe {
            let held = self.contended(node);
            if (*waiter).is_granted() {
                drop(held);
                Self::release(node);
                return;
            }
            let mut batch = WakeBatch::new();
            let waker = held.look(|queue| queue.unlink(waiter));
            self.hand_over(held, &mut batch); // readers behind a writer may fit now
            batch.wake();
            drop(waker);
        }
    }

    /// Grants what has become free to the front of the queue, or takes the node out if nobody is left
    /// to hold it, and lets go of the mutex. The rest is for the caller, without the mutex.
    fn hand_over<'t>(&'t self, mut held: Contended<'t, K>, batch: &mut WakeBatch) -> Left {
        let node = held.node;
        loop {
            let (granted, more) = held.look(|queue| {
                let (granted, more) = queue.grant(batch);
                if more {
                    queue.pin(); // the node stays while we wake a part of them
                }
                (granted, more)
            });
            if held.keys.closed {
                // Only forgotten futures can be waiting here; they will never give it back.
                self.orphans.fetch_add(granted, Ordering::Relaxed);
            }
            if !more {
                break;
            }
            drop(held);
            batch.wake();
            // SAFETY: the pinned share holds the node.
            held = unsafe { self.contended(node) };
            held.look(Queue::give_back);
        }
        let idle = held.look(|queue| queue.holders() == 0);
        if idle {
            // SAFETY: still ours to read: nobody else ends a hold of it.
            let hash = unsafe { Node::hash(node) };
            let slot = self.slot(hash);
            held.keys.remove(node, hash);
            let word = match slow_keys(slot.load(Ordering::Relaxed)) {
                Some(keys @ 2..) => slow(keys - 1),
                _ => ptr::null_mut(),
            };
            slot.store(word, Ordering::Release);
        }
        Left { idle, closed: held.keys.closed }
    }

    /// How many keys are held.
    pub(super) fn len(&self) -> usize {
        let keys = |slot: &AtomicPtr<Node<K>>| {
            let word = slot.load(Ordering::Acquire);
            slow_keys(word).unwrap_or(usize::from(!word.is_null()))
        };
        self.slots.iter().map(keys).sum()
    }

    /// Counts one more handle.
    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one handle less; closes the table after the last, and frees it once nothing is held.
    ///
    /// # Safety
    ///
    /// The caller has a handle and does not use it again.
    pub(super) unsafe fn drop_handle(table: NonNull<Self>) {
        // SAFETY: a handle keeps the table.
        let this = unsafe { table.as_ref() };
        if this.handles.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            this.close();
            // SAFETY: `close` counted the closer.
            unsafe { Self::leave(table.as_ptr()) };
        }
    }

    /// Makes every guard that is left pass a mutex, and counts it (T5).
    ///
    /// With the last handle gone there are no futures, so nothing can be claimed or queued any more,
    /// but for forgotten futures, which are never polled again.
    #[cold]
    fn close(&self) {
        self.orphans.fetch_add(1, Ordering::Relaxed);
        for (index, shard) in self.shards.iter().enumerate() {
            let mut keys = shard.lock();
            for slot in self.slots.iter().skip(index).step_by(SHARDS) {
                self.flip(slot, &mut keys);
            }
            self.orphans.fetch_add(keys.holders(), Ordering::Relaxed);
            keys.closed = true;
        }
    }

    /// Frees a closed table when the last of its guards, or the closer, leaves.
    ///
    /// # Safety
    ///
    /// The caller was counted in `orphans` and does not touch the table again.
    #[cold]
    unsafe fn leave(table: *const Self) {
        // SAFETY: our count keeps the table until the subtraction; the last one to subtract is alone,
        // and the pointer is the one that `new` made.
        unsafe {
            if (*table).orphans.fetch_sub(1, Ordering::Release) == 1 {
                fence(Ordering::Acquire);
                (*table).life.with_mut(|_| ());
                drop(Box::from_raw(table.cast_mut()));
            }
        }
    }
}

/// What [`Table::hand_over`] leaves to its caller.
struct Left {
    /// The node is out of the table.
    idle: bool,
    /// The table is closed: whoever has ended a hold must `leave` it.
    closed: bool,
}
