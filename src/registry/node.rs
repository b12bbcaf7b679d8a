//! The piece of memory that stands for one held key, and its recycling.
//!
//! A node exists exactly as long as its key is held. A [`Spare`] owns one that nobody else can see;
//! the table publishes it, and whoever ends the last hold makes it a spare again, which on drop goes
//! to a cache of the thread or back to the allocator.
//!
//! N1. Body and key are written only while the node is a spare, hence by one thread; from its
//!     publication on they are read-only.
//! N2. The queue of a published node is touched only under its shard's mutex, once the bucket is
//!     slow; in a fast bucket nobody touches it at all.
//! N3. A thread keeps at most [`CACHED`] spares a lane. A spare of the `String` lane keeps its
//!     string, for the buffer, if that is at most [`KEPT_BYTES`]; any other key is dropped when its
//!     lock is released. 32 nodes of 56 bytes with buffers of 256 are 10 KB a thread, freed at its
//!     end.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    any::{Any, TypeId},
    cell::Cell,
    ptr::{self, NonNull},
};

use super::{
    key::ToKey,
    queue::{Mode, Queue},
    stall::Origin,
    table::Table,
};
use crate::sync::{LocalKey, UnsafeCell, thread_local};

/// Spares that one thread keeps of each lane. Models keep one, so that it is reused at once.
const CACHED: usize = if cfg!(any(keyward_loom, keyward_shuttle)) { 1 } else { 32 };
/// The largest `String` buffer, in bytes, that is kept with a spare.
const KEPT_BYTES: usize = 256;

/// One held key.
#[derive(Debug)]
pub(super) struct Node<K: 'static> {
    body: UnsafeCell<Body<K>>,
    queue: UnsafeCell<Queue>,
}

#[derive(Debug)]
struct Body<K: 'static> {
    table: *const Table<K>,
    hash: u64,
    key: K,
}

impl<K> Node<K> {
    /// # Safety
    ///
    /// `node` is published and not released: its body is read-only (N1).
    #[inline]
    pub(super) unsafe fn key<'a>(node: NonNull<Self>) -> &'a K {
        // SAFETY: as the caller says.
        unsafe { node.as_ref().body.with(|body| &(*body).key) }
    }

    /// # Safety
    ///
    /// As for [`Node::key`].
    #[inline]
    pub(super) unsafe fn hash(node: NonNull<Self>) -> u64 {
        // SAFETY: as the caller says.
        unsafe { node.as_ref().body.with(|body| (*body).hash) }
    }

    /// # Safety
    ///
    /// As for [`Node::key`].
    #[inline]
    pub(super) unsafe fn table(node: NonNull<Self>) -> *const Table<K> {
        // SAFETY: as the caller says.
        unsafe { node.as_ref().body.with(|body| (*body).table) }
    }

    /// # Safety
    ///
    /// The caller holds the mutex of the node's shard, the node is in that shard (N2), and `f` does
    /// not ask for the queue again.
    #[inline]
    pub(super) unsafe fn queue<R>(node: NonNull<Self>, f: impl FnOnce(&mut Queue) -> R) -> R {
        // SAFETY: as the caller says.
        unsafe { node.as_ref().queue.with_mut(|queue| f(&mut *queue)) }
    }
}

/// A node that only its owner can see. Dropping it recycles it.
#[derive(Debug)]
pub(super) struct Spare<K: 'static>(NonNull<Node<K>>);

impl<K> Spare<K> {
    /// A node with `key` in it, held in `mode` once it is published.
    #[inline(always)]
    pub(super) fn new<Q>(key: &Q, mode: Mode, origin: Origin) -> Self
    where
        Q: ToKey<K> + ?Sized,
    {
        let lane = Lane::of::<K>();
        if lane == Lane::Strings
            && let Some(node) = pop(&STRINGS)
        {
            let mut spare = Self(node.cast());
            // The lane's nodes hold a `String`, and that is what `K` is.
            spare.body(|body| key.write_to(&mut body.key));
            // SAFETY: nobody else sees a spare (N1).
            unsafe {
                let queue = &spare.0.as_ref().queue;
                queue.with_mut(|queue| (*queue).hold_again(mode, origin));
            }
            return spare;
        }
        Self::build(lane, key, mode, origin)
    }

    /// As [`Spare::new`], with `prefix` before the key. Only registries of `String` have prefixes.
    #[cold]
    pub(super) fn prefixed<Q>(prefix: &str, key: &Q, mode: Mode, origin: Origin) -> Self
    where
        Q: ToKey<K> + ?Sized,
    {
        let mut spare = Self::new(key, mode, origin);
        spare.body(|body| {
            if let Some(name) = (&mut body.key as &mut dyn Any).downcast_mut::<String>() {
                name.insert_str(0, prefix);
            }
        });
        spare
    }

    #[inline(never)]
    fn build<Q>(lane: Lane, key: &Q, mode: Mode, origin: Origin) -> Self
    where
        Q: ToKey<K> + ?Sized,
    {
        let body = Body { table: ptr::null(), hash: 0, key: key.to_key() };
        let block = if lane == Lane::Blocks { pop(&BLOCKS) } else { None };
        let node = block.unwrap_or_else(|| lane.allocate::<K>()).cast::<Node<K>>();
        let whole =
            Node { body: UnsafeCell::new(body), queue: UnsafeCell::new(Queue::held(mode, origin)) };
        // SAFETY: the memory is ours and laid out for a node by `Lane::layout`.
        unsafe { node.write(whole) };
        Self(node)
    }

