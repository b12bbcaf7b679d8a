//! What is refused, and how: with a kind that a program can act on, in time, and without a password.

use std::{
    error::Error as _,
    fmt,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use keyward::{
    Error, ErrorKind, LockName, Locks,
    mysql::{MySqlOptions, Tls},
};
use sqlx::{AssertSqlSafe, raw_sql};
use tracing::{Event, Metadata, Subscriber, field::Visit, span};

use crate::{
    clients::Clients,
    server::{Kind, Server},
};

/// What must be seen nowhere.
const PASSWORD: &str = "hunter2-and-more";

async fn refused(url: &str) -> Error {
    let connected = Locks::connect(url).await;
    let error = connected.expect_err(url);
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!("{error} {error:?}");
        source = error.source();
    }
    assert!(!told.contains("hunter2"), "{told}");
    error
}

async fn refused_as(kind: ErrorKind, url: &str) -> String {
    let error = refused(url).await;
    assert_eq!(error.kind(), kind, "{url}: {error}");
    error.to_string()
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let server = clients.server;
        for url in [
            server.url_as(&format!("{}:{PASSWORD}", clients.user())),
            server.tcp_url_as(&format!("{}:{PASSWORD}", clients.user()), server.port()),
            server.url_as(&format!("nobody:{PASSWORD}")),
            server.url_as("nobody"),
        ] {
            let said = refused_as(ErrorKind::PermissionDenied, &url).await;
            assert!(said.contains("not let in"), "{said}");
        }
        // A database that there is not, for one who may see all of them; for the others it may be there.
        let url = server.url().replace("localhost/?", "localhost/nowhere?");
        let said = refused_as(ErrorKind::InvalidUrl, &url).await;
        assert!(said.contains("no such database"), "{said}");
        let url = clients.url("").replace("localhost/?", "localhost/nowhere?");
        refused_as(ErrorKind::PermissionDenied, &url).await;
    }
}

#[tokio::test]
async fn who_is_not_there_is_told_in_time() {
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let url = format!("mysql://root:{PASSWORD}@127.0.0.1:{port}/");
    let said = refused_as(ErrorKind::Unavailable, &url).await;
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    refused_as(ErrorKind::Unavailable, "mysql://root@localhost/?socket=/nowhere/s").await;
    refused_as(ErrorKind::Unavailable, "mysql://root@keyward-test.invalid/").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // One that takes connections and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    for (timeout, seconds) in [("1", 1.0), ("300ms", 0.3)] {
        let begun = Instant::now();
        let url = format!("mysql://root:{PASSWORD}@127.0.0.1:{port}/?connect_timeout={timeout}");
        refused_as(ErrorKind::Unavailable, &url).await;
        let took = begun.elapsed().as_secs_f64();
        assert!(took >= seconds && took < seconds + 1.0, "{timeout}: {took}");
    }
}

#[tokio::test]
async fn urls_that_say_nothing_sensible_are_refused() {
    let clients = Clients::new(Kind::mariadb()).await;
    for (options, hint) in [
        ("ttll=30", "ttl"),
        ("ttl=2", "from 3 s to a day"),
        ("ttl=2500ms", "whole seconds"),
        ("ttl=86401", "to a day"),
        ("ttl=-3", "ttl"),
        ("heartbeat=100ms", "from 250 ms"),
        ("ttl=6&heartbeat=5", "half of the ttl"),
        ("max_waiters=0", "at least one"),
        ("locks_per_session=1025", "1024"),
        ("fencing=always", "uuid_short"),
        ("fencing=table", "name one"),
        ("connect_timeout=0", "some time"),
        ("names=oslo", "exact"),
        ("replica=yes", "allow"),
        ("polite=fast", "polite"),
    ] {
        let said = refused_as(ErrorKind::InvalidUrl, &clients.url(options)).await;
        assert!(said.contains(hint), "{options}: {said}");
    }
    for bad in
        ["mysql:", "mysql:root", "mysql://root:hunter2@h:port/", "mysql://r:hunter2@h:99999/"]
    {
        refused_as(ErrorKind::InvalidUrl, bad).await;
    }
    assert_eq!(clients.connections().await, 0, "it has connected before it has looked");
}

