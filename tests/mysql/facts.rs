//! What the servers do with names, timeouts and idle sessions, as far as the backend rests on it.

use std::time::{Duration, Instant};

use sqlx::Row;

use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server},
    session::{Session, number, until, until_waiting},
};

/// Whether two names are one lock.
async fn are_one(server: &Server, one: &[u8], other: &[u8]) -> bool {
    let (mut first, mut second) = (Session::new(server).await, Session::new(server).await);
    assert_eq!(first.get(one, 0).await.unwrap(), Some(1));
    let answer = second.get(other, 0).await.unwrap();
    second.release(other).await;
    assert_eq!(first.release(one).await, Some(1));
    answer == Some(0)
}

#[tokio::test]
async fn names_are_folded_on_mysql_and_cut_at_a_nul() {
    for kind in Kind::all() {
        let server = kind.shared();
        let folds = !kind.is_mariadb();
        assert!(are_one(server, b"same", b"same").await);
        assert_eq!(are_one(server, b"case", b"CASE").await, folds);
        assert_eq!(are_one(server, "case-é".as_bytes(), "case-É".as_bytes()).await, folds);
        assert!(are_one(server, b"cut\0one", b"cut\0other").await);
        assert!(are_one(server, b"cut\0", b"cut").await);
        assert!(!are_one(server, b"space", b"space ").await);
        assert!(!are_one(server, b"a.b", b"a:b").await);
    }
}

#[tokio::test]
async fn a_name_in_hex_is_the_name_as_text() {
    for kind in Kind::all() {
        let server = kind.shared();
        let mut session = Session::new(server).await;
        let sql =
            "SELECT GET_LOCK('plain-1', 0), IS_USED_LOCK(X'706c61696e2d31') = CONNECTION_ID()";
        let row = session.row(sql).await.unwrap();
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (1, 1));
    }
}

#[tokio::test]
async fn names_have_these_limits() {
    for kind in Kind::all() {
        let mut session = Session::new(kind.shared()).await;
        let longest = if kind.is_mariadb() { 192 } else { 64 };
        assert_eq!(session.get("n".repeat(longest), 0).await.unwrap(), Some(1));
        let too_long = number(session.get("n".repeat(longest + 1), 0).await);
        if kind.is_mariadb() {
            assert_eq!(too_long, 1059);
            assert_eq!(session.get("", 0).await.unwrap(), None);
            assert_eq!(session.get(b"\xff\xfe", 0).await.unwrap(), Some(1));
            assert_eq!(session.get("🔒", 0).await.unwrap(), Some(1));
        } else {
            assert!(matches!(too_long, 4163 | 3057), "{too_long}");
            for name in [b"".as_slice(), b"\xff\xfe", "🔒".as_bytes()] {
                assert_eq!(number(session.get(name, 0).await), 3057);
            }
        }
        assert!(session.is_sound().await);
    }
}

#[tokio::test]
async fn no_time_is_an_answer_at_once_and_a_second_is_a_second() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "timeouts");
        let (mut holder, mut other) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        assert_eq!(other.get(name, 0).await.unwrap(), Some(0));
        let begun = Instant::now();
        assert_eq!(other.get(name, 1).await.unwrap(), Some(0));
        let took = begun.elapsed();
        assert!((900..10_000).contains(&took.as_millis()), "{took:?}");
        // What is not ours is told apart from what is nobody's.
        assert_eq!(other.release(name).await, Some(0));
        assert_eq!(other.release("nobody's").await, None);
    }
}

#[tokio::test]
async fn holds_are_counted() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "counted");
        let mut session = Session::new(server).await;
        for _ in 0..2 {
            assert_eq!(session.get(name, 0).await.unwrap(), Some(1));
        }
        for _ in 0..2 {
            assert_eq!(server.holder(name.as_bytes()).await, Some(session.id));
            assert_eq!(session.release(name).await, Some(1));
        }
        assert_eq!(server.holder(name.as_bytes()).await, None);
    }
}

#[tokio::test]
async fn a_row_is_made_from_left_to_right() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (mut holder, mut session) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get("row taken", 0).await.unwrap(), Some(1));
        let row = session
            .row(
                "SELECT GET_LOCK('row left', 0), GET_LOCK('row right', 0), \
                 GET_LOCK('row taken', 0), \
                 IS_USED_LOCK('row left') = CONNECTION_ID(), RELEASE_LOCK('row left'), \
                 IS_FREE_LOCK('row left'), GET_LOCK('row left', 0)",
            )
            .await
            .unwrap();
        let row: Vec<i64> = (0..row.len()).map(|column| row.get(column)).collect();
        assert_eq!(row, [1, 1, 0, 1, 1, 1, 1]);
    }
}

