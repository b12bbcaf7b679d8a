//! What the caller brings along: a handle of the table, and a request for one key of it.

use std::{hash::BuildHasher, ptr::NonNull, sync::Arc};

use super::{
    key::ToKey,
    node::{Node, Spare},
    queue::Mode,
    stall::Origin,
    table::Table,
};

/// A counted reference to a table, with what its names are prefixed by.
#[derive(Debug)]
pub(super) struct Handle<K: 'static> {
    table: NonNull<Table<K>>,
    prefix: Option<Arc<str>>,
}

// SAFETY: a table may be used from any thread by design (see its invariants); what it holds are keys,
// which are sent to and compared by whatever thread asks for or releases them.
unsafe impl<K: Send + Sync> Send for Handle<K> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync> Sync for Handle<K> {}

impl<K> Handle<K> {
    /// A handle of a table of its own.
    pub(super) fn new() -> Self {
        Self { table: Table::new(), prefix: None }
    }

    /// A handle of the same table whose names have `prefix` after those of this one.
    pub(super) fn with_prefix(&self, prefix: &str) -> Self {
        let whole = self.prefix().unwrap_or_default().to_owned() + prefix;
        let mut handle = self.clone();
        handle.prefix = (!whole.is_empty()).then(|| whole.into());
        handle
    }

    #[inline]
    pub(super) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    #[inline]
    pub(super) const fn table(&self) -> &Table<K> {
        // SAFETY: counted by us.
        unsafe { self.table.as_ref() }
    }

    /// The table with the right to free it, for the nodes to remember.
    #[inline]
    pub(super) const fn as_ptr(&self) -> *const Table<K> {
        self.table.as_ptr()
    }
}

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        self.table().add_handle();
        Self { table: self.table, prefix: self.prefix.clone() }
    }
}

impl<K> Drop for Handle<K> {
    fn drop(&mut self) {
        // SAFETY: ours, and the last use of it.
        unsafe { Table::drop_handle(self.table) };
    }
}

/// A request for one key.
#[derive(Debug)]
pub(super) struct Ask<'a, K: 'static, Q: ?Sized> {
    pub(super) handle: &'a Handle<K>,
    pub(super) key: &'a Q,
    /// Of the whole name, prefix included.
    pub(super) hash: u64,
    pub(super) mode: Mode,
    pub(super) origin: Origin,
}

impl<K, Q: ?Sized> Clone for Ask<'_, K, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, Q: ?Sized> Copy for Ask<'_, K, Q> {}

impl<'a, K, Q> Ask<'a, K, Q>
where
    Q: ToKey<K> + ?Sized,
{
    #[inline(always)]
    #[track_caller]
    pub(super) fn new<S: BuildHasher>(
        handle: &'a Handle<K>,
        hasher: &S,
        key: &'a Q,
        mode: Mode,
    ) -> Self
    where
        K: std::hash::Hash,
    {
        let origin = Origin::caller();
        let mut ask = Self { handle, key, hash: 0, mode, origin };
        ask.hash = match handle.prefix {
            None => hasher.hash_one(key),
            Some(_) => hasher.hash_one(ask.spare().key()),
        };
        ask
    }

    /// A node for the key, with its whole name.
    #[inline(always)]
    pub(super) fn spare(&self) -> Spare<K> {
        match &self.handle.prefix {
            None => Spare::new(self.key, self.mode, self.origin),
            Some(prefix) => Spare::prefixed(prefix, self.key, self.mode, self.origin),
        }
    }

    /// Takes the key if its bucket is free. `None` says nothing about the key: ask `Table::claim`.
    #[inline(always)]
    pub(super) fn claim_fast(&self) -> Option<NonNull<Node<K>>> {
        let table = self.handle.table();
        if !table.looks_free(self.hash) {
            return None;
        }
        table.publish(self.addressed()).ok()
    }

    /// [`Ask::spare`], ready to be published.
    #[inline(always)]
    pub(super) fn addressed(&self) -> Spare<K> {
        let mut spare = self.spare();
        spare.address(self.handle.as_ptr(), self.hash);
        spare
    }

    /// A node with the whole name to compare with, if the bare key is not the whole name.
    pub(super) fn whole_name(&self) -> Option<Spare<K>> {
        self.handle.prefix.is_some().then(|| self.addressed())
    }
}
