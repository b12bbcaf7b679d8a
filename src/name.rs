//! The names of locks, and the one rule by which a backend maps those it cannot take as they are.
//!
//! [`LockName::encoded`] is a **wire format**: two builds that map one name differently do not exclude
//! each other. The golden values are in the tests of the backends that use it.
#![forbid(unsafe_code)]

use std::{fmt, sync::Arc};

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// The length of the part of an encoded name that tells names apart: 160 bits in base32.
const DIGEST: usize = 32;

/// The length of the part that is for people, at most.
const READABLE: usize = 32;

/// The name of a lock: any string but the empty one.
///
/// Strings convert into it, so that most code never names this type. It is ordered by its bytes and
/// cheap to clone.
///
/// Not every backend can take every string as it is: a file name cannot contain `/`. Such a name is
/// mapped, so that two names never share a lock. Programs that share locks with keyward but do not
/// know that mapping (a Python service with tooz) need the very bytes: [`LockName::exact`].
///
/// # Examples
///
/// ```
/// use keyward::LockName;
///
/// let name = LockName::from("vol-42");
/// assert_eq!(name, LockName::from(String::from("vol-42")));
/// assert_eq!(name.to_string(), "vol-42");
/// assert_ne!(name, LockName::exact("vol-42"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName {
    bytes: Arc<[u8]>,
    exact: bool,
}

impl LockName {
    /// A name whose bytes go to the backend as they are, or not at all.
    ///
    /// If the backend cannot take them, or another name could then share the lock, locking fails with
    /// [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName). A prefix still applies. The exception is
    /// a store that ignores case for everybody, as MySQL does: names that differ in nothing else are one
    /// lock there.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = keyward::LockName::exact(b"cinder-LIN");
    /// assert!(name.is_exact());
    /// ```
    pub fn exact(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().into(), exact: true }
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, without a copy.
    #[cfg(not(keyward_loom))]
    pub(crate) fn share(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }

    /// The bytes, for whoever keeps them.
    #[cfg(not(keyward_loom))]
    pub(crate) const fn shared_bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Whether the name must reach the backend unmapped.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// The name with `prefix` before it.
    #[cfg(not(keyward_loom))]
    pub(crate) fn prefixed(self, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let bytes = [prefix.as_bytes(), &self.bytes].concat().into();
        Self { bytes, exact: self.exact }
    }

    /// The name as `~`, a readable part, and 160 bits of SHA-256: at most `longest` bytes of ASCII,
    /// lower-case letters, digits, `_`, `.`, `-`, and never two names alike.
    ///
    /// For backends whose own names are short, have few letters, or no case. A backend that uses it
    /// keeps other names from starting with `~`.
    ///
    /// # Panics
    ///
    /// If `longest` is less than 34, which leaves no room for the part that tells names apart.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = keyward::LockName::from("pool/vol 42");
    /// assert_eq!(name.encoded(64), "~pool_vol_42.dt5qdhgvv6iu5t2xlxqgqgdh2ruiavj5");
    /// ```
    pub fn encoded(&self, longest: usize) -> String {
        assert!(longest >= DIGEST + 2, "no room for the digest in {longest} bytes");
        let digest = Sha256::digest(&self.bytes);
        let digest = BASE32_NOPAD.encode(&digest[..DIGEST * 5 / 8]).to_ascii_lowercase();
        let readable = |&byte: &u8| match byte.to_ascii_lowercase() {
            safe @ (b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-') => char::from(safe),
            _ => '_',
        };
        let room = longest - DIGEST - 2;
        let readable: String = self.bytes.iter().take(room.min(READABLE)).map(readable).collect();
        format!("~{readable}.{digest}")
    }

    /// Whether [`encoded`](Self::encoded) may have made it of another name.
    #[cfg(all(feature = "mysql", not(keyward_loom)))]
    pub(crate) fn is_like_encoded(key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(b"~") else { return false };
        let Some(dot) = rest.len().checked_sub(DIGEST + 1) else { return false };
        let is_safe = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let is_digit = |byte: &u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
        let (readable, digest) = rest.split_at(dot);
        let has_form = dot <= READABLE && readable.iter().all(is_safe) && digest[0] == b'.';
        has_form && digest[1..].iter().all(is_digit)
    }
}

impl From<&str> for LockName {
    fn from(name: &str) -> Self {
        Self { bytes: name.as_bytes().into(), exact: false }
    }
}

impl From<String> for LockName {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl From<&String> for LockName {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<&Self> for LockName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

/// As text; bytes that are none are shown as `\xff`.
impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(&self.bytes) {
            Ok(text) => text.fmt(f),
            Err(_) => self.bytes.escape_ascii().fmt(f),
        }
    }
}

/// As an escaped string, fit for a log line.
impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(&self.bytes) {
            Ok(text) => fmt::Debug::fmt(text, f),
            Err(_) => write!(f, "\"{}\"", self.bytes.escape_ascii()),
        }
    }
}
