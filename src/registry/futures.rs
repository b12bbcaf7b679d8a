//! The futures of a [`LockRegistry`](crate::LockRegistry); what they have in common is in
//! [`futures`](crate::futures).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

use futures::future::FusedFuture;
use pin_project::pin_project;

use super::{
    guard::{NamedGuard, NamedGuards, NamedReadGuard},
    key::ToKey,
    wait::Wait,
};
use crate::{
    error::Elapsed,
    sync::time::{Sleep, sleep},
};

/// The future of [`LockRegistry::lock_named`](crate::LockRegistry::lock_named).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct LockNamed<'a, K: 'static = String, Q: ?Sized = str> {
    #[pin]
    wait: Wait<'a, K, Q>,
}

/// The future of [`LockRegistry::read_named`](crate::LockRegistry::read_named).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReadNamed<'a, K: 'static = String, Q: ?Sized = str> {
    #[pin]
    wait: Wait<'a, K, Q>,
}

/// Both are a wait whose result is wrapped in their guard.
macro_rules! wait_future {
    ($future:ident, $method:literal => $guard:ident) => {
        impl<'a, K, Q: ?Sized> $future<'a, K, Q> {
            #[inline(always)]
            pub(super) const fn new(wait: Wait<'a, K, Q>) -> Self {
                Self { wait }
            }

            /// Limits the wait to `limit`, counted from the first poll.
            ///
            /// The lock is tried once whatever the limit, so that [`Duration::ZERO`] is a try, and
            /// the clock is read only if that try has failed: on a free key a timeout costs nothing.
            /// [`Duration::MAX`] waits for ever.
            ///
            /// # Cancel safety
            ///
            /// Dropping the returned future loses the place in the queue and nothing else.
            ///
            /// # Errors
            ///
            /// [`Elapsed`] if the lock was not to be had within the limit; the place in the queue is
            /// given up before it is returned.
            ///
            /// # Panics
            ///
            /// The returned future panics when it has to wait outside of a Tokio runtime, or in one
            /// whose time driver is not enabled.
            ///
            /// # Examples
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")] async fn main() {
            /// use std::time::Duration;
            ///
            /// let registry = keyward::LockRegistry::<String>::new();
            /// let limit = Duration::from_millis(10);
            #[doc = concat!("let guard = registry.", $method, "(\"vol-1\").timeout(limit).await;")]
            /// assert!(guard.is_ok());
            /// assert!(registry.lock_named("vol-1").timeout(limit).await.is_err());
            /// # }
            /// ```
            pub const fn timeout(self, limit: Duration) -> Timeout<Self> {
                Timeout { wait: Some(self), limit, sleep: None }
            }
        }

        impl<K, Q> Future for $future<'_, K, Q>
        where
            K: Eq,
            Q: ToKey<K> + ?Sized,
        {
            type Output = $guard<K>;

            #[inline(always)]
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<$guard<K>> {
                // SAFETY: the wait returns a hold that is ours, in its mode.
                self.project().wait.poll(cx).map(|node| unsafe { $guard::new(node) })
            }
        }

        impl<K, Q> FusedFuture for $future<'_, K, Q>
        where
            K: Eq,
            Q: ToKey<K> + ?Sized,
        {
            fn is_terminated(&self) -> bool {
                self.wait.is_done()
            }
        }

        impl<K, Q: ?Sized> fmt::Debug for $future<'_, K, Q> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($future)).finish_non_exhaustive()
            }
        }
    };
}

wait_future!(LockNamed, "lock_named" => NamedGuard);
wait_future!(ReadNamed, "read_named" => NamedReadGuard);

/// A wait with a limit: the future of [`LockNamed::timeout`] and [`ReadNamed::timeout`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Timeout<F> {
    /// None once it has been decided.
    #[pin]
    wait: Option<F>,
    limit: Duration,
    /// Made when the first poll has to wait.
    #[pin]
    sleep: Option<Sleep>,
}

#[cfg(not(keyward_loom))]
impl<F> Timeout<F> {
    /// The wait, of one that has not been polled.
    pub(super) fn into_parts(self) -> (Option<F>, Duration) {
        (self.wait, self.limit)
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(wait) = this.wait.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        if let Poll::Ready(guard) = wait.poll(cx) {
            this.wait.set(None);
            return Poll::Ready(Ok(guard));
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep(*this.limit)));
        }
        if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        this.wait.set(None);
        this.sleep.set(None);
        Poll::Ready(Err(Elapsed::new()))
    }
}

impl<F: Future> FusedFuture for Timeout<F> {
    fn is_terminated(&self) -> bool {
        self.wait.is_none()
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The future of [`LockRegistry::lock_all`](crate::LockRegistry::lock_all).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct LockAll<'a, K: 'static = String, Q: ?Sized = str> {
    /// In locking order.
    rest: vec::IntoIter<LockNamed<'a, K, Q>>,
    #[pin]
    current: Option<LockNamed<'a, K, Q>>,
    /// None once they have been returned. Dropped as it is in `NamedGuards`: the last one first.
    held: Option<NamedGuards<K>>,
}

impl<'a, K, Q: ?Sized> LockAll<'a, K, Q> {
    /// Of waits that are in locking order.
    pub(super) fn new(waits: Vec<LockNamed<'a, K, Q>>) -> Self {
        let held = NamedGuards::with_capacity(waits.len());
        Self { rest: waits.into_iter(), current: None, held: Some(held) }
    }
}

impl<K, Q> Future for LockAll<'_, K, Q>
where
    K: Eq,
    Q: ToKey<K> + ?Sized,
{
    type Output = NamedGuards<K>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NamedGuards<K>> {
        let mut this = self.project();
        let Some(held) = this.held else {
            return Poll::Pending;
        };
        loop {
            if let Some(current) = this.current.as_mut().as_pin_mut() {
                held.push(ready!(current.poll(cx)));
            }
            this.current.set(this.rest.next());
            if this.current.is_none() {
                break;
            }
        }
        this.held.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<K, Q> FusedFuture for LockAll<'_, K, Q>
where
    K: Eq,
    Q: ToKey<K> + ?Sized,
{
    fn is_terminated(&self) -> bool {
        self.held.is_none()
    }
}

impl<K, Q: ?Sized> fmt::Debug for LockAll<'_, K, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockAll").finish_non_exhaustive()
    }
}
