//! What the lock protects: one row with a value, its writer, and a fence.
//!
//! A row of a server has what a file has not: a comparison and a write that nothing comes between, which
//! is all that a fence is, and the same statement can be sent without it. It is the same for locks on
//! files, since what keeps the data need not be what keeps the lock.
//!
//! Both ends of *read, compute, write* are fenced. The read leaves its token in the row before it reads.
//! With a fence at the write alone, an older holder's write may arrive after our read and before our
//! write: it is newer than the token that stands there, so it is done, and we write over it.

use std::path::Path;

use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, Row as _, raw_sql};

use super::{Outcome, checker::Row, text};
use crate::server::{Server, plain};

/// A row, as one process reads and writes it, over a connection of its own.
pub(crate) struct Register {
    url: String,
    table: String,
    /// None while a statement is under way: if that is dropped, the connection is of no more use.
    connection: Option<MySqlConnection>,
}

impl Register {
    /// Makes one, in a table of its own: a write that is still under way from another run finds
    /// another table.
    pub(crate) async fn create(server: &Server, table: &str) {
        server.query("CREATE DATABASE IF NOT EXISTS app").await;
        let columns = "id INT PRIMARY KEY, value BIGINT, writer BIGINT, fence BIGINT UNSIGNED";
        server.query(&format!("CREATE TABLE app.{table} ({columns})")).await;
        server.query(&format!("INSERT INTO app.{table} VALUES (1, 0, 0, 0)")).await;
    }

    /// What is left, once nobody is connected any more.
    pub(crate) async fn left(server: &Server, table: &str) -> Row {
        while server.connections().await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let number = async |column: &str| {
            let sql = format!("SELECT {column} FROM app.{table} WHERE id = 1");
            server.scalar::<u64>(&sql).await.expect("the row is there")
        };
        Row { value: number("value").await, writer: number("writer").await }
    }

    pub(crate) fn new(url: &str, table: &str) -> Self {
        Self { url: url.to_owned(), table: format!("app.{table}"), connection: None }
    }

    /// What stands there; none if somebody with a newer token has been there.
    pub(crate) async fn read(&mut self, fence: Option<u64>) -> Outcome<Option<Row>> {
        let mut connection = self.take().await?;
        let table = &self.table;
        let mut select = format!("SELECT value, writer FROM {table} WHERE id = 1");
        if let Some(token) = fence {
            let sql =
                format!("UPDATE {table} SET fence = {token} WHERE id = 1 AND fence <= {token}");
            raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(text)?;
            select += &format!(" AND fence = {token}");
        }
        let rows = raw_sql(AssertSqlSafe(select)).fetch_all(&mut connection).await.map_err(text)?;
        self.connection = Some(connection);
        let Some(row) = rows.first() else { return Ok(None) };
        let number = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned).map_err(text);
        Ok(Some(Row { value: number("value")?, writer: number("writer")? }))
    }

    /// Whether the write was done: not if somebody with a newer token has been there.
    pub(crate) async fn write(&mut self, row: Row, fence: Option<u64>) -> Outcome<bool> {
        let mut connection = self.take().await?;
        let (table, Row { value, writer }) = (&self.table, row);
        let mut sql = format!("UPDATE {table} SET value = {value}, writer = {writer}");
        match fence {
            Some(token) => {
                sql += &format!(", fence = {token} WHERE id = 1 AND fence <= {token}");
            }
            None => sql += " WHERE id = 1",
        }
        let done = raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(text)?;
        self.connection = Some(connection);
        Ok(done.rows_affected() == 1)
    }

    async fn take(&mut self) -> Outcome<MySqlConnection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => plain(&self.url).connect().await.map_err(text),
        }
    }
}
