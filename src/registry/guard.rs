//! What a held lock is to its holder: a value whose drop releases it.

use std::{
    fmt,
    marker::PhantomData,
    panic::{RefUnwindSafe, UnwindSafe},
    ptr::NonNull,
};

use super::{node::Node, table::Table};

/// One hold of a key. The public guards are this, under the name that says what it means.
struct Held<K: 'static> {
    node: NonNull<Node<K>>,
    _key: PhantomData<K>,
}

// SAFETY: a hold gives `&K` to whatever thread has it, and may drop the key there.
unsafe impl<K: Send + Sync> Send for Held<K> {}
// SAFETY: a shared hold gives `&K` only.
unsafe impl<K: Sync> Sync for Held<K> {}
impl<K: RefUnwindSafe> UnwindSafe for Held<K> {}
impl<K: RefUnwindSafe> RefUnwindSafe for Held<K> {}

impl<K> Held<K> {
    #[inline]
    fn name(&self) -> &K {
        // SAFETY: held by us.
        unsafe { Node::key(self.node) }
    }
}

impl<K> Drop for Held<K> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: ours, and this is its last use.
        unsafe { Table::release(self.node) };
    }
}

/// The exclusive hold of one key: as long as it lives, nobody else holds the key in that registry.
///
/// Returned by [`lock_named`](crate::LockRegistry::lock_named) and its variants. It is owned: it may
/// be kept in a struct, sent to another task or thread, and outlive the registry's handle it came
/// from. Dropping it releases the key and hands it to the first in the queue; so does a panic while
/// holding it (nothing is poisoned: a name has no data that could be left half written).
///
/// Bind it to a name. `let _ = registry.lock_named("vol-1").await` releases at once. A guard that is
/// [forgotten](std::mem::forget) holds its key until the process ends, and the registry's memory with
/// it; nothing else is affected.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = keyward::LockRegistry::<String>::new();
/// let guard = registry.lock_named("vol-1").await;
/// let task = tokio::spawn(async move {
///     assert_eq!(guard.name(), "vol-1");
///     // ... the guard is dropped here, on whatever thread the task ended
/// });
/// task.await.unwrap();
/// assert!(registry.is_empty());
/// # }
/// ```
#[must_use = "if unused the lock is released at once"]
#[clippy::has_significant_drop]
pub struct NamedGuard<K: 'static = String>(Held<K>);

/// A shared hold of one key: as long as it lives, others may hold the key in shared mode, and nobody
/// holds it exclusively.
///
/// Returned by [`read_named`](crate::LockRegistry::read_named) and its variant; in everything else it
/// is like a [`NamedGuard`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = keyward::LockRegistry::<String>::new();
/// let one = registry.read_named("catalogue").await;
/// let two = registry.read_named("catalogue").await;
/// assert!(registry.try_lock_named("catalogue").is_err());
/// drop((one, two));
/// assert!(registry.try_lock_named("catalogue").is_ok());
/// # }
/// ```
#[must_use = "if unused the lock is released at once"]
#[clippy::has_significant_drop]
pub struct NamedReadGuard<K: 'static = String>(Held<K>);

/// Both guards have the same few methods.
macro_rules! guard {
    ($guard:ident) => {
        impl<K> $guard<K> {
            /// # Safety
            ///
            /// The caller has a hold of the node, in this guard's mode, and gives it away.
            #[inline]
            pub(super) const unsafe fn new(node: NonNull<Node<K>>) -> Self {
                Self(Held { node, _key: PhantomData })
            }

            /// The key that is held; for a registry with a prefix, the whole name.
            #[inline]
            pub fn name(&self) -> &K {
                self.0.name()
            }
        }

        impl<K: fmt::Debug> fmt::Debug for $guard<K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($guard)).field(self.name()).finish()
            }
        }
    };
}

guard!(NamedGuard);
guard!(NamedReadGuard);

impl<K> NamedGuard<K> {
    /// How many are queued behind this guard now.
    #[cfg(not(keyward_loom))]
    #[inline]
    pub(crate) fn waiters(&self) -> usize {
        // SAFETY: held by us.
        unsafe { Table::queued(self.0.node) }
    }
}

/// The exclusive holds of several keys, released together, the last one first.
///
/// Returned by [`lock_all`](crate::LockRegistry::lock_all).
#[must_use = "if unused the locks are released at once"]
#[clippy::has_significant_drop]
pub struct NamedGuards<K: 'static = String> {
    guards: Vec<NamedGuard<K>>,
}

impl<K> NamedGuards<K> {
    /// No keys yet, with room for so many.
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self { guards: Vec::with_capacity(keys) }
    }

    pub(super) fn push(&mut self, guard: NamedGuard<K>) {
        self.guards.push(guard);
    }

    /// The keys that are held, in the order in which they were locked: sorted, each once.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &K> {
        self.guards.iter().map(NamedGuard::name)
    }

    /// How many keys are held.
    pub const fn len(&self) -> usize {
        self.guards.len()
    }

    /// Whether none is, because none was asked for.
    pub const fn is_empty(&self) -> bool {
        self.guards.is_empty()
    }
}

impl<K> Drop for NamedGuards<K> {
    fn drop(&mut self) {
        while self.guards.pop().is_some() {}
    }
}

impl<K: fmt::Debug> fmt::Debug for NamedGuards<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedGuards").field(&self.names().collect::<Vec<_>>()).finish()
    }
}