    #[inline]
    fn body<R>(&mut self, f: impl FnOnce(&mut Body<K>) -> R) -> R {
        // SAFETY: nobody else sees a spare (N1), and we have it mutably.
        unsafe { self.0.as_ref().body.with_mut(|body| f(&mut *body)) }
    }

    /// The key in it.
    pub(super) fn key(&self) -> &K {
        // SAFETY: nobody else sees a spare (N1), and writing to it takes a `&mut self`.
        unsafe { Node::key(self.0) }
    }

    /// The hash it is addressed with.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        // SAFETY: as for `key`.
        unsafe { Node::hash(self.0) }
    }

    /// Says where the node is about to be published.
    #[inline]
    pub(super) fn address(&mut self, table: *const Table<K>, hash: u64) {
        self.body(|body| (body.table, body.hash) = (table, hash));
    }

    #[inline]
    pub(super) const fn as_ptr(&self) -> *mut Node<K> {
        self.0.as_ptr()
    }

    /// Gives the node away, to the table.
    #[inline]
    pub(super) const fn into_node(self) -> NonNull<Node<K>> {
        let node = self.0;
        std::mem::forget(self);
        node
    }

    /// # Safety
    ///
    /// The node is in no table and its last hold is over: nobody else can see it.
    #[inline]
    pub(super) const unsafe fn from_node(node: NonNull<Node<K>>) -> Self {
        Self(node)
    }
}

impl<K> Drop for Spare<K> {
    #[inline]
    fn drop(&mut self) {
        let lane = Lane::of::<K>();
        let memory = self.0.cast::<u8>();
        match lane {
            Lane::Strings => {
                self.body(|body| {
                    if let Some(name) = (&mut body.key as &mut dyn Any).downcast_mut::<String>()
                        && name.capacity() > KEPT_BYTES
                    {
                        *name = String::new();
                    }
                });
                if !push(&STRINGS, memory) {
                    free_string(memory);
                }
            }
            Lane::Blocks | Lane::None => {
                // SAFETY: nobody else sees a spare (N1), and nothing of it is used after this line.
                unsafe { self.0.drop_in_place() };
                if lane == Lane::None || !push(&BLOCKS, memory) {
                    // SAFETY: allocated by `Lane::allocate` with this layout.
                    unsafe { dealloc(memory.as_ptr(), lane.layout::<K>()) };
                }
            }
        }
    }
}

/// Which cache the nodes of a key type go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Whole nodes with a `String` that keeps its buffer.
    Strings,
    /// Memory of one size, for every key type that fits.
    Blocks,
    /// Too large to be worth keeping.
    None,
}

/// Room for every key of up to 32 bytes.
const BLOCK: Layout = match Layout::from_size_align(64, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("64 and 16 make a layout"),
};

impl Lane {
    /// Known at compile time for each `K`.
    #[inline(always)]
    fn of<K: 'static>() -> Self {
        let node = Layout::new::<Node<K>>();
        if TypeId::of::<K>() == TypeId::of::<String>() {
            Self::Strings
        } else if node.size() <= BLOCK.size() && node.align() <= BLOCK.align() {
            Self::Blocks
        } else {
            Self::None
        }
    }

    #[inline]
    const fn layout<K: 'static>(self) -> Layout {
        match self {
            Self::Strings | Self::None => Layout::new::<Node<K>>(),
            Self::Blocks => BLOCK,
        }
    }

    #[cold]
    fn allocate<K: 'static>(self) -> NonNull<u8> {
        let layout = self.layout::<K>();
        // SAFETY: a node has fields, so its size is not 0.
        NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }
}

/// The spares of one lane and thread.
struct Cache {
    len: Cell<usize>,
    /// The first `len` are ours, the others dangle.
    spares: [Cell<NonNull<u8>>; CACHED],
    free: fn(NonNull<u8>),
}

thread_local! {
    static STRINGS: Cache = const { Cache::new(free_string) };
    static BLOCKS: Cache = const { Cache::new(free_block) };
}

impl Cache {
    const fn new(free: fn(NonNull<u8>)) -> Self {
        Self { len: Cell::new(0), spares: [const { Cell::new(NonNull::dangling()) }; CACHED], free }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for spare in &self.spares[..self.len.get()] {
            (self.free)(spare.get());
        }
    }
}

/// None if the cache is empty, or gone because its thread ends.
#[inline]
fn pop(cache: &'static LocalKey<Cache>) -> Option<NonNull<u8>> {
    let take = |cache: &Cache| {
        let len = cache.len.get().checked_sub(1)?;
        let spare = cache.spares.get(len)?.get();
        cache.len.set(len);
        Some(spare)
    };
    cache.try_with(take).ok().flatten()
}

/// False if the cache is full, or gone because its thread ends.
#[inline]
fn push(cache: &'static LocalKey<Cache>, spare: NonNull<u8>) -> bool {
    let keep = |cache: &Cache| {
        let len = cache.len.get();
        let Some(place) = cache.spares.get(len) else {
            return false;
        };
        place.set(spare);
        cache.len.set(len + 1);
        true
    };
    cache.try_with(keep).unwrap_or(false)
}

#[cold]
fn free_string(spare: NonNull<u8>) {
    // SAFETY: the lane's spares are whole nodes, allocated as `Box` would.
    drop(unsafe { Box::from_raw(spare.cast::<Node<String>>().as_ptr()) });
}

#[cold]
fn free_block(spare: NonNull<u8>) {
    // SAFETY: the lane's spares are empty blocks of this layout.
    unsafe { dealloc(spare.as_ptr(), BLOCK) };
}
