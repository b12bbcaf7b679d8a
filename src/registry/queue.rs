//! Who holds one key and who waits for it: a counted hold and an intrusive FIFO queue.
//!
//! A [`Queue`] lives in its key's node; a [`Waiter`] lives in the pinned future that waits. Nothing
//! here takes a lock: every function is called under the mutex of the key's shard, or on a node that
//! no other thread can see yet.
//!
//! Q1. A waiter is linked exactly from its `push` to its `unlink` or its grant, and its memory stays
//!     valid that long: its future is pinned and unlinks it before it is gone.
//! Q2. Whoever sets `granted` never touches that waiter again: its owner reads the flag without the
//!     mutex and may free the memory at once. So the waker is taken out first.
//! Q3. Nobody barges: a newcomer gets a share only if nobody is queued, and grants go to the front.
//! Q4. After `grant` with room in the batch, the front waiter does not fit beside those who hold. So
//!     whoever changes what fits (a release, an unlink at the front) calls `grant`.

use std::{marker::PhantomPinned, mem::MaybeUninit, ptr, task::Waker};

use super::stall::{Holder, Origin};
use crate::sync::{AtomicBool, Ordering, UnsafeCell};

/// How a key is held; its number is the value of [`Queue::shares`] when this is the first hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Mode {
    Exclusive = Queue::EXCLUSIVE,
    Shared = 1,
}

/// One place in a queue.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Set once, under the mutex, when the lock has become this waiter's (Q2).
    granted: AtomicBool,
    mode: Mode,
    origin: Origin,
    /// Guarded by the shard's mutex.
    links: UnsafeCell<Links>,
    /// The queue points here.
    _pinned: PhantomPinned,
}

/// The queue is a ring: the head's `prev` is the tail.
#[derive(Debug)]
struct Links {
    next: *const Waiter,
    prev: *const Waiter,
    /// Some as long as the waiter is linked.
    waker: Option<Waker>,
}

impl Waiter {
    pub(super) fn new(mode: Mode, origin: Origin, waker: Waker) -> Self {
        let links = Links { next: ptr::null(), prev: ptr::null(), waker: Some(waker) };
        Self {
            granted: AtomicBool::new(false),
            mode,
            origin,
            links: UnsafeCell::new(links),
            _pinned: PhantomPinned,
        }
    }

    /// Whether the lock has been handed to this waiter. Needs no mutex: `Acquire` pairs with the
    /// `Release` in `grant`, so that what the last holder did is seen.
    #[inline]
    pub(super) fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }

    /// Called by its owner when it has seen the grant: nobody else touches it any more (Q2).
    #[inline]
    pub(super) fn assert_let_go(&self) {
        if cfg!(any(debug_assertions, keyward_loom, keyward_shuttle)) {
            // SAFETY: as above; a model sees it if somebody does.
            unsafe { self.links(|links| assert!(links.waker.is_none())) };
        }
    }

    /// # Safety
    ///
    /// The caller holds the shard's mutex, and runs no other access to these links within `f`.
    #[inline]
    unsafe fn links<R>(&self, f: impl FnOnce(&mut Links) -> R) -> R {
        // SAFETY: guarded by the mutex that the caller holds.
        self.links.with_mut(|links| f(unsafe { &mut *links }))
    }

    /// Whether a wake-up would reach `waker`'s task.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's mutex.
    pub(super) unsafe fn will_wake(&self, waker: &Waker) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { self.links(|links| links.waker.as_ref().is_some_and(|old| old.will_wake(waker))) }
    }

    /// Puts `waker` in place; the old one is returned, to be dropped outside of the mutex.
    ///
    /// # Safety
    ///
    /// The caller holds the shard's mutex, and the waiter is linked.
    pub(super) unsafe fn replace_waker(&self, waker: Waker) -> Option<Waker> {
        // SAFETY: passed on to the caller.
        unsafe { self.links(|links| links.waker.replace(waker)) }
    }
}

/// The holds and the waiters of one key.
#[derive(Debug)]
pub(super) struct Queue {
    head: *const Waiter,
    /// `EXCLUSIVE`, or the number of readers; 0 only while nobody else can see the node.
    shares: u32,
    queued: u32,
    holder: Holder,
}

impl Queue {
    /// Also the limit of concurrent readers of one key, less one.
    const EXCLUSIVE: u32 = u32::MAX;

    /// The queue of a key that has just been taken.
    #[inline(always)]
    pub(super) fn held(mode: Mode, origin: Origin) -> Self {
        let holder = Holder::new(origin);
        Self { head: ptr::null(), shares: mode as u32, queued: 0, holder }
    }

    /// The same, in the place of a queue whose last hold is over: it is empty already. (Built aside and
    /// moved, its fields would be written one by one and read as one, which stalls.)
    #[inline(always)]
    pub(super) fn hold_again(&mut self, mode: Mode, origin: Origin) {
        debug_assert!(self.head.is_null() && self.queued == 0);
        self.shares = mode as u32;
        self.holder = Holder::new(origin);
    }

    /// How many guards hold the key.
    pub(super) const fn holders(&self) -> usize {
        if self.shares == Self::EXCLUSIVE { 1 } else { self.shares as usize }
    }

