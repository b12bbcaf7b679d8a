//! What the server is asked about locks, in its language.
//!
//! Each question is one `SELECT` of one text: whole numbers with commas between them, the session's
//! own number first, by which its answer is known (A3). A text and not a column for each, since a
//! column's description is longer than its value. NULL, which the server's functions return for "not
//! locked at all" and "interrupted", is [`NULL`]: no answer is shorter than its question.
//!
//! The arguments are evaluated from left to right: releases before tries, and the token after them.

use super::{generation, name::Hex, server, session::Key, token, wire::Request};
use crate::contract::Fencing;

/// Instead of NULL: the functions asked return 0 and 1.
const NULL: u64 = 2;

/// What one `GET_LOCK` has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Yes,
    /// Somebody else has it.
    No,
    /// The server has been kept from finding out.
    Interrupted,
}

impl From<u64> for Granted {
    fn from(number: u64) -> Self {
        match number {
            1 => Self::Yes,
            NULL => Self::Interrupted,
            _ => Self::No,
        }
    }
}

/// The start of a question; it is ended by [`end`].
fn begin() -> String {
    "SELECT CONCAT_WS(',',CONNECTION_ID()".to_owned()
}

fn end(mut sql: String) -> String {
    // Short, or the whole expression would come back as the column's name.
    sql += ")a";
    sql
}

fn call(sql: &mut String, function: &str, key: &[u8], timeout: &str) {
    sql.push_str(",IFNULL(");
    sql.push_str(function);
    sql.push('(');
    Hex(key).append_to(sql);
    sql.push_str(timeout);
    sql.push_str("),2)");
}

/// Gives back, and tries: a number for each release and each try, and if there are tries, one for the
/// tokens of all of them, as [`token::column`] says.
///
/// One alone is prepared by the server, which spares it a third of the work.
pub(super) fn locks<'k>(
    mut releases: impl ExactSizeIterator<Item = &'k Key>,
    mut tries: impl ExactSizeIterator<Item = &'k Key>,
    fencing: Fencing,
) -> Request {
    match (releases.len(), tries.len()) {
        (1, 0) => {
            let release = "SELECT CONCAT_WS(',',CONNECTION_ID(),IFNULL(RELEASE_LOCK(?),2))a";
            return Request::About(release, Key::clone(releases.next().expect("counted")));
        }
        (0, 1) => {
            let get = match fencing {
                Fencing::Server => {
                    "SELECT CONCAT_WS(',',CONNECTION_ID(),IFNULL(GET_LOCK(?,0),2),UUID_SHORT())a"
                }
                _ => "SELECT CONCAT_WS(',',CONNECTION_ID(),IFNULL(GET_LOCK(?,0),2))a",
            };
            return Request::About(get, Key::clone(tries.next().expect("counted")));
        }
        _ => {}
    }
    let has_tries = tries.len() > 0;
    let mut sql = begin();
    releases.for_each(|key| call(&mut sql, "RELEASE_LOCK", key, ""));
    tries.for_each(|key| call(&mut sql, "GET_LOCK", key, ",0"));
    if has_tries {
        sql += token::column(fencing);
    }
    Request::Text(end(sql))
}

/// Gives back whatever there may be.
pub(super) fn release_all<'k>(keys: impl Iterator<Item = &'k Key>) -> String {
    let mut sql = begin();
    keys.for_each(|key| call(&mut sql, "RELEASE_LOCK", key, ""));
    end(sql)
}

/// Waits for one lock; its number, and that for tokens.
pub(super) fn wait(key: &Key, seconds: u64, fencing: Fencing) -> String {
    let mut sql = begin();
    call(&mut sql, "GET_LOCK", key, &format!(",{seconds}"));
    sql += token::column(fencing);
    end(sql)
}

/// Asks nothing but whose answer it is.
pub(super) fn alive() -> String {
    end(begin())
}

/// The server's clock, and for each lock whether it is this session's: 1.
///
/// With the generation of several servers after the clock, if there are such.
pub(super) fn verify<'k>(keys: impl Iterator<Item = &'k Key>, is_member: bool) -> String {
    let mut sql = begin();
    sql.push(',');
    sql += server::CLOCK;
    if is_member {
        sql += generation::COLUMN;
    }
    for key in keys {
        sql.push_str(",IFNULL(IS_USED_LOCK(");
        Hex(key).append_to(&mut sql);
        sql.push_str(")=CONNECTION_ID(),0)");
    }
    end(sql)
}
