//! What the tests ask of a server, and do to its connections, beside what is tested.
//!
//! Each question has a connection of its own: a connection belongs to the runtime it was opened in,
//! a shared server to all tests.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, MySql, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlRow},
    raw_sql,
};

use super::{Server, template::OBSERVER};

/// The clients: neither the observer nor the server's own threads.
const CLIENTS: &str = "FROM information_schema.processlist \
    WHERE USER NOT IN ('observer', 'unauthenticated user', 'event_scheduler', 'system user')";

impl Server {
    /// For connections like those of the backend, over the socket as root: nothing is sent but what
    /// the test says.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        plain(&self.url())
    }

    /// A client; see [`options`](Self::options).
    pub(crate) async fn connect(&self) -> MySqlConnection {
        self.options().connect().await.unwrap()
    }

    /// Runs a statement and returns its first row, if it has any.
    async fn first(&self, sql: &str) -> Option<MySqlRow> {
        let row = async {
            let mut connection = plain(&self.url_as(OBSERVER)).connect().await?;
            let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            drop(connection.close().await); // with TLS, the server may be gone before us
            Ok::<_, sqlx::Error>(rows.into_iter().next())
        };
        let row = tokio::time::timeout(Duration::from_secs(30), row).await;
        let row = row.unwrap_or_else(|_| panic!("the server does not answer: {sql}"));
        row.unwrap_or_else(|e| panic!("{sql}: {e:?}\n{}", self.log()))
    }

    /// Runs statements; panics if one fails.
    pub(crate) async fn query(&self, sql: &str) {
        drop(self.first(sql).await);
    }

    /// The first column of the first row; none if it is NULL or there is no row. The type need not be
    /// the server's, which differs between servers, as long as the text can be read as one.
    pub(crate) async fn scalar<T>(&self, sql: &str) -> Option<T>
    where
        T: for<'r> Decode<'r, MySql>,
    {
        let row = self.first(sql).await?;
        row.try_get_unchecked(0).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// As [`scalar`](Self::scalar), for what always is.
    async fn number(&self, sql: &str) -> u64 {
        self.scalar(sql).await.unwrap_or_else(|| panic!("{sql}: NULL"))
    }

    /// A counter of the server's, such as `Threads_connected`, where the observer counts too.
    pub(crate) async fn status(&self, name: &str) -> u64 {
        let row = self.first(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).await;
        row.unwrap_or_else(|| panic!("no {name}")).try_get_unchecked(1).unwrap()
    }

    /// A user who may do nothing but connect, from anywhere.
    pub(crate) async fn create_user(&self, name: &str, password: &str) {
        self.query(&format!("CREATE USER {name} IDENTIFIED BY '{password}'")).await;
    }

    pub(crate) async fn kill_connection(&self, id: u64) {
        self.query(&format!("KILL CONNECTION {id}")).await;
    }

    pub(crate) async fn kill_query(&self, id: u64) {
        self.query(&format!("KILL QUERY {id}")).await;
    }

    /// How many clients wait for a lock of whatever name.
    pub(crate) async fn user_lock_waiters(&self) -> u64 {
        self.number(&format!("SELECT COUNT(*) {CLIENTS} AND STATE = 'User lock'")).await
    }

    /// How many clients wait in a statement that has this name in it, as `'…'` or as `X'…'`.
    pub(crate) async fn waiters(&self, name: &[u8]) -> u64 {
        let hex = hex(name);
        let said = format!("LOCATE('X''{hex}''', INFO) OR LOCATE(X'27{hex}27', INFO)");
        self.number(&format!("SELECT COUNT(*) {CLIENTS} AND STATE = 'User lock' AND ({said})"))
            .await
    }

    /// How many clients are connected.
    pub(crate) async fn connections(&self) -> u64 {
        self.number(&format!("SELECT COUNT(*) {CLIENTS}")).await
    }

    /// The connection that holds the lock of this name.
    pub(crate) async fn holder(&self, name: &[u8]) -> Option<u64> {
        self.scalar(&format!("SELECT IS_USED_LOCK(X'{}')", hex(name))).await
    }

    /// Whether nobody holds a lock of these names, or waits for one.
    pub(crate) async fn is_clean(&self, names: &[&[u8]]) -> bool {
        for name in names {
            if self.holder(name).await.is_some() || self.waiters(name).await > 0 {
                return false;
            }
        }
        true
    }
}

/// Without the statements that sqlx runs by itself on a new connection, and without its log.
pub(crate) fn plain(url: &str) -> MySqlConnectOptions {
    let options: MySqlConnectOptions = url.parse().unwrap();
    options
        .set_names(false)
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(0)
        .disable_statement_logging()
}

/// For `X'…'`, which is the same name in every character set.
pub(crate) fn hex(name: &[u8]) -> String {
    use std::fmt::Write;

    name.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
