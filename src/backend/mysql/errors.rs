//! What the server and the driver report, as our kinds.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, ErrorKind};

/// Of a connection attempt or a statement; `place` is the server, without a password.
pub(super) fn from_driver(place: &str, error: sqlx::Error) -> Error {
    let (kind, what) = match &error {
        sqlx::Error::Database(_) => match number(&error) {
            Some(number) => of_number(number),
            None => (ErrorKind::Unavailable, "the server refused"),
        },
        sqlx::Error::Tls(_) => (ErrorKind::Unavailable, "no TLS with the server"),
        sqlx::Error::Configuration(_) => {
            (ErrorKind::InvalidUrl, "options that the driver refuses for")
        }
        sqlx::Error::Io(_) => (ErrorKind::Unavailable, "no connection to the server"),
        _ => (ErrorKind::Unavailable, "a conversation that failed with the server"),
    };
    Error::new(kind).with_message(format!("{what} at {place}")).with_source(error)
}

/// The server's error number, if it is the server that has failed.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// The session has been told to stop what it is doing: `KILL QUERY`.
pub(super) const INTERRUPTED: u16 = 1317;

/// Somebody has locked a table for longer than the session lets the server wait.
pub(super) const LOCKED: u16 = 1205;

/// What a number means for us; both families.
const fn of_number(number: u16) -> (ErrorKind, &'static str) {
    match number {
        1040 | 1203 | 1226 => (ErrorKind::ResourceLimit, "no connection is left on the server"),
        1041 | 1037 | 1038 => (ErrorKind::ResourceLimit, "no memory is left on the server"),
        1044 | 1045 | 1095 | 1130 | 1142 | 1227 | 1698 | 1862 | 3118 => {
            (ErrorKind::PermissionDenied, "not let in by the server")
        }
        1049 => (ErrorKind::InvalidUrl, "no such database on the server"),
        1059 | 3057 | 4079 | 4163 => {
            (ErrorKind::InvalidName, "a name that is not taken by the server")
        }
        1146 => (ErrorKind::Unsupported, "no table keyward_fence in the database of the server"),
        1046 => {
            (ErrorKind::InvalidUrl, "no database was named, for the table of tokens, on the server")
        }
        1114 | 1021 => (ErrorKind::StorageFull, "no room is left on the server"),
        1235 => (ErrorKind::Unsupported, "named locks are not supported by the server"),
        1290 | 1792 | 1836 => (ErrorKind::ReadOnly, "a read-only server"),
        _ => (ErrorKind::Unavailable, "a refusal of the server"),
    }
}

/// The driver has not answered in time, or the connection is not there any more.
pub(super) fn gone(place: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unavailable).with_message(format!("{what} at {place}"))
}
