//! What can go wrong, as types.
//!
//! A wait on a [`LockRegistry`](crate::LockRegistry) cannot fail; what can is asking not to wait
//! ([`TryLockError`]) or not to wait for long ([`Elapsed`]). Both are unit-like, as tokio's are: the
//! caller knows which key it asked for, and there is only one reason.

use std::{error::Error, fmt};

/// The key is held, or others are queued for it, so it could not be locked without waiting.
///
/// Returned by [`LockRegistry::try_lock_named`](crate::LockRegistry::try_lock_named) and
/// [`LockRegistry::try_read_named`](crate::LockRegistry::try_read_named). It is an `Err` and not a
/// `None` so that `let _guard = registry.try_lock_named(key)?` leaves the function: code after that
/// line never runs without the lock.
///
/// # Examples
///
/// ```
/// let registry = keyward::LockRegistry::<String>::new();
/// let _guard = registry.try_lock_named("vol-1")?;
/// let busy = registry.try_lock_named("vol-1").unwrap_err();
/// assert_eq!(busy.to_string(), "the lock is held and waiting was not asked for");
/// # Ok::<(), keyward::TryLockError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TryLockError(());

impl TryLockError {
    pub(crate) const fn would_block() -> Self {
        Self(())
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held and waiting was not asked for")
    }
}

impl Error for TryLockError {}

/// The lock was not to be had within the time that was given.
///
/// Returned by the futures of [`LockNamed::timeout`](crate::futures::LockNamed::timeout) and
/// [`ReadNamed::timeout`](crate::futures::ReadNamed::timeout). Nothing is held and nothing is queued
/// once it is returned.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
///
/// let registry = keyward::LockRegistry::<String>::new();
/// let _guard = registry.lock_named("vol-1").await;
/// let late = registry.lock_named("vol-1").timeout(Duration::from_millis(1)).await.unwrap_err();
/// assert_eq!(late.to_string(), "the lock was not to be had within the time limit");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock was not to be had within the time limit")
    }
}

impl Error for Elapsed {}
