//! `GET_LOCK` as one writes it with sqlx and an afternoon: a connection of one's own, and nothing that
//! looks after it.

use keyward_benches::crew::{Outcome, text};
use sqlx::{
    AssertSqlSafe, ConnectOptions, MySqlConnection, Row, mysql::MySqlConnectOptions, raw_sql,
};

use crate::lost_update::{leased::NAME, worker::Lock};

pub(crate) struct Naive {
    url: String,
    /// Has the server end the session after 3 s of silence, instead of 8 hours.
    short: bool,
    session: Option<MySqlConnection>,
}

impl Naive {
    pub(crate) fn new(url: &str, short: bool) -> Self {
        Self { url: url.to_owned(), short, session: None }
    }

    async fn connect(&self) -> Outcome<MySqlConnection> {
        let options: MySqlConnectOptions = self.url.parse().map_err(text)?;
        let mut session = options.connect().await.map_err(text)?;
        if self.short {
            let sql = "SET SESSION wait_timeout = 3";
            raw_sql(sql).execute(&mut session).await.map_err(text)?;
        }
        Ok(session)
    }
}

/// The only column, which is 0, 1 or NULL.
async fn ask(session: &mut MySqlConnection, sql: String) -> Outcome<Option<i64>> {
    let row = raw_sql(AssertSqlSafe(sql)).fetch_one(session).await.map_err(text)?;
    row.try_get(0).map_err(text)
}

impl Lock for Naive {
    async fn acquire(&mut self) -> Outcome<Option<u64>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect().await?,
        };
        match ask(&mut session, format!("SELECT GET_LOCK('{NAME}', 3600)")).await? {
            Some(1) => {
                self.session = Some(session);
                Ok(None)
            }
            other => Err(format!("GET_LOCK is {other:?}")),
        }
    }

    async fn release(&mut self) -> Outcome<bool> {
        let mut session = self.session.take().ok_or("nothing is held")?;
        let released = ask(&mut session, format!("SELECT RELEASE_LOCK('{NAME}')")).await;
        // A session that fails is replaced, at the next lock.
        let held = released == Ok(Some(1));
        self.session = held.then_some(session);
        Ok(held)
    }
}
