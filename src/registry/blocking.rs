//! The twins for callers that are not async.
//!
//! Each blocks the thread that calls it, and nothing else: it queues like everybody else, and needs no
//! runtime, also where there is a limit. Within a runtime it panics, since the thread that it would
//! block may be the one that has to release the key.
#![forbid(unsafe_code)]

use std::{
    future::Future,
    hash::{BuildHasher, Hash},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use super::{
    LockRegistry,
    futures::{LockAll, LockNamed, ReadNamed, Timeout},
    guard::{NamedGuard, NamedGuards, NamedReadGuard},
    key::ToKey,
};
use crate::error::Elapsed;

/// Only Tokio knows whether this thread may block, and says so through its own locks.
#[track_caller]
fn may_block() {
    drop(tokio::sync::Mutex::new(()).blocking_lock());
}

/// Blocks the thread until the future is ready; `None` if that takes until the deadline.
fn block_on<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    // A key that is free costs no waker.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Some(output);
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        // Read before the key is looked at, or one that comes at the last moment would be lost.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        match left {
            None => thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

impl<K: Hash + Eq, S: BuildHasher> LockRegistry<K, S> {
    /// Blocks the thread until the key is free, and holds it: for callers that are not async.
    ///
    /// It queues like everybody else. Within async code use [`lock_named`](Self::lock_named); from
    /// `spawn_blocking` this one is right. With a limit:
    /// `registry.lock_named("vol-1").timeout(limit).blocking_wait()`.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context, as Tokio's `blocking_lock` does: the
    /// thread it would block may be the one that has to release the key.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let guard = registry.blocking_lock_named("vol-1");
    /// assert_eq!(guard.name(), "vol-1");
    /// ```
    #[track_caller]
    pub fn blocking_lock_named<Q>(&self, key: &Q) -> NamedGuard<K>
    where
        Q: ToKey<K> + ?Sized,
    {
        self.lock_named(key).blocking_wait()
    }

    /// Blocks the thread until the key can be shared, and holds it together with other readers:
    /// [`read_named`](Self::read_named) for callers that are not async.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let _one = registry.blocking_read_named("catalogue");
    /// let _two = registry.blocking_read_named("catalogue");
    /// assert_eq!(registry.holders("catalogue"), 2);
    /// ```
    #[track_caller]
    pub fn blocking_read_named<Q>(&self, key: &Q) -> NamedReadGuard<K>
    where
        Q: ToKey<K> + ?Sized,
    {
        self.read_named(key).blocking_wait()
    }

    /// Blocks the thread until every one of the keys is held: [`lock_all`](Self::lock_all) for callers
    /// that are not async.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    ///
    /// # Examples
    ///
    /// ```
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let pair = registry.blocking_lock_all(["vol-7", "vol-3"]);
    /// assert!(pair.names().eq(["vol-3", "vol-7"]));
    /// ```
    #[track_caller]
    pub fn blocking_lock_all<'a, Q, I>(&'a self, keys: I) -> NamedGuards<K>
    where
        I: IntoIterator<Item = &'a Q>,
        Q: ToKey<K> + Ord + ?Sized + 'a,
    {
        self.lock_all(keys).blocking_wait()
    }
}

/// Waits without a limit.
macro_rules! blocking_wait {
    ($future:ident, $call:literal => $guard:ident) => {
        impl<K: Eq, Q: ToKey<K> + ?Sized> $future<'_, K, Q> {
            /// Blocks the thread until it is ready: for callers that are not async.
            ///
            /// # Panics
            ///
            /// If it is called within an asynchronous execution context.
            ///
            /// # Examples
            ///
            /// ```
            /// let registry = keyward::LockRegistry::<String>::new();
            #[doc = concat!("let held = registry.", $call, ".blocking_wait();")]
            /// assert!(registry.try_lock_named("vol-1").is_err());
            /// # drop(held);
            /// ```
            #[track_caller]
            pub fn blocking_wait(self) -> $guard<K> {
                may_block();
                let Some(held) = block_on(self, None) else { unreachable!("there is no deadline") };
                held
            }
        }
    };
}

blocking_wait!(LockNamed, "lock_named(\"vol-1\")" => NamedGuard);
blocking_wait!(ReadNamed, "read_named(\"vol-1\")" => NamedReadGuard);
blocking_wait!(LockAll, "lock_all([\"vol-1\"])" => NamedGuards);

impl<F: Future> Timeout<F> {
    /// Blocks the thread until it is decided: for callers that are not async. It needs no runtime.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if the lock was not to be had within the limit.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let registry = keyward::LockRegistry::<String>::new();
    /// let limit = Duration::from_millis(1);
    /// let guard = registry.lock_named("vol-1").timeout(limit).blocking_wait();
    /// assert!(guard.is_ok());
    /// assert!(registry.lock_named("vol-1").timeout(limit).blocking_wait().is_err());
    /// ```
    #[track_caller]
    pub fn blocking_wait(self) -> Result<F::Output, Elapsed> {
        may_block();
        let (wait, limit) = self.into_parts();
        // What overflows the clock is for ever; none is one that has been decided before.
        let deadline = Instant::now().checked_add(limit);
        wait.and_then(|wait| block_on(wait, deadline)).ok_or_else(Elapsed::new)
    }
}
