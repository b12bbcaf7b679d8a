//! How a key is looked up by a borrowed form and owned only when it must be.

use std::{
    any::{Any, TypeId},
    borrow::Borrow,
    hash::Hash,
    mem::transmute_copy,
};

/// A borrowed form of the keys of a [`LockRegistry<K>`](crate::LockRegistry): `str` for `String`,
/// `[u8]` for `Vec<u8>`, `K` itself for every `K`.
///
/// It is implemented for every `Q` that `HashMap::get` would take and that can be turned into a `K`:
/// `K: Borrow<Q>`, `Q: Hash + Eq + ToOwned`, and what `to_owned` makes converts into `K`. There is
/// nothing to implement by hand: derive `Hash`, `Eq` and `Clone` on a key type of your own.
///
/// As for `HashMap`, `K` and `Q` must hash and compare alike, and `Hash`, `Eq` and `Clone` must not
/// call back into the registry they are keys of: `Eq` runs under a lock of it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use keyward::LockRegistry;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Disk { host: u32, slot: u8 }
///
/// let disks = LockRegistry::<Disk>::new();
/// let _guard = disks.lock_named(&Disk { host: 7, slot: 0 }).await;
///
/// let names = LockRegistry::<Box<str>>::new();
/// let _guard = names.lock_named("vol-1").await; // looked up as `str`, owned as `Box<str>`
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a borrowed form of the registry's key `{K}`",
    label = "cannot be looked up in a registry of `{K}`",
    note = "a key is looked up as in a `HashMap`: `{K}: Borrow<{Self}>` (`name.as_str()` for string \
            keys), and must be `Hash + Eq` and convertible into `{K}` (derive `Clone`)"
)]
pub trait ToKey<K>: Hash {
    /// Whether `key` is the one that is asked for.
    #[doc(hidden)]
    fn matches(&self, key: &K) -> bool;

    /// The owned form.
    #[doc(hidden)]
    fn to_key(&self) -> K;

    /// Like `to_key`, into an old key's place; reuses its buffer if the types allow.
    #[doc(hidden)]
    fn write_to(&self, old: &mut K);
}

impl<K, Q> ToKey<K> for Q
where
    K: Borrow<Q> + 'static,
    Q: Hash + Eq + ToOwned<Owned: Into<K> + 'static> + ?Sized + 'static,
{
    #[inline]
    fn matches(&self, key: &K) -> bool {
        self == key.borrow()
    }

    #[inline]
    fn to_key(&self) -> K {
        self.to_owned().into()
    }

    #[inline(always)]
    fn write_to(&self, old: &mut K) {
        // Which types these are is known at compile time, so that all this chooses at no cost.
        match ((old as &mut dyn Any).downcast_mut::<String>(), as_str(self)) {
            (Some(old), Some(text)) => overwrite(old, text),
            _ => *old = self.to_key(),
        }
    }
}

/// `*old = text.to_owned()`, in the old buffer. Ten instructions less than `clear` and `push_str`, and
/// half of `str::clone_into`, which moves the string out and back.
#[inline(always)]
fn overwrite(old: &mut String, text: &str) {
    if old.capacity() < text.len() {
        *old = text.to_owned();
        return;
    }
    // SAFETY: the buffer is ours and has room for the text, which is UTF-8 and, being borrowed from
    // elsewhere, does not overlap it.
    unsafe {
        let bytes = old.as_mut_vec();
        bytes.as_mut_ptr().copy_from_nonoverlapping(text.as_ptr(), text.len());
        bytes.set_len(text.len());
    }
}

/// A borrowed key as text, if it is a `str` or a `String`.
#[inline(always)]
fn as_str<Q: ?Sized + 'static>(key: &Q) -> Option<&str> {
    let is = TypeId::of::<Q>();
    if is == TypeId::of::<str>() {
        // SAFETY: `Q` is `str`.
        Some(unsafe { transmute_copy::<&Q, &str>(&key) })
    } else if is == TypeId::of::<String>() {
        // SAFETY: `Q` is `String`.
        Some(unsafe { transmute_copy::<&Q, &String>(&key) })
    } else {
        None
    }
}
