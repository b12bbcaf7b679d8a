//! What the other tests rest on: how tooz itself locks on these servers.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row, raw_sql};

use super::{LIBRARIES, NEW, REUSED, Site};
use crate::{
    peer::{EXCLUSIVE, FOREVER, LATE, SOON, TRY},
    protocol::Request,
    server::hex,
};

/// A name that is one lock by its bytes and another one by any mapping.
const NAME: &str = "cinder-LIN";

#[test]
fn tooz_excludes_tooz() {
    for site in Site::each() {
        let mut holder = site.python(NEW, "cinder-", "LIN");
        let mut other = site.python(REUSED, "", NAME);
        for _ in 0..2 {
            assert!(holder.acquire(TRY, EXCLUSIVE));
            assert!(!other.could_acquire(TRY, EXCLUSIVE));
            assert!(!other.could_acquire(SOON, EXCLUSIVE));
            other.send_acquire(FOREVER, EXCLUSIVE);
            other.assert_busy();
            holder.release();
            assert!(other.is_acquired());
            assert!(!holder.could_acquire(SOON, EXCLUSIVE));
            other.release();
            std::mem::swap(&mut holder, &mut other);
        }
    }
}

/// What it sends are the bytes of the name and nothing else, as hexadecimal digits.
#[test]
fn tooz_locks_the_bytes_of_the_name() {
    for site in Site::each() {
        for library in LIBRARIES {
            let mut tooz = site.python(library, "", NAME);
            assert!(tooz.acquire(TRY, EXCLUSIVE));
            assert!(site.holder(NAME).is_some());
            let mut waiter = site.python(NEW, "", NAME);
            waiter.send_acquire(LATE, EXCLUSIVE); // at the server, whose list shows the statement
            site.await_blocked(NAME, 1);
            tooz.release();
            assert!(waiter.is_acquired());
        }
    }
}

/// Whoever holds it: a session that is not tooz's counts as well.
#[test]
fn any_session_excludes_tooz() {
    for site in Site::each() {
        let mut tooz = site.python(NEW, "", NAME);
        site.runtime.block_on(async {
            let mut session = site.server.connect().await;
            assert_eq!(try_lock(&mut session).await, 1);
            assert!(!tooz.could_acquire(TRY, EXCLUSIVE));
            session.close().await.unwrap();
            assert!(tooz.acquire(FOREVER, EXCLUSIVE));
            assert_eq!(try_lock(&mut site.server.connect().await).await, 0);
            tooz.release();
        });
    }
}

async fn try_lock(session: &mut MySqlConnection) -> i64 {
    let sql = format!("SELECT GET_LOCK(X'{}', 0)", hex(NAME.as_bytes()));
    let row = raw_sql(AssertSqlSafe(sql)).fetch_one(session).await.unwrap();
    row.get_unchecked(0)
}

/// tooz does not notice that it holds nothing any more, until it releases.
#[test]
fn tooz_is_not_told_of_a_loss() {
    for site in Site::each() {
        let mut tooz = site.python(NEW, "", NAME);
        assert!(tooz.acquire(TRY, EXCLUSIVE));
        site.kill_holder(NAME);
        super::await_that("the name is free", || site.holder(NAME).is_none());
        let answer = tooz.ask(&Request::new("release"));
        assert!(answer.starts_with("error ToozError"), "{answer}");
        assert!(tooz.could_acquire(TRY, EXCLUSIVE)); // by a new lock
    }
}
