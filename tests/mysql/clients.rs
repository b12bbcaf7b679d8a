//! A user of a case's own on a server, so that its connections can be told from those of other cases,
//! and an outsider who locks as any program does.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use keyward::{
    Locks,
    mysql::{MySqlBackend, MySqlOptions},
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, raw_sql};

use crate::server::{Kind, Server, hex};

/// Long enough for everything that takes milliseconds, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// One case's user.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) server: &'static Server,
    user: String,
}

impl Clients {
    pub(crate) async fn new(kind: &'static Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (server, user) = (kind.shared(), COUNT.fetch_add(1, Ordering::Relaxed));
        let user = format!("case{user}");
        server.create_user(&user, "pw").await;
        Self { server, user }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// A name that no other case has.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.user)
    }

    /// Options as in a URL, without a `&` at their beginning.
    pub(crate) fn url(&self, options: &str) -> String {
        format!("{}&{options}", self.server.url_as(&format!("{}:pw", self.user)))
    }

    pub(crate) async fn locks(&self, options: &str) -> Locks {
        Locks::connect(self.url(options)).await.unwrap()
    }

    pub(crate) fn options(&self) -> MySqlOptions {
        MySqlOptions::new().socket(self.server.socket()).user(&self.user).password("pw")
    }

    pub(crate) async fn backend(&self) -> MySqlBackend {
        self.options().connect().await.unwrap()
    }

    /// A database in which this user may do everything; its name.
    pub(crate) async fn database(&self) -> String {
        let database = format!("of_{}", self.user);
        self.server.query(&format!("CREATE DATABASE {database}")).await;
        self.server.query(&format!("GRANT ALL ON {database}.* TO {}", self.user)).await;
        database
    }

    pub(crate) async fn connections(&self) -> u64 {
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE USER";
        self.server.scalar(&format!("{count} = '{}'", self.user)).await.unwrap()
    }

    /// Until as many connections are left; in the end, none.
    pub(crate) async fn until_connections(&self, count: u64) {
        let begun = Instant::now();
        loop {
            let now = self.connections().await;
            if now == count {
                return;
            }
            assert!(begun.elapsed() < SOON, "{now} connections, not {count}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until so many wait in the server's queue for the name.
    pub(crate) async fn until_waiters(&self, name: &str, count: u64) {
        let begun = Instant::now();
        while self.server.waiters(name.as_bytes()).await != count {
            assert!(begun.elapsed() < SOON, "not {count} wait for {name}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Until nobody holds these names, or waits for them; how long that has taken.
    pub(crate) async fn until_clean(&self, names: &[&str]) -> Duration {
        let begun = Instant::now();
        let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
        while !self.server.is_clean(&names).await {
            assert!(begun.elapsed() < SOON, "something is left of {names:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    }
}

/// A session that locks by hand.
pub(crate) struct Outsider(MySqlConnection);

impl Outsider {
    pub(crate) async fn new(server: &Server) -> Self {
        Self(server.connect().await)
    }

    async fn call(&mut self, call: &str) -> Option<i64> {
        let sql = AssertSqlSafe(format!("SELECT {call}"));
        let row = raw_sql(sql).fetch_one(&mut self.0).await.unwrap();
        row.try_get_unchecked(0).unwrap()
    }

    /// Whether it has got the lock within so many seconds.
    pub(crate) async fn lock(&mut self, name: &str, seconds: u32) -> bool {
        self.call(&format!("GET_LOCK(X'{}', {seconds})", hex(name.as_bytes()))).await == Some(1)
    }

    /// Locks what is free.
    pub(crate) async fn take(&mut self, name: &str) {
        assert!(self.lock(name, 0).await, "{name} is not free");
    }

    pub(crate) async fn free(&mut self, name: &str) {
        let freed = self.call(&format!("RELEASE_LOCK(X'{}')", hex(name.as_bytes()))).await;
        assert_eq!(freed, Some(1), "{name} was not its own");
    }

    pub(crate) async fn free_all(&mut self) {
        self.call("RELEASE_ALL_LOCKS()").await;
    }

    /// Stops what a session is doing, if anything.
    pub(crate) async fn stop(&mut self, session: u64) {
        let kill = AssertSqlSafe(format!("KILL QUERY {session}"));
        raw_sql(kill).execute(&mut self.0).await.unwrap();
    }

    /// Its number.
    pub(crate) async fn id(&mut self) -> u64 {
        self.call("CONNECTION_ID()").await.unwrap().unsigned_abs()
    }
}
