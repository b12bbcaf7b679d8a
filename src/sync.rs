//! The primitives that the lock paths share between threads: std's, or loom's under
//! `--cfg keyward_loom`.
//!
//! This is the only file that names them, so that a model sees every access. The cell has loom's
//! closure interface in both worlds: loom tracks each access from its start to its end and reports
//! two that are not ordered.

#[cfg(not(keyward_loom))]
pub(crate) use self::native::*;
#[cfg(keyward_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    },
    thread::LocalKey,
};

/// Loom's `thread_local!` does not know std's `const { .. }` initialisers.
#[cfg(keyward_loom)]
macro_rules! per_thread {
    ($(static $name:ident: $type:ty = const $init:block;)*) => {
        ::loom::thread_local! { $(static $name: $type = $init;)* }
    };
}
#[cfg(keyward_loom)]
pub(crate) use per_thread as thread_local;

#[cfg(not(keyward_loom))]
mod native {
    pub(crate) use std::{
        sync::{
            Mutex, MutexGuard,
            atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
        },
        thread::LocalKey,
        thread_local,
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
/// Our critical sections run one piece of foreign code, the keys' `Eq`, and only at points where
/// everything behind the mutex is consistent; a panic in there leaves nothing half done.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
