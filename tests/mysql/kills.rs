//! `KILL`, which is how a wait is given up: what it hits, and who may.

use std::time::Duration;

use crate::{
    server::Kind,
    session::{Session, number, until, until_waiting},
};

#[tokio::test]
async fn a_killed_wait_says_so_and_leaves_the_session_sound() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "killed");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        let id = waiter.id;
        let (answer, ()) = tokio::join!(waiter.get(name, 60), async {
            until_waiting(server, name).await;
            server.kill_query(id).await;
        });
        if kind.is_mariadb() {
            assert_eq!(answer.unwrap(), None);
        } else {
            assert_eq!(number(answer), 1317);
        }
        assert!(waiter.is_sound().await);
        assert_eq!(holder.release(name).await, Some(1));
        assert_eq!(server.holder(name.as_bytes()).await, None);
    }
}

#[tokio::test]
async fn a_kill_against_a_release_tells_who_won() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "race");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        let mut killer = Session::new(server).await;
        let (id, kill) = (waiter.id, format!("KILL QUERY {}", waiter.id));
        let mut won = 0;
        for round in 0..200 {
            assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
            let (answer, ()) = tokio::join!(waiter.get(name, 60), async {
                until_waiting(server, name).await;
                // Who is sent first takes turns.
                let release = async {
                    if round % 2 == 0 {
                        tokio::task::yield_now().await;
                    }
                    assert_eq!(holder.release(name).await, Some(1));
                };
                let kill = async {
                    // It has no row.
                    let sql = sqlx::AssertSqlSafe(kill.as_str());
                    sqlx::raw_sql(sql).execute(&mut killer.connection).await.unwrap();
                };
                tokio::join!(release, kill);
            });
            let is_ours = server.holder(name.as_bytes()).await == Some(id);
            match answer {
                Ok(Some(1)) => assert!(is_ours),
                Ok(None) if kind.is_mariadb() => assert!(!is_ours),
                Err(e) if !kind.is_mariadb() => {
                    assert_eq!(number::<()>(Err(e)), 1317);
                    assert!(!is_ours);
                }
                other => panic!("{other:?}"),
            }
            assert!(waiter.is_sound().await);
            if is_ours {
                won += 1;
                assert_eq!(waiter.release(name).await, Some(1));
            }
        }
        println!("{kind}: the release won {won} of 200");
    }
}

#[tokio::test]
async fn a_kill_of_an_idle_holders_query_is_nothing() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "idle");
        let mut holder = Session::new(server).await;
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        server.kill_query(holder.id).await;
        assert!(holder.is_sound().await);
        assert_eq!(server.holder(name.as_bytes()).await, Some(holder.id));
    }
}

#[tokio::test]
async fn a_killed_connection_is_gone_with_its_locks_and_its_wait() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "gone");
        let mut holder = Session::new(server).await;
        let (mut killed, mut next) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        let id = killed.id;
        let (answer, ()) = tokio::join!(killed.get(name, 60), async {
            until_waiting(server, name).await;
            server.kill_connection(id).await;
        });
        answer.unwrap_err();
        killed.ask("SELECT 7").await.unwrap_err();
        let (answer, ()) = tokio::join!(next.get(name, 60), async {
            until_waiting(server, name).await;
            server.kill_connection(holder.id).await;
        });
        assert_eq!(answer.unwrap(), Some(1));
        holder.ask("SELECT 7").await.unwrap_err();
    }
}

#[tokio::test]
async fn whoever_has_no_rights_may_kill_their_own_only() {
    for kind in Kind::all() {
        let server = kind.shared();
        server.create_user("own", "").await;
        let url = server.tcp_url_as("own", server.port());
        let (mut one, mut other) = (Session::at(&url).await, Session::at(&url).await);
        let foreign = Session::new(server).await;
        let kill = one.row(&format!("KILL QUERY {}", foreign.id)).await;
        assert_eq!(number(kill.map(drop)), 1095);
        let (id, sql) = (other.id, "SELECT SLEEP(60)");
        let (_, ()) = tokio::join!(other.ask(sql), async {
            let asleep = format!(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE ID = {id} AND STATE = 'User sleep'"
            );
            until("sleep", async || server.scalar::<u64>(&asleep).await == Some(1)).await;
            let kill = one.row(&format!("KILL QUERY {id}")).await;
            assert!(matches!(kill, Err(sqlx::Error::RowNotFound)));
        });
        assert!(other.is_sound().await);
        // A number that is not there any more, or never was.
        let kill = one.row("KILL QUERY 4000000000").await;
        assert_eq!(number(kill.map(drop)), 1094);
    }
}

#[tokio::test]
async fn a_limit_on_statements_ends_a_wait() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), "limited");
        let (mut holder, mut waiter) = (Session::new(server).await, Session::new(server).await);
        assert_eq!(holder.get(name, 0).await.unwrap(), Some(1));
        let limit =
            if kind.is_mariadb() { "max_statement_time = 0.3" } else { "max_execution_time = 300" };
        waiter.ask(&format!("SET SESSION {limit}; SELECT 1")).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), waiter.get(name, 60)).await;
        if kind.is_mariadb() {
            assert_eq!(answer.unwrap().unwrap(), None);
        } else {
            assert_eq!(number(answer.unwrap()), 3024);
        }
        assert!(waiter.is_sound().await);
    }
}
