//! Fencing tokens: numbers that say which of two holders came later.
#![forbid(unsafe_code)]

use std::fmt;

/// A number that grows with every exclusive hold of one name.
///
/// A lease can be lost while its holder is paused, and the holder may write before it learns of it.
/// What stops that write is the store: send the token along, and let the store refuse a token that is
/// smaller than the largest it has seen for that name (`UPDATE … WHERE fence <= ?`). Tokens of one
/// name strictly increase over tasks, processes, crashes and restarts; they have gaps, and tokens of
/// different names are not to be compared. How durable that order is depends on the backend, see
/// [`Fencing`](crate::Fencing).
///
/// # Examples
///
/// ```
/// use keyward::FencingToken;
///
/// let (paused, current) = (FencingToken::new(7), FencingToken::new(9));
/// assert!(paused < current);
/// assert_eq!(current.get(), 9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token of that number: for backends, and to read one back from a store.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, as it goes into a store.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
