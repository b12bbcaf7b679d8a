//! The engine of every future here: one wait for one key.
//!
//! | stage    | the future has                         | dropping it                                  |
//! |----------|----------------------------------------|----------------------------------------------|
//! | `Start`  | nothing: it has not been polled        | does nothing                                 |
//! | `Queued` | a place in the queue, or a grant       | leaves the queue, or passes the grant on     |
//! | `Owned`  | the lock, not returned yet             | releases it                                  |
//! | `Done`   | nothing: it has returned the lock      | does nothing                                 |
//!
//! W1. The waiter is initialised from the first `Queued` on and linked at most while `Queued`; it
//!     lives in the pinned future, and `drop` unlinks it before the memory goes.
//! W2. From the moment a lock may be ours, the stage says so: no path forgets one.
//!
//! The fast path is inlined into the caller and touches neither the waiter's memory nor a clock; it
//! is the first poll of a free key. Everything else is out of line. A task's cooperative budget is
//! spent after the lock has been acquired; without budget the lock stays here until the next poll.

use std::{
    marker::PhantomPinned,
    mem::MaybeUninit,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, ready},
};

use tokio::task::coop;

use super::{ask::Ask, key::ToKey, node::Node, queue::Waiter, stall::Watch, table::Table};

pub(super) struct Wait<'a, K: 'static, Q: ?Sized> {
    ask: Ask<'a, K, Q>,
    stage: Stage<K>,
    watch: Watch,
    waiter: MaybeUninit<Waiter>,
    _pinned: PhantomPinned,
}

enum Stage<K: 'static> {
    Start,
    Queued(NonNull<Node<K>>),
    Owned(NonNull<Node<K>>),
    Done,
}

// SAFETY: the node and the waiter are shared with other threads by design (see the table and the
// queue); the rest is a shared reference to the key that is asked for.
unsafe impl<K: Send + Sync, Q: Sync + ?Sized> Send for Wait<'_, K, Q> {}
// SAFETY: a shared reference gives access to nothing but the stage.
unsafe impl<K: Send + Sync, Q: Sync + ?Sized> Sync for Wait<'_, K, Q> {}

impl<'a, K, Q: ?Sized> Wait<'a, K, Q> {
    #[inline(always)]
    pub(super) const fn new(ask: Ask<'a, K, Q>) -> Self {
        Self {
            watch: Watch::new(ask.origin),
            ask,
            stage: Stage::Start,
            waiter: MaybeUninit::uninit(),
            _pinned: PhantomPinned,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Ends whatever the stage says is ours.
    #[cold]
    fn abandon(&mut self) {
        self.watch.stop();
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Start | Stage::Done => {}
            // SAFETY: queued by us and not taken (W1).
            Stage::Queued(node) => unsafe {
                self.ask.handle.table().cancel(node, self.waiter.as_ptr());
            },
            // SAFETY: ours, and given to nobody (W2).
            Stage::Owned(node) => unsafe { Table::release(node) },
        }
    }
}

impl<K, Q: ?Sized> Drop for Wait<'_, K, Q> {
    #[inline]
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Queued(_) | Stage::Owned(_)) {
            self.abandon();
        }
    }
}

impl<K, Q> Wait<'_, K, Q>
where
    K: Eq,
    Q: ToKey<K> + ?Sized,
{
    /// Ready with a held node, which is the caller's to release. Pending for ever once it has been.
    #[inline(always)]
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NonNull<Node<K>>> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        let fast = match this.stage {
            Stage::Start => this.ask.claim_fast(),
            _ => None,
        };
        let node = match fast {
            Some(node) => node,
            None => ready!(this.poll_slow(cx)),
        };
        match coop::poll_proceed(cx) {
            Poll::Ready(budget) => {
                budget.made_progress();
                this.stage = Stage::Done;
                Poll::Ready(node)
            }
            Poll::Pending => {
                this.stage = Stage::Owned(node);
                Poll::Pending
            }
        }
    }

    /// Ready with a node that is ours and that the stage may not know of.
    #[cold]
    #[inline(never)]
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<NonNull<Node<K>>> {
        match self.stage {
            Stage::Start => self.enqueue(cx),
            Stage::Queued(node) => self.poll_queued(node, cx),
            Stage::Owned(node) => Poll::Ready(node),
            Stage::Done => Poll::Pending,
        }
    }

    fn enqueue(&mut self, cx: &Context<'_>) -> Poll<NonNull<Node<K>>> {
        // Cloned here and dropped at the end: a waker is foreign code, and must not run under the
        // mutex that `claim` may leave us with. The same goes for what is left in `ready`.
        let waker = cx.waker().clone();
        let mut ready = self.ask.whole_name();
        let held = match self.ask.handle.table().claim(&self.ask, &mut ready) {
            Ok(node) => return Poll::Ready(node),
            Err(held) => held,
        };
        let waiter = (&raw mut self.waiter).cast::<Waiter>();
        // SAFETY: our own memory. It is new, hence not linked, and valid until it is granted or
        // cancelled, because the future is pinned and its drop cancels (W1).
        let node = unsafe {
            waiter.write(Waiter::new(self.ask.mode, self.watch.origin(), waker));
            held.push(waiter)
        };
        self.stage = Stage::Queued(node);
        self.watch.set(cx.waker());
        Poll::Pending
    }

    fn poll_queued(
        &mut self,
        node: NonNull<Node<K>>,
        cx: &mut Context<'_>,
    ) -> Poll<NonNull<Node<K>>> {
        // SAFETY: initialised (W1); shared with whoever grants, hence only by reference.
        let waiter = unsafe { self.waiter.assume_init_ref() };
        let table = self.ask.handle.table();
        let mut fresh = None;
        loop {
            if waiter.is_granted() {
                waiter.assert_let_go();
                self.watch.stop();
                return Poll::Ready(node);
            }
            // SAFETY: we are queued for the node, so it is held and in the table; and the mutex is
            // held wherever the waker is touched.
            let old = unsafe {
                let held = table.contended(node);
                if waiter.is_granted() {
                    continue;
                }
                match fresh.take() {
                    Some(fresh) => waiter.replace_waker(fresh),
                    None if waiter.will_wake(cx.waker()) => None,
                    None => {
                        drop(held);
                        fresh = Some(cx.waker().clone());
                        continue;
                    }
                }
            };
            if old.is_some() {
                self.watch.renew(cx.waker());
            }
            drop(old); // foreign code, and the mutex is released
            break;
        }
        if self.watch.is_due() {
            // SAFETY: as above; granted or not, the node is held until we let go of it.
            let (news, key) = unsafe {
                let held = table.contended(node);
                (held.look(|queue| (queue.holder(), queue.queued())), Node::key(node))
            };
            self.watch.warn(key, news, cx.waker());
        }
        Poll::Pending
    }
}
