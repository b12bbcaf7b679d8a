//! A session on a server, as the tests of the driver and of the servers use it.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, Row, mysql::MySqlRow, raw_sql};

use crate::server::{Server, hex, plain};

pub(crate) struct Session {
    pub(crate) connection: MySqlConnection,
    pub(crate) id: u64,
}

impl Session {
    pub(crate) async fn new(server: &Server) -> Self {
        Self::at(&server.url()).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let mut connection = plain(url).connect().await.unwrap();
        let row = raw_sql("SELECT CONNECTION_ID()").fetch_one(&mut connection).await.unwrap();
        Self { id: row.get(0), connection }
    }

    pub(crate) async fn row(&mut self, sql: &str) -> Result<MySqlRow, sqlx::Error> {
        raw_sql(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await
    }

    /// The first column, which is what the lock functions give.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Option<i64>, sqlx::Error> {
        Ok(self.row(sql).await?.get(0))
    }

    /// Waits in `GET_LOCK` for so many seconds.
    pub(crate) async fn get(
        &mut self,
        name: impl AsRef<[u8]>,
        seconds: u32,
    ) -> Result<Option<i64>, sqlx::Error> {
        self.ask(&format!("SELECT GET_LOCK(X'{}', {seconds})", hex(name.as_ref()))).await
    }

    pub(crate) async fn release(&mut self, name: impl AsRef<[u8]>) -> Option<i64> {
        let sql = format!("SELECT RELEASE_LOCK(X'{}')", hex(name.as_ref()));
        self.ask(&sql).await.unwrap()
    }

    /// Whether the session can be used, and answers what it is asked.
    pub(crate) async fn is_sound(&mut self) -> bool {
        matches!(self.ask("SELECT 7").await, Ok(Some(7)))
            && matches!(self.ask("SELECT 8").await, Ok(Some(8)))
    }
}

/// Looks again and again until it is so; panics if it does not become so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn until_waiting(server: &Server, name: &str) {
    until("the wait", async || server.waiters(name.as_bytes()).await == 1).await;
}

/// The server's number of an error.
pub(crate) fn number<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> u16 {
    let error = result.unwrap_err();
    let error = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number()
}
