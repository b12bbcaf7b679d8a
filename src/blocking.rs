//! The twins of leases for callers that are not async.
//!
//! Each blocks the thread that calls it. The caller's thread drives the work itself; what needs a clock
//! or a connection is looked after by one thread of keyward's own, which is started at the first call
//! and stays. Within a runtime they panic, as Tokio's own `blocking_` methods do: the thread that they
//! would block may be the one that has to release the lock.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::{
    error::Error,
    lease::{Lease, Leases, Released},
    locks::{Locks, Status},
    name::LockName,
    runtime,
};

/// To say more, as how long to wait, see [`Acquire::blocking_wait`](crate::Acquire::blocking_wait).
impl Locks {
    /// [`lock_named`](Self::lock_named) for callers that are not async.
    ///
    /// With a limit: `locks.lock_named("vol-1").timeout(limit).blocking_wait()`.
    ///
    /// # Errors
    ///
    /// See [`Acquire`](crate::Acquire).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::blocking_connect("memory:")?;
    /// let lease = locks.blocking_lock_named("vol-1")?;
    /// lease.blocking_ensure_held()?;
    /// lease.blocking_release()?;
    /// locks.blocking_close()?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn blocking_lock_named(&self, name: impl Into<LockName>) -> Result<Lease, Error> {
        self.lock_named(name).blocking_wait()
    }

    /// [`try_lock_named`](Self::try_lock_named) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`try_lock_named`](Self::try_lock_named).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_try_lock_named(&self, name: impl Into<LockName>) -> Result<Lease, Error> {
        self.try_lock_named(name).blocking_wait()
    }

    /// [`lock_all`](Self::lock_all) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`lock_all`](Self::lock_all).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_lock_all<N: Into<LockName>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Leases, Error> {
        self.lock_all(names).blocking_wait()
    }

    /// [`inspect`](Self::inspect) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`inspect`](Self::inspect).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_inspect(&self, name: impl Into<LockName>) -> Result<Status, Error> {
        runtime::block_on(self.inspect(name))
    }

    /// [`collect_garbage`](Self::collect_garbage) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`collect_garbage`](Self::collect_garbage).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_collect_garbage(&self, older_than: Duration) -> Result<u64, Error> {
        runtime::block_on(self.collect_garbage(older_than))
    }

    /// [`close`](Self::close) for callers that are not async.
    ///
    /// # Errors
    ///
    /// [`ResourceLimit`](crate::ErrorKind::ResourceLimit) if the thread that keeps the clock could not be
    /// started; then nothing has been closed.
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_close(&self) -> Result<(), Error> {
        runtime::block_on(async {
            self.close().await;
            Ok(())
        })
    }
}

impl Lease {
    /// [`release`](Self::release) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_release(self) -> Result<Released, Error> {
        runtime::block_on(self.release())
    }

    /// [`ensure_held`](Self::ensure_held) for callers that are not async.
    ///
    /// Work that blocks cannot be stopped from outside, as [`run`](Self::run) stops a future: ask between
    /// its steps, or look at the [`state`](Self::state), which asks nobody.
    ///
    /// # Errors
    ///
    /// As [`ensure_held`](Self::ensure_held).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_ensure_held(&self) -> Result<(), Error> {
        runtime::block_on(self.ensure_held())
    }
}

impl Leases {
    /// [`release`](Self::release) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_release(self) -> Result<Released, Error> {
        runtime::block_on(self.release())
    }

    /// [`ensure_held`](Self::ensure_held) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`ensure_held`](Self::ensure_held).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_ensure_held(&self) -> Result<(), Error> {
        runtime::block_on(self.ensure_held())
    }
}
