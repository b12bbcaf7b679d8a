//! The tests' own servers: each alone, and none left behind.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Row, raw_sql};

use crate::{
    server::{Kind, Server, is_alive, plain},
    session::until,
};

#[tokio::test]
async fn a_server_ends_with_its_value() {
    for kind in Kind::all() {
        let begun = Instant::now();
        let server = Server::start(kind);
        println!("{kind}: {:?}", begun.elapsed());
        let (pid, dir) = (server.pid(), server.dir().to_owned());
        assert_eq!(server.scalar::<u64>("SELECT 42").await, Some(42));
        assert!(is_alive(pid) && dir.exists());
        drop(server);
        assert!(!is_alive(pid), "the process is left");
        assert!(!dir.exists(), "the directory is left");
    }
}

#[tokio::test]
async fn it_comes_back_on_the_same_port_with_the_same_data() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let (pid, port) = (server.pid(), server.port());
        server.query("CREATE DATABASE kept").await;
        for stop in [Server::kill, Server::terminate, |_: &Server| ()] {
            stop(&server);
            server.restart();
            assert_eq!(server.port(), port);
            assert_ne!(server.pid(), pid);
            let tcp = plain(&server.tcp_url()).connect().await.unwrap();
            drop(tcp.close().await);
            let count = "SELECT COUNT(*) FROM information_schema.schemata \
                WHERE SCHEMA_NAME = 'kept'";
            assert_eq!(server.scalar::<u64>(count).await, Some(1));
        }
    }
}

#[tokio::test]
async fn it_stands_still_and_goes_on() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let mut connection = server.connect().await;
        server.stop_signal();
        {
            let answer = raw_sql("SELECT 1").execute(&mut connection);
            tokio::pin!(answer);
            let early = tokio::time::timeout(Duration::from_millis(300), &mut answer).await;
            assert!(early.is_err(), "it answers");
            server.cont();
            answer.await.unwrap();
        }
        // A server that stands can be ended too.
        server.stop_signal();
        server.terminate();
        server.restart();
        server.stop_signal();
    }
}

#[tokio::test]
async fn several_run_at_once() {
    let kind = Kind::mariadb();
    let starting = [(); 3].map(|()| tokio::task::spawn_blocking(|| Server::start(kind)));
    let mut servers = Vec::new();
    for server in starting {
        servers.push(server.await.unwrap());
    }
    for server in &servers {
        let port = server.scalar("SELECT @@port").await;
        assert_eq!(port, Some(u64::from(server.port())));
        let others = servers.iter().filter(|other| other.port() == server.port());
        assert_eq!(others.count(), 1);
    }
}

#[tokio::test]
async fn options_and_users_are_as_asked_for() {
    for kind in Kind::all() {
        let server = Server::start_with(kind, &["--max-connections=17"]);
        assert_eq!(server.scalar::<u64>("SELECT @@max_connections").await, Some(17));
        // A new password goes to MySQL over TLS only.
        if !kind.is_mariadb() && cfg!(not(feature = "mysql-tls")) {
            continue;
        }
        server.create_user("eve", "s3cret").await;
        for url in [server.url_as("eve:s3cret"), server.tcp_url_as("eve:s3cret", server.port())] {
            plain(&url).connect().await.unwrap();
        }
        for url in [server.url_as("eve"), server.url_as("eve:wrong")] {
            plain(&url).connect().await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn questions_see_the_clients_only() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        assert_eq!(server.connections().await, 0);
        let (mut one, mut other) = (server.connect().await, server.connect().await);
        assert_eq!(server.connections().await, 2);
        let name = b"seen";
        assert!(server.is_clean(&[name]).await);
        let sql = "SELECT CONNECTION_ID(), GET_LOCK(X'7365656e', 0)";
        let holder: u64 = raw_sql(sql).fetch_one(&mut one).await.unwrap().get(0);
        assert_eq!(server.holder(name).await, Some(holder));
        let waiting = tokio::spawn(async move {
            raw_sql("DO GET_LOCK('seen', 60)").execute(&mut other).await.unwrap();
            drop(other.close().await); // with TLS, the server may be gone before us
        });
        until("the wait", async || server.user_lock_waiters().await > 0).await;
        assert_eq!(server.waiters(name).await, 1);
        assert_eq!(server.waiters(b"other").await, 0);
        assert!(server.is_clean(&[b"other"]).await && !server.is_clean(&[name]).await);
        server.kill_connection(holder).await;
        waiting.await.unwrap();
        until("the end", async || server.is_clean(&[name]).await).await;
    }
}
