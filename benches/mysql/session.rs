//! One session at the server, through the driver that keyward uses.

use std::path::Path;

use keyward_benches::crew::{Outcome, text};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row,
    mysql::{MySqlConnectOptions, MySqlConnection},
    query, raw_sql,
};

/// How many there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clients {
    pub(crate) sessions: usize,
    /// For a lock.
    pub(crate) waiting: usize,
}

/// A session, and the lock it may hold.
#[derive(Debug)]
pub(crate) struct Session(MySqlConnection);

impl Session {
    /// As one gets it without a thought.
    pub(crate) async fn open(socket: &Path) -> Outcome<Self> {
        let options = MySqlConnectOptions::new().socket(socket).username("root");
        options.connect().await.map(Self).map_err(text)
    }

    /// The first column of the first row, which is a number or NULL.
    pub(crate) async fn number(&mut self, sql: String) -> Outcome<Option<i64>> {
        let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.0).await.map_err(text)?;
        rows.first().ok_or("no row")?.try_get(0).map_err(text)
    }

    /// A statement whose answer is read and not looked at.
    pub(crate) async fn run(&mut self, sql: &str) -> Outcome<()> {
        raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.0).await.map_err(text)?;
        Ok(())
    }

    /// What the clients do, each its own user and state. The table of the same would be written to a file
    /// for each question.
    pub(crate) async fn clients(&mut self) -> Outcome<Clients> {
        let rows = raw_sql("SHOW PROCESSLIST").fetch_all(&mut self.0).await.map_err(text)?;
        let mut clients = Clients::default();
        for row in rows {
            let user: String = row.try_get("User").map_err(text)?;
            let state: Option<String> = row.try_get("State").map_err(text)?;
            clients.sessions += usize::from(user == "root");
            clients.waiting += usize::from(state.as_deref() == Some("User lock"));
        }
        Ok(clients)
    }

    /// The bare round trip.
    pub(crate) async fn select_one(&mut self) -> Outcome<()> {
        self.run("SELECT 1").await
    }

    /// Waits for so many seconds; false if they were not enough.
    pub(crate) async fn get(&mut self, name: &str, seconds: u32) -> Outcome<bool> {
        let got = self.number(format!("SELECT GET_LOCK('{name}', {seconds})")).await?;
        got.map(|got| got == 1).ok_or_else(|| "GET_LOCK is NULL".to_owned())
    }

    pub(crate) async fn is_used(&mut self, name: &str) -> Outcome<bool> {
        Ok(self.number(format!("SELECT IS_USED_LOCK('{name}') IS NOT NULL")).await? == Some(1))
    }

    pub(crate) async fn release(&mut self, name: &str) -> Outcome<()> {
        match self.number(format!("SELECT RELEASE_LOCK('{name}')")).await? {
            Some(1) => Ok(()),
            other => Err(format!("RELEASE_LOCK is {other:?}")),
        }
    }

    /// [`get`](Self::get), as most people send it: prepared once, then executed.
    pub(crate) async fn get_prepared(&mut self, name: &str) -> Outcome<()> {
        let get = query("SELECT GET_LOCK(?, ?)").bind(name).bind(60);
        let row = get.fetch_one(&mut self.0).await.map_err(text)?;
        match row.try_get(0).map_err(text)? {
            Some(1_i64) => Ok(()),
            other => Err(format!("GET_LOCK is {other:?}")),
        }
    }

    pub(crate) async fn release_prepared(&mut self, name: &str) -> Outcome<()> {
        let release = query("SELECT RELEASE_LOCK(?)").bind(name);
        let row = release.fetch_one(&mut self.0).await.map_err(text)?;
        match row.try_get(0).map_err(text)? {
            Some(1_i64) => Ok(()),
            other => Err(format!("RELEASE_LOCK is {other:?}")),
        }
    }

    /// The driver's own way to end it.
    pub(crate) async fn close(self) -> Outcome<()> {
        self.0.close().await.map_err(text)
    }
}
