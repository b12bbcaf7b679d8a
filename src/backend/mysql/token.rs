//! Fencing tokens, several at once: one for the holder, and one for each hand-over after it.
//!
//! * `uuid_short`: the server's `UUID_SHORT()` in the very `SELECT` that grants, which evaluates it
//!   after the grant. It is the second of the server's start and a counter, so it grows over restarts,
//!   but for a server that has started twice in one second; the topmost byte, the server's number, is
//!   cut off. It is shifted to leave room for the hand-overs.
//! * `table`: a row for each name, counted up by the session that holds it, and on the disk before the
//!   token is used.

use super::{name::Hex, wire::Refusal};
use crate::{
    contract::Fencing,
    error::{Error, ErrorKind},
    token::FencingToken,
};

/// How often a hold goes to another task of this process before other processes have their turn. Four
/// keep 64 tasks at 4 times the speed of asking the server for each; more would only make others wait.
pub(super) const HAND_OVERS: u64 = 4;

/// Bits for the hand-overs in a token of the server.
const BITS: u32 = 3;
const _: () = assert!(HAND_OVERS < 1 << BITS);

/// How the table is made. 192 bytes are the longest exact name of both families.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS keyward_fence \
    (name VARBINARY(192) NOT NULL PRIMARY KEY, token BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB";

/// Whether there is one, and it may be read.
pub(super) const LOOK: &str = "SELECT COUNT(*) FROM keyward_fence WHERE name = ''";

/// What a user is told who is not let look: if it is missing, how to make it.
pub(super) fn no_table(refusal: Refusal) -> Error {
    if refusal.error.kind() != ErrorKind::Unsupported {
        return refusal.error;
    }
    let message = format!("{}; fencing=create-table makes it, or {TABLE}", refusal.error);
    refusal.error.with_message(message)
}

/// What a granting statement asks for in the end: one number for all locks that it grants, and a comma
/// before it; or nothing.
pub(super) const fn column(fencing: Fencing) -> &'static str {
    match fencing {
        Fencing::Server => ",UUID_SHORT()",
        _ => "",
    }
}

/// What a session is told before it counts, with a comma before it: the server waits for nobody who has
/// locked the table, or the whole server for a backup, for longer than for one answer. All other locks
/// of the session would have to wait as well, and be lost in the end.
pub(super) const fn limits(fencing: Fencing) -> &'static str {
    match fencing {
        Fencing::Durable => ", lock_wait_timeout=1, innodb_lock_wait_timeout=1",
        _ => "",
    }
}

/// Counts a name's row up, and beyond a fence; the number is what the statement inserts.
pub(super) fn count_up(key: &[u8], fence: u64) -> String {
    let (key, step) = (Hex(key), HAND_OVERS + 1);
    let (first, last) = match fence {
        0 => (step, "token".to_owned()),
        _ => (fence.saturating_add(step), format!("GREATEST(token, {fence})")),
    };
    format!(
        "INSERT INTO keyward_fence (name, token) VALUES ({key}, LAST_INSERT_ID({first})) \
         ON DUPLICATE KEY UPDATE token = LAST_INSERT_ID({last} + {step})"
    )
}

/// Counts a name's row up to a number that has been counted on another server.
pub(super) fn raise(key: &[u8], last: u64) -> String {
    let key = Hex(key);
    format!(
        "INSERT INTO keyward_fence (name, token) VALUES ({key}, {last}) \
         ON DUPLICATE KEY UPDATE token = GREATEST(token, {last})"
    )
}

/// The present token of a hold, and those that it may still use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    present: u64,
    last: u64,
}

impl Tokens {
    pub(super) const fn of_server(number: u64) -> Self {
        // Without the topmost byte, the server's number.
        let first = (number & (u64::MAX >> 8)) << BITS;
        Self { present: first, last: first + HAND_OVERS }
    }

    /// The number that the row has now.
    pub(super) const fn of_table(last: u64) -> Self {
        Self { present: last.saturating_sub(HAND_OVERS), last }
    }

    /// The number that has been counted up to.
    pub(super) const fn last(self) -> u64 {
        self.last
    }

    pub(super) const fn present(self) -> FencingToken {
        FencingToken::new(self.present)
    }

    /// The next one; false if there is none left.
    pub(super) const fn advance(&mut self) -> bool {
        let has_next = self.present < self.last;
        if has_next {
            self.present += 1;
        }
        has_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap() {
        for [mut tokens, next] in [
            [Tokens::of_server(7), Tokens::of_server(8)],
            [Tokens::of_table(5), Tokens::of_table(10)],
        ] {
            let mut seen = vec![tokens.present()];
            while tokens.advance() {
                seen.push(tokens.present());
            }
            assert_eq!(seen.len() as u64, HAND_OVERS + 1);
            assert!(seen.is_sorted_by(|a, b| a < b));
            assert!(seen.last().unwrap() < &next.present());
        }
    }
}
