//! One connection, and the only file that talks to the driver.
//!
//! * **D1** A future of the driver is run to its end, or the connection is dropped with it: what is
//!   dropped in the middle leaves the connection answering the wrong questions.
//! * **D2** One packet for each request, since the driver leaves it to the kernel to hold small ones back;
//!   the first row of the first statement is what counts, and whatever follows is read to the end. What
//!   is asked most is prepared, once for each connection.
//! * **D3** Never `ping`, which a proxy answers for the server.

use std::{sync::Arc, time::Duration};

use futures::{Stream, TryStreamExt};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Either, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlQueryResult, MySqlRow},
    query, raw_sql,
};
use tokio::time::timeout;

use super::{errors, name::Hex, session::Key};
use crate::error::Error;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server, as we reach it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) driver: MySqlConnectOptions,
    /// For people, without a password.
    pub(super) place: Arc<str>,
    pub(super) connect_timeout: Duration,
}

/// One connection.
pub(super) struct Wire {
    connection: MySqlConnection,
    place: Arc<str>,
    /// See [`ask_in_time`](Self::ask_in_time).
    patience: Duration,
    /// A server may be at its limit of prepared statements, and a proxy may have none.
    prepares: bool,
}

/// What can be asked.
pub(super) enum Request {
    Text(String),
    /// With a key in the place of its only `?`.
    About(&'static str, Key),
}

impl From<String> for Request {
    fn from(sql: String) -> Self {
        Self::Text(sql)
    }
}

impl Request {
    /// As one text.
    fn into_text(self) -> String {
        match self {
            Self::Text(sql) => sql,
            Self::About(sql, key) => sql.replacen('?', &Hex(&key).to_string(), 1),
        }
    }
}

/// A row's columns as text.
pub(super) type Row = Vec<Option<String>>;

/// What came of a request.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// Of the last statement that made one.
    pub(super) inserted_id: u64,
    /// A server's error ends it, after the rows before it.
    pub(super) refused: Option<Refusal>,
}

/// The server has said no; the connection lives on.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) number: u16,
    pub(super) error: Error,
}

impl Answer {
    /// The only cell, as whole numbers that are separated by commas.
    pub(super) fn numbers(&self) -> Option<Vec<u64>> {
        let cell = self.rows.first()?.first()?.as_deref()?;
        cell.split(',').map(|digits| digits.parse().ok()).collect()
    }
}

impl Wire {
    pub(super) async fn connect(address: &Address) -> Result<Self, Error> {
        let place = Arc::clone(&address.place);
        match timeout(address.connect_timeout, address.driver.connect()).await {
            Ok(Ok(connection)) => {
                Ok(Self { connection, place, patience: address.connect_timeout, prepares: true })
            }
            Ok(Err(e)) => Err(errors::from_driver(&place, e)),
            Err(e) => Err(errors::gone(&place, "no answer from the server").with_source(e)),
        }
    }

    /// Sends a request and reads the answer to its end; an error says that the connection is of no
    /// more use.
    pub(super) async fn ask(&mut self, request: impl Into<Request>) -> Result<Answer, Error> {
        let request = match request.into() {
            Request::About(sql, key) if self.prepares => {
                let rows = query(sql).bind(&*key).fetch(&mut self.connection);
                let answer = read(&self.place, rows.map_ok(Either::Right)).await?;
                match &answer.refused {
                    Some(refusal) if is_unprepared(refusal.number) => {
                        self.prepares = false;
                        Request::About(sql, key)
                    }
                    _ => return Ok(answer),
                }
            }
            request => request,
        };
        let results = raw_sql(AssertSqlSafe(request.into_text())).fetch_many(&mut self.connection);
        read(&self.place, results).await
    }

    /// The same before there is a session that looks at the clock: an answer may take so many times as long
    /// as connecting.
    pub(super) async fn ask_in_time(&mut self, sql: String, times: u32) -> Result<Answer, Error> {
        let patience = self.patience.saturating_mul(times);
        match timeout(patience, self.ask(sql)).await {
            Ok(answer) => answer,
            Err(e) => {
                let what = "no answer in time from the server";
                Err(errors::gone(&self.place, what).with_source(e))
            }
        }
    }

    /// Ends the session in good order; to be called with nothing under way (D1).
    pub(super) async fn goodbye(self) {
        // What it leaves undone the end of the connection does.
        drop(timeout(GOODBYE, self.connection.close()).await);
    }
}

/// Reads an answer to its end (D2).
async fn read(
    place: &str,
    mut results: impl Stream<Item = Result<Either<MySqlQueryResult, MySqlRow>, sqlx::Error>> + Unpin,
) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    loop {
        match results.try_next().await {
            Ok(Some(Either::Left(done))) => {
                if done.last_insert_id() != 0 {
                    answer.inserted_id = done.last_insert_id();
                }
            }
            Ok(Some(Either::Right(row))) => {
                answer.rows.push(cells(&row).map_err(|e| errors::from_driver(place, e))?);
            }
            Ok(None) => return Ok(answer),
            Err(e) => {
                let number = errors::number(&e).filter(|number| !ends_session(*number));
                let error = errors::from_driver(place, e);
                let Some(number) = number else { return Err(error) };
                answer.refused = Some(Refusal { number, error });
                return Ok(answer);
            }
        }
    }
}

/// It has not been prepared, and so not been done.
const fn is_unprepared(number: u16) -> bool {
    matches!(number, 1047 | 1210 | 1243 | 1295 | 1461)
}

fn cells(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    (0..row.len()).map(|i| row.try_get_unchecked::<Option<String>, _>(i)).collect()
}

/// The server says it as an error, and closes: shut down, killed, not heard of for too long.
const fn ends_session(number: u16) -> bool {
    matches!(
        number,
        1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 | 3169 | 4031
    )
}