    /// Whether readers hold it.
    #[cfg(not(keyward_loom))]
    pub(super) const fn is_shared(&self) -> bool {
        self.shares != 0 && self.shares != Self::EXCLUSIVE
    }

    /// How many wait for it.
    pub(super) const fn queued(&self) -> usize {
        self.queued as usize
    }

    /// Who took the key last.
    pub(super) const fn holder(&self) -> Holder {
        self.holder
    }

    /// Takes a share beside those who hold, if nobody is ahead (Q3). Never called on a free key.
    pub(super) fn join(&mut self, mode: Mode, origin: Origin) -> bool {
        let fits = mode == Mode::Shared && self.shares < Self::EXCLUSIVE - 1 && self.head.is_null();
        if fits {
            self.shares += 1;
            self.holder = Holder::new(origin);
        }
        fits
    }

    /// Takes a share that stands for nobody, so that the key stays held while the mutex is let go.
    pub(super) const fn pin(&mut self) {
        self.shares += 1;
    }

    /// Gives a share back; `grant` must follow (Q4).
    pub(super) const fn give_back(&mut self) {
        self.shares = if self.shares == Self::EXCLUSIVE { 0 } else { self.shares - 1 };
    }

    /// # Safety
    ///
    /// `waiter` is not linked and stays valid as Q1 says.
    pub(super) unsafe fn push(&mut self, waiter: *const Waiter) {
        // SAFETY: linked waiters are valid (Q1), and the caller vouches for the new one.
        unsafe {
            if self.head.is_null() {
                (*waiter).links(|links| (links.next, links.prev) = (waiter, waiter));
                self.head = waiter;
            } else {
                let head = self.head;
                let tail = (*head).links(|links| std::mem::replace(&mut links.prev, waiter));
                (*tail).links(|links| links.next = waiter);
                (*waiter).links(|links| (links.next, links.prev) = (head, tail));
            }
        }
        self.queued += 1;
    }

    /// Takes a waiter out of the queue in O(1); `grant` must follow, since the one behind may fit
    /// (Q4). Its waker is returned, to be dropped outside of the mutex.
    ///
    /// # Safety
    ///
    /// `waiter` is linked in this queue.
    pub(super) unsafe fn unlink(&mut self, waiter: *const Waiter) -> Option<Waker> {
        // SAFETY: it and its neighbours are linked, hence valid (Q1).
        unsafe {
            let (next, prev, waker) =
                (*waiter).links(|links| (links.next, links.prev, links.waker.take()));
            if next == waiter {
                self.head = ptr::null();
            } else {
                (*prev).links(|links| links.next = next);
                (*next).links(|links| links.prev = prev);
                if self.head == waiter {
                    self.head = next;
                }
            }
            self.queued -= 1;
            waker
        }
    }

    /// Hands shares to the front of the queue while they fit and `batch` has room. Returns how many
    /// were granted, and whether the batch was what ended it.
    pub(super) fn grant(&mut self, batch: &mut WakeBatch) -> (usize, bool) {
        let mut granted = 0;
        while !self.head.is_null() {
            let front = self.head;
            // SAFETY: linked, hence valid (Q1).
            let (mode, origin) = unsafe { ((*front).mode, (*front).origin) };
            let fits = match mode {
                Mode::Exclusive => self.shares == 0,
                Mode::Shared => self.shares < Self::EXCLUSIVE - 1,
            };
            if !fits {
                break;
            }
            if batch.is_full() {
                return (granted, true);
            }
            self.shares = if self.shares == 0 { mode as u32 } else { self.shares + 1 };
            self.holder = Holder::new(origin);
            // SAFETY: it is linked here; Q2: its waker is out before the flag is set.
            unsafe {
                if let Some(waker) = self.unlink(front) {
                    batch.push(waker);
                }
                (*front).granted.store(true, Ordering::Release);
            }
            granted += 1;
        }
        (granted, false)
    }
}

/// Wakers collected under a mutex, to be woken when it is released. On the stack and uninitialised, so
/// that a hand-over neither allocates nor clears what it does not use.
#[derive(Debug)]
pub(super) struct WakeBatch {
    /// The first `len` are initialised.
    len: usize,
    wakers: [MaybeUninit<Waker>; Self::ROOM],
}

impl WakeBatch {
    /// One is the rule; more are needed only when a run of readers is let in. A model needs two
    /// batches at the least number of threads.
    const ROOM: usize = if cfg!(any(keyward_loom, keyward_shuttle)) { 1 } else { 8 };

    #[inline]
    pub(super) const fn new() -> Self {
        Self { len: 0, wakers: [const { MaybeUninit::uninit() }; Self::ROOM] }
    }

    #[inline]
    const fn is_full(&self) -> bool {
        self.len == Self::ROOM
    }

    #[inline]
    const fn push(&mut self, waker: Waker) {
        self.wakers[self.len] = MaybeUninit::new(waker);
        self.len += 1;
    }

    /// Never call it under a mutex: a waker runs its runtime's code. If one panics, the rest are lost
    /// but not dropped twice.
    #[inline]
    pub(super) fn wake(&mut self) {
        let len = std::mem::take(&mut self.len);
        for waker in &self.wakers[..len] {
            // SAFETY: one of the first `len`, and taken once: `len` is 0 now.
            unsafe { waker.assume_init_read() }.wake();
        }
    }
}