#[tokio::test]
async fn the_numbers_of_a_grant_are_drawn_after_the_wait() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "numbered");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        let sql = "SELECT GET_LOCK('numbered', 60), UUID_SHORT(), UUID_SHORT()";
        let (row, before) = tokio::join!(waiter.row(sql), async {
            until_waiting(server, name).await;
            let before: u64 = holder.row("SELECT UUID_SHORT()").await.unwrap().get(0);
            holder.release(name).await;
            before
        });
        let row = row.unwrap();
        let numbers: [u64; 2] = [row.get(1), row.get(2)];
        assert!(before < numbers[0] && numbers[0] < numbers[1], "{before}, {numbers:?}");
    }
}

#[tokio::test]
async fn many_names_are_verified_in_one_row() {
    for kind in Kind::all() {
        let mut session = Session::new(kind.shared()).await;
        let names: Vec<_> = (0..100).map(|n| format!("'many-{n}'")).collect();
        let taken: Vec<_> = names.iter().map(|name| format!("GET_LOCK({name}, 0)")).collect();
        let row = session.row(&format!("SELECT {}", taken.join(", "))).await.unwrap();
        assert!((0..names.len()).all(|column| row.get::<i64, _>(column) == 1));
        assert_eq!(session.release("many-41").await, Some(1));
        let ours: Vec<_> = names
            .iter()
            .map(|name| format!("IFNULL(IS_USED_LOCK({name}) = CONNECTION_ID(), 0)"))
            .collect();
        let row = session.row(&format!("SELECT CONCAT({})", ours.join(", "))).await.unwrap();
        let answer: String = row.get(0);
        assert_eq!(answer.len(), names.len());
        assert_eq!(answer.find('0'), Some(41));
        assert_eq!(answer.matches('0').count(), 1);
    }
}

#[tokio::test]
async fn waiters_that_wait_for_each_other_are_told() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (mut one, mut other) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(one.get("here", 0).await.unwrap(), Some(1));
        assert_eq!(other.get("there", 0).await.unwrap(), Some(1));
        let (answer, ()) = tokio::join!(one.get("there", 60), async {
            until_waiting(server, "there").await;
            let expected = if kind.is_mariadb() { 1213 } else { 3058 };
            assert_eq!(number(other.get("here", 60).await), expected);
            // It is the wait that has failed, not the session.
            assert_eq!(server.holder(b"there").await, Some(other.id));
            assert_eq!(other.release("there").await, Some(1));
        });
        assert_eq!(answer.unwrap(), Some(1));
    }
}

/// A session of ours that says nothing for longer than this many seconds is to lose its locks.
async fn leased(url: &str, seconds: u64) -> Session {
    let mut session = Session::at(url).await;
    let sql = format!("SET SESSION wait_timeout = {seconds}; SELECT @@session.wait_timeout");
    let row = session.row(&sql).await.unwrap();
    assert_eq!(row.get::<u64, _>(0), seconds);
    session
}

#[tokio::test]
async fn an_idle_session_loses_its_locks_when_it_has_said_so() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "lease");
        let mut session = leased(&server.url(), 2).await;
        assert_eq!(session.get(name, 0).await.unwrap(), Some(1));
        // What it says prolongs it.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(800)).await;
            assert!(session.is_sound().await, "it is gone too early");
        }
        let said = Instant::now();
        assert_eq!(
            session.ask("SELECT IS_USED_LOCK('lease') = CONNECTION_ID()").await.unwrap(),
            Some(1)
        );
        until("the end of the lease", async || server.holder(name.as_bytes()).await.is_none())
            .await;
        let took = said.elapsed();
        assert!((2_000..20_000).contains(&took.as_millis()), "{took:?}");
        session.ask("SELECT 7").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_wait_is_not_idle_but_a_ghost_that_is_granted_is() {
    for kind in Kind::all() {
        let (server, name) = (Server::start(kind), "ghost");
        let proxy = Proxy::start(Target::Port(server.port()));
        let mut holder = Session::new(&server).await;
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        let mut waiter = leased(&server.tcp_url_as("root", proxy.port()), 1).await;
        let waiting = tokio::spawn(async move { drop(waiter.get(name, 60).await) });
        until_waiting(&server, name).await;
        proxy.silence();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(server.waiters(name.as_bytes()).await, 1, "it has not waited as long as it may");
        let granted = Instant::now();
        assert_eq!(holder.release(name).await, Some(1));
        assert!(server.holder(name.as_bytes()).await.is_some_and(|id| id != holder.id));
        until("the end of the ghost", async || server.is_clean(&[name.as_bytes()]).await).await;
        let took = granted.elapsed();
        assert!((900..20_000).contains(&took.as_millis()), "{took:?}");
        waiting.abort();
    }
}

#[tokio::test]
async fn a_session_may_not_be_idle_for_less_than_a_second() {
    for kind in Kind::all() {
        let mut session = Session::new(kind.shared()).await;
        let sql = "SET SESSION wait_timeout = 0; SELECT @@session.wait_timeout";
        assert_eq!(session.row(sql).await.unwrap().get::<u64, _>(0), 1);
    }
}