#[tokio::test]
async fn names_that_the_server_does_not_take_are_refused() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        for locks in [clients.locks("").await, clients.locks("names=exact").await] {
            for name in ["", "a\0b", &"x".repeat(193)].map(LockName::exact) {
                let error = locks.lock_named(name.clone()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidName, "{kind}: {error}");
                let error = locks.try_lock_named(name.clone()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidName, "{kind}: {error}");
                let error = locks.lock_all([name.clone()]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidName, "{kind}: {error}");
                let error = locks.inspect(name).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidName, "{kind}: {error}");
            }
            // As long as they may be.
            let longest = clients.name("");
            let longest = format!("{longest}{}", "x".repeat(64 - longest.len()));
            drop(locks.lock_named(LockName::exact(&longest)).await.unwrap());
            let longest = longest.repeat(3);
            let longest = locks.lock_named(LockName::exact(longest)).await;
            assert_eq!(longest.is_ok(), kind.is_mariadb(), "{kind}");
        }
        let error = clients.locks("").await.lock_named("").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{kind}: {error}");
    }
}

#[tokio::test]
async fn what_the_backend_has_not_is_unsupported() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let locks = clients.locks("").await;
        assert!(!locks.capability().shared);
        let name = clients.name("shared");
        let error = locks.lock_named(&*name).shared().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        let _ = locks.lock_named(&*name).await.unwrap().release().await.unwrap();

        // A gap that a peer who polls once a second does not see.
        let locks = clients.locks("polite=1099ms").await;
        let error = locks.lock_named(&*name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        assert!(error.to_string().contains("1.1 s"), "{error}");
        let locks = clients.locks("polite=1100ms").await;
        let _ = locks.lock_named(&*name).await.unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_missing_is_a_table_to_be_made() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let database = clients.database().await;
        let url = |options: &str| {
            clients.url(options).replace("localhost/?", &format!("localhost/{database}?"))
        };
        let said = refused_as(ErrorKind::Unsupported, &url("fencing=table")).await;
        for hint in ["keyward_fence", "fencing=create-table", "CREATE TABLE"] {
            assert!(said.contains(hint), "{kind}: {said}");
        }
        let made = Locks::connect(url("fencing=create-table")).await.unwrap();
        made.close().await;
        Locks::connect(url("fencing=create-table")).await.unwrap();
        let locks = Locks::connect(url("fencing=table")).await.unwrap();
        let name = clients.name("fenced");
        let lease = locks.lock_named(&*name).await.unwrap();
        assert!(lease.fencing_token().is_some());
        let _ = lease.release().await.unwrap();
        // It may go while we are connected: then nobody gets a lock, and none is left held.
        clients.server.query(&format!("DROP TABLE {database}.keyward_fence")).await;
        let error = locks.lock_named(&*name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind}: {error}");
        clients.until_clean(&[&name]).await;
    }
}

#[tokio::test]
async fn a_read_only_server_is_refused_unless_allowed() {
    for kind in Kind::all() {
        let server = Server::start_with(kind, &["--read-only=1"]);
        let said = refused_as(ErrorKind::Unsupported, &server.url()).await;
        assert!(said.contains("read-only") && said.contains("replica=allow"), "{kind}: {said}");
        let url = format!("{}&replica=allow", server.url());
        let locks = Locks::connect(url).await.unwrap();
        let _ = locks.lock_named("vol-1").await.unwrap().release().await.unwrap();
        locks.close().await;
    }
}

