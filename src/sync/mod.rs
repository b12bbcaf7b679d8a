//! The primitives that the lock paths share between threads and tasks: std's and Tokio's, or loom's
//! under `--cfg keyward_loom`, or shuttle's under `--cfg keyward_shuttle`.
//!
//! This is the only room that names them, so that a model sees every access. Without those cfgs every
//! name here is std's or Tokio's own type or function, but for the cell, which compiles to nothing.
//!
//! * loom looks at the registry alone: at every interleaving and every reordering of small cases. The
//!   cell has its closure interface in all worlds: loom tracks each access from its start to its end and
//!   reports two that are not ordered.
//! * shuttle looks at all that is asynchronous, in many random schedules. What Tokio has and shuttle has
//!   not is made of shuttle's primitives in `modelled.rs`, and `clock.rs` has a time that stands still.
#![forbid(unsafe_code)]

#[cfg(keyward_shuttle)]
mod clock;
#[cfg(keyward_shuttle)]
mod modelled;

#[cfg(keyward_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    },
    thread::LocalKey,
};
#[cfg(keyward_shuttle)]
pub(crate) use shuttle::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::LocalKey,
};

#[cfg(keyward_shuttle)]
pub use self::clock::advance;
#[cfg(keyward_shuttle)]
pub(crate) use self::modelled::{
    CancellationToken, OnceCell, OnceLock, TaskTracker, TaskTrackerToken,
};
#[cfg(keyward_shuttle)]
pub(crate) use self::native::UnsafeCell;
#[cfg(not(any(keyward_loom, keyward_shuttle)))]
pub(crate) use self::native::*;

/// Loom's `thread_local!` does not know std's `const { .. }` initialisers, and shuttle's wants them as
/// expressions.
#[cfg(keyward_loom)]
macro_rules! per_thread {
    ($(static $name:ident: $type:ty = const $init:block;)*) => {
        ::loom::thread_local! { $(static $name: $type = $init;)* }
    };
}
#[cfg(keyward_shuttle)]
macro_rules! per_thread {
    ($(static $name:ident: $type:ty = const $init:block;)*) => {
        ::shuttle::thread_local! { $(static $name: $type = $init;)* }
    };
}
#[cfg(any(keyward_loom, keyward_shuttle))]
pub(crate) use per_thread as thread_local;

/// Tokio's, but in models that have their own.
pub(crate) mod time {
    #[cfg(keyward_shuttle)]
    pub(crate) use super::clock::*;
    #[cfg(not(any(keyward_loom, keyward_shuttle)))]
    pub(crate) use tokio::time::{Instant, sleep_until};
    #[cfg(not(keyward_shuttle))]
    pub(crate) use tokio::time::{Sleep, sleep};

    #[cfg(not(any(keyward_loom, keyward_shuttle)))]
    #[inline(always)]
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}

#[cfg(not(keyward_loom))]
mod native {
    #[cfg(not(keyward_shuttle))]
    pub(crate) use std::{
        sync::{
            Mutex, MutexGuard, OnceLock,
            atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
        },
        thread::LocalKey,
        thread_local,
    };

    #[cfg(not(keyward_shuttle))]
    pub(crate) use tokio::sync::OnceCell;
    #[cfg(not(keyward_shuttle))]
    pub(crate) use tokio_util::{
        sync::CancellationToken,
        task::{TaskTracker, task_tracker::TaskTrackerToken},
    };

    /// `std::cell::UnsafeCell` behind loom's interface; compiles to nothing.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        #[inline(always)]
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

/// Locks `mutex`, whether or not a holder panicked.
///
/// Our critical sections run no foreign code, but for the keys' `Eq`, and that only at points where
/// everything behind the mutex is consistent; a panic in there leaves nothing half done.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
