//! What sqlx does when a future of its is dropped, or a connection is, and when a statement of
//! several fails: none of it is documented, and the backend rests on it.

use std::time::Duration;

use futures::{StreamExt, future::Either};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, raw_sql};

use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server, plain},
    session::{Session, number, until, until_waiting},
};

/// Drops the session's wait for a lock when the server is in the midst of it.
async fn abandon_a_wait(server: &Server, session: &mut Session, name: &str) {
    let waiting = std::pin::pin!(session.get(name, 60));
    let begun = std::pin::pin!(until_waiting(server, name));
    match futures::future::select(waiting, begun).await {
        Either::Left((answer, _)) => panic!("no wait: {answer:?}"),
        Either::Right(((), _)) => {}
    }
}

#[tokio::test]
async fn a_dropped_wait_goes_on_and_may_be_granted() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "dropped");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        abandon_a_wait(server, &mut waiter, name).await;
        {
            // The next statement comes after it.
            let id = waiter.id;
            let next = std::pin::pin!(waiter.ask("SELECT 7"));
            let Err(mut next) = early(next).await else { panic!("it does not wait") };
            assert_eq!(holder.release(name).await, Some(1));
            assert_eq!(next.as_mut().await.unwrap(), Some(7));
            assert_eq!(server.holder(name.as_bytes()).await, Some(id));
        }
        assert!(waiter.is_sound().await);
        assert_eq!(waiter.release(name).await, Some(1));
    }
}

/// What a future gives within a while, or the future.
async fn early<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    tokio::time::timeout(Duration::from_millis(300), &mut future).await.map_err(|_| future)
}

/// So a dropped statement is not to be killed: which one is hit differs.
#[tokio::test]
async fn a_dropped_wait_that_is_killed_may_fail_the_next_statement() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "dropped and killed");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        abandon_a_wait(server, &mut waiter, name).await;
        server.kill_query(waiter.id).await;
        let next = waiter.ask("SELECT 7").await;
        if kind.is_mariadb() {
            assert_eq!(next.unwrap(), Some(7));
        } else {
            assert_eq!(number(next), 1317);
        }
        assert!(waiter.is_sound().await);
        assert_eq!(server.holder(name.as_bytes()).await, Some(holder.id));
    }
}

#[tokio::test]
async fn a_dropped_connection_gives_up_its_wait() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "left");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        abandon_a_wait(server, &mut waiter, name).await;
        drop(waiter);
        // It looks once a second.
        let gone =
            until("the end of the wait", async || server.waiters(name.as_bytes()).await == 0);
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
        // And one that it has not noticed yet does not keep what it is given.
        let mut waiter = Session::new(server).await;
        abandon_a_wait(server, &mut waiter, name).await;
        drop(waiter);
        assert_eq!(holder.release(name).await, Some(1));
        let next = Session::new(server).await.get(name, 20).await;
        assert_eq!(next.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_dropped_connection_gives_up_its_locks() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (mut holder, mut next) = (Session::new(server).await, Session::new(server).await);
        for name in ["first", "second"] {
            assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        }
        let (answer, ()) = tokio::join!(next.get("first", 20), async {
            until_waiting(server, "first").await;
            drop(holder);
        });
        assert_eq!(answer.unwrap(), Some(1));
        assert_eq!(next.get("second", 20).await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_dropped_connect_leaves_nothing() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let proxy = Proxy::start(Target::Port(server.port()));
        let options = plain(&server.tcp_url_as("root", proxy.port()));
        proxy.delay(Duration::from_millis(200));
        // While the greeting is under way, then the login, then the welcome.
        for given_up in [100, 300, 500].map(Duration::from_millis) {
            tokio::time::timeout(given_up, options.connect()).await.unwrap_err();
            until("the end", async || server.status("Threads_connected").await == 1).await;
        }
    }
}

/// A grant must not get lost because what follows it fails.
#[tokio::test]
async fn the_rows_before_an_error_can_be_read() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "first row");
        let mut session = Session::new(server).await;
        let sql = format!("SELECT GET_LOCK('{name}', 0); SELECT no_such_column; SELECT 9");
        let mut rows = raw_sql(AssertSqlSafe(sql)).fetch_many(&mut session.connection);
        let mut seen = Vec::new();
        while let Some(item) = rows.next().await {
            seen.push(item);
        }
        drop(rows);
        let granted = seen.first().and_then(|item| item.as_ref().ok()?.as_ref().right());
        assert_eq!(granted.map(|row| row.get::<i64, _>(0)), Some(1));
        assert_eq!(number(seen.pop().unwrap()), 1054);
        assert!(session.is_sound().await);
        assert_eq!(session.release(name).await, Some(1));
    }
}

/// Why the backend reads with `fetch_many`.
#[tokio::test]
async fn all_rows_at_once_are_lost_with_an_error() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "lost row");
        let mut session = Session::new(server).await;
        let sql = format!("SELECT GET_LOCK('{name}', 0); SELECT no_such_column");
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut session.connection).await;
        assert_eq!(number(rows), 1054);
        assert!(session.is_sound().await);
        assert_eq!(server.holder(name.as_bytes()).await, Some(session.id));
    }
}

#[tokio::test]
async fn one_row_after_a_set_is_the_row_of_the_select() {
    for kind in Kind::all() {
        let mut session = Session::new(kind.shared()).await;
        let sql = "SET SESSION wait_timeout = 77; \
            SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
            SELECT CONNECTION_ID(), @@session.wait_timeout";
        let row = session.row(sql).await.unwrap();
        assert_eq!((row.get::<u64, _>(0), row.get::<u64, _>(1)), (session.id, 77));
        assert!(session.is_sound().await);
    }
}

/// The types that the functions are decoded as, on every server.
#[tokio::test]
async fn columns_have_these_types() {
    for kind in Kind::all() {
        let mut session = Session::new(kind.shared()).await;
        let row = session
            .row(
                "SELECT GET_LOCK('typed', 0), IFNULL(IS_USED_LOCK('typed') = CONNECTION_ID(), 0), \
                 IS_FREE_LOCK('typed'), RELEASE_LOCK('typed'), RELEASE_LOCK('typed'), \
                 CONNECTION_ID(), UUID_SHORT(), RELEASE_ALL_LOCKS(), @@session.wait_timeout, \
                 VERSION()",
            )
            .await
            .unwrap();
        let signed = [Some(1), Some(1), Some(0), Some(1), None];
        for (column, expected) in signed.into_iter().enumerate() {
            assert_eq!(row.try_get::<Option<i64>, _>(column).unwrap(), expected, "{column}");
        }
        for column in 5..9 {
            row.try_get::<u64, _>(column).unwrap();
        }
        assert!(
            kind.version()
                .starts_with(row.try_get::<&str, _>(9).unwrap().split('-').next().unwrap())
        );
    }
}

#[tokio::test]
async fn a_new_connection_says_nothing_by_itself() {
    for kind in Kind::all() {
        let mut connection = kind.shared().connect().await;
        let sql = "SHOW SESSION STATUS LIKE 'Questions'";
        let row = raw_sql(sql).fetch_one(&mut connection).await.unwrap();
        assert_eq!(row.get::<String, _>(1), "1");
    }
}
