//! Who holds a name, as far as the server tells.

use std::sync::Arc;

use super::{name::Hex, pool::Pool, session::Key};
use crate::{
    contract::{Mode, Occupancy, Owner},
    error::Error,
};

/// Asks the server.
pub(super) async fn inspect(pool: &Arc<Pool>, key: &Key) -> Result<Occupancy, Error> {
    let rows = pool.ask(format!("SELECT IS_USED_LOCK({})", Hex(key))).await?;
    let cell = rows.into_iter().flatten().next().flatten();
    let Some(session) = cell.and_then(|cell| cell.parse::<u64>().ok()) else {
        return Ok(Occupancy::Free);
    };
    let mut owner = Owner { session: Some(session), ..Owner::default() };
    // The server does not tell since when. Of our own sessions we know.
    owner.since = pool.session(session).and_then(|session| session.held_since(key));
    // Of other users' sessions only who has the PROCESS privilege is told; and it may have ended.
    let sql = format!("SELECT USER, HOST FROM information_schema.PROCESSLIST WHERE ID = {session}");
    if let Ok(rows) = pool.ask(sql).await
        && let Some(row) = rows.into_iter().next()
    {
        let mut row = row.into_iter();
        owner.user = row.next().flatten();
        owner.host = row.next().flatten();
    }
    Ok(Occupancy::Held { mode: Mode::Exclusive, owner: Some(owner) })
}