#[tokio::test]
async fn a_server_without_room_says_so() {
    for kind in Kind::all() {
        // One more is kept for an administrator, who is root.
        let server = Server::start_with(kind, &["--max-connections=10"]);
        server.create_user("crowd", "").await;
        let url = server.url_as("crowd");
        let mut crowd = Vec::new();
        while let Ok(connection) = sqlx::ConnectOptions::connect(&crate::server::plain(&url)).await
        {
            crowd.push(connection);
        }
        assert!(crowd.len() >= 9, "{}", crowd.len());
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{kind}: {error}");
        assert!(error.is_retryable());
        crowd.truncate(1);
        let begun = Instant::now();
        while Locks::connect(&url).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "there is room again");
        }
    }
}

/// Everything that anybody says through `tracing`, as text.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Visit for Everything {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(flavor = "current_thread")]
async fn a_password_is_shown_nowhere() {
    let said = Everything::default();
    let _installed = tracing::subscriber::set_default(said.clone());
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (server, user) = (clients.server, format!("secret_{}", clients.user()));
        server.create_user(&user, PASSWORD).await;
        let url = server.tcp_url_as(&format!("{user}:{PASSWORD}"), server.port());
        let locks = Locks::connect(&url).await.unwrap();
        let name = clients.name("shown");
        let lease = locks.lock_named(&*name).await.unwrap();
        // Ends that are told: of a session, and of a wait.
        server.kill_connection(server.holder(name.as_bytes()).await.unwrap()).await;
        let lost = lease.ensure_held().await.unwrap_err();
        drop(locks.lock_named(&*name).timeout(Duration::from_millis(20)).await);
        let options = MySqlOptions::new().host("db.internal").user(&user).password(PASSWORD);
        let backend = MySqlOptions::new().port(server.port()).user(&user).password(PASSWORD);
        let backend = backend.tls(Tls::Preferred).connect().await.unwrap();
        let shown = format!(
            "{locks:?} {:?} {options:#?} {backend:?} {lease:?} {lost:?} {:?} {:?}",
            Locks::builder().backend(backend.clone()),
            locks.lock_named(&*name),
            locks.capability(),
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        drop(refused(&url.replace("-and", "_and")).await);
        drop(refused(&url.replace("127.0.0.1:", "127.0.0.1:7")).await);
        drop(lease);
        locks.close().await;
    }
    let said = said.0.lock().unwrap();
    assert!(said.contains("a session has ended"), "nothing was said: {said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_password_may_be_anything() {
    for kind in Kind::all() {
        let clients = Clients::new(kind).await;
        let (server, user) = (clients.server, format!("odd_{}", clients.user()));
        let password = "p@ss:w/o?r#d%41&=+ é\u{1F511}\"";
        server.create_user(&user, password).await;
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = server.tcp_url_as(&format!("{user}:{encoded}"), server.port());
        let locks = Locks::connect(url).await.unwrap();
        let _ = locks.lock_named(clients.name("odd")).await.unwrap().release().await.unwrap();
        locks.close().await;
        let options = MySqlOptions::new().port(server.port()).user(&user).password(password);
        drop(options.connect().await.unwrap());
    }
}

/// As it is written in `/etc/cinder/cinder.conf`, but for the port.
#[tokio::test]
async fn a_url_of_toozs_connects_as_it_stands() {
    for kind in Kind::all() {
        let server = Server::start(kind);
        let mut root = server.connect().await;
        let statements = "CREATE DATABASE Tooz; ALTER USER root@localhost IDENTIFIED BY 'stackdb'";
        raw_sql(AssertSqlSafe(statements)).execute(&mut root).await.unwrap();
        let port = server.port();
        let url = format!("mysql://root:stackdb@127.0.0.1:{port}/Tooz?charset=utf8");
        let locks = Locks::connect(url).await.unwrap();
        let lease = locks.lock_named("cinder-attachment_update-1-hostname").await.unwrap();
        lease.ensure_held().await.unwrap();
        let _ = lease.release().await.unwrap();
        let wrong = format!("mysql://root:hunter2@127.0.0.1:{port}/Tooz?charset=utf8");
        refused_as(ErrorKind::PermissionDenied, &wrong).await;
        locks.close().await;
    }
}
