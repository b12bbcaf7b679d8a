//! What kind of server it is, and whether its named locks can be relied on.
//!
//! * **V1** Every session is with the same server, as long as any session of ours lives: behind a
//!   balancer two sessions would otherwise lock on two servers.
//! * **V2** A session's `wait_timeout` is set and read back before it asks for a first lock: it is what
//!   frees the locks of a process that has frozen or been cut off.
//! * **V3** A server that would grant one name twice is refused, also by each session that comes later:
//!   a primary may have become a replica meanwhile, and another server have taken its place.

use std::{collections::HashMap, fmt::Write, time::Duration};

use super::{
    name::Hex,
    token,
    wire::{Answer, Wire},
};
use crate::{
    contract::Fencing,
    error::{Error, ErrorKind},
};

/// The two families differ in names, types and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    MariaDb,
    MySql,
}

/// What is asked of each session first.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version','server_uuid','server_uid',\
    'port','hostname','datadir','wsrep_on','read_only','super_read_only','max_statement_time','max_execution_time')";

/// The server's clock in µs, whatever the session's time zone.
pub(super) const CLOCK: &str = "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))";

/// A session that is fit for locks.
pub(super) struct Ready {
    pub(super) id: u64,
    /// What the server's clock says.
    pub(super) clock: u64,
}

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) family: Family,
    /// None if it does not tell: then two servers cannot be told apart.
    pub(super) identity: Option<String>,
    version: String,
    is_galera: bool,
    is_read_only: bool,
    /// The variable that limits a statement, where there is one.
    limit: Option<&'static str>,
}

/// What is let pass that is refused otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leniency {
    pub(super) replica: bool,
    pub(super) galera: bool,
}

impl Server {
    /// Asks it.
    pub(super) async fn ask(wire: &mut Wire) -> Result<Self, Error> {
        let answer = wire.ask(VARIABLES.to_owned()).await?;
        let rows = answered(answer)?.rows;
        let pair = |row: Vec<Option<String>>| {
            let mut row = row.into_iter().flatten();
            Some((row.next()?.to_ascii_lowercase(), row.next()?))
        };
        let variables: HashMap<_, _> = rows.into_iter().filter_map(pair).collect();
        let is_on = |name| {
            variables.get(name).is_some_and(|value| !matches!(value.as_str(), "OFF" | "0" | ""))
        };
        let version = variables.get("version").cloned().unwrap_or_default();
        let family = match version.to_ascii_lowercase().contains("mariadb") {
            true => Family::MariaDb,
            false => Family::MySql,
        };
        let id = variables.get("server_uuid").or_else(|| variables.get("server_uid"));
        // MariaDB's is the same on two machines that have the same network card, as containers have; what
        // else is told of them need not differ, but the more of it the better.
        let [port, host, dir] = ["port", "hostname", "datadir"]
            .map(|name| variables.get(name).map_or("", String::as_str));
        let limits = ["max_statement_time", "max_execution_time"];
        Ok(Self {
            family,
            identity: id.map(|id| format!("{id}:{port}:{host}:{dir}")),
            is_galera: is_on("wsrep_on"),
            is_read_only: is_on("read_only") || is_on("super_read_only"),
            limit: limits.into_iter().find(|name| variables.contains_key(*name)),
            version,
        })
    }

    /// Makes the session fit for locks.
    pub(super) async fn prepare(
        &self,
        wire: &mut Wire,
        ttl: Duration,
        fencing: Fencing,
    ) -> Result<Ready, Error> {
        let mut sql = format!("SET SESSION wait_timeout={}, autocommit=1", ttl.as_secs());
        sql += token::limits(fencing);
        if let Some(limit) = self.limit {
            write!(sql, ", {limit}=0").expect("a String takes everything");
        }
        write!(sql, "; SELECT CONCAT_WS(',',CONNECTION_ID(),@@SESSION.wait_timeout,{CLOCK})")
            .expect("a String takes everything");
        let answer = answered(wire.ask(sql).await?)?;
        match answer.numbers().as_deref() {
            Some(&[id, seconds, clock]) if seconds == ttl.as_secs() => Ok(Ready { id, clock }),
            Some(&[_, seconds, _]) => Err(refused(format!(
                "it keeps a wait_timeout of {seconds} s, and a ttl of {} s needs one as long",
                ttl.as_secs()
            ))),
            _ => Err(refused("it does not say which wait_timeout it keeps")),
        }
    }

    /// Refuses what cannot work, by what the server says of itself.
    pub(super) fn check(&self, lenient: Leniency) -> Result<(), Error> {
        let oldest = match self.family {
            Family::MariaDb => [10, 0, 2],
            Family::MySql => [5, 7, 5],
        };
        if version(&self.version).is_some_and(|version| version < oldest) {
            let [major, minor, patch] = oldest;
            return Err(refused(format!(
                "version {:?} keeps one named lock for each session; the first that keeps several is \
                 {major}.{minor}.{patch}",
                self.version
            )));
        }
        if self.is_galera && !lenient.galera {
            return Err(refused(
                "it is a Galera node (wsrep_on), and each node grants a name by itself; if all \
                 programs use one node, say galera=single-writer",
            ));
        }
        if self.is_read_only && !lenient.replica {
            return Err(refused(
                "it is read-only, as replicas are, and excludes nobody on the primary; if it is what \
                 all programs lock on, say replica=allow",
            ));
        }
        Ok(())
    }
}

/// Locks two names on one session, whose number is `id`, and tries one of them on another, to see what
/// becomes of it.
pub(super) async fn probe(one: &mut Wire, id: u64, other: &mut Wire) -> Result<(), Error> {
    let [a, b] = ["a", "b"].map(|part| format!("~keyward-probe.{id}.{part}"));
    let (a, b) = (Hex(a.as_bytes()), Hex(b.as_bytes()));
    let take = format!(
        "SELECT CONCAT_WS(',', IFNULL(GET_LOCK({a},0),2), IFNULL(GET_LOCK({b},0),2), \
         IFNULL(IS_USED_LOCK({a})=CONNECTION_ID(),2))"
    );
    let taken = answered(one.ask(take).await?)?.numbers();
    if taken.as_deref() != Some(&[1, 1, 1]) {
        return Err(refused("a session of it does not hold two named locks at once"));
    }
    let tried = format!("SELECT CONCAT_WS(',', IFNULL(GET_LOCK({a},0),2))");
    let tried = answered(other.ask(tried).await?)?.numbers();
    if tried.as_deref() != Some(&[0]) {
        return Err(refused("it grants one name to two sessions at once"));
    }
    let give_back =
        format!("SELECT CONCAT_WS(',', IFNULL(RELEASE_LOCK({a}),2), IFNULL(RELEASE_LOCK({b}),2))");
    let given_back = answered(one.ask(give_back).await?)?.numbers();
    if given_back.as_deref() != Some(&[1, 1]) {
        return Err(refused("it does not give back named locks"));
    }
    Ok(())
}

/// The answer, if the server has not refused.
pub(super) fn answered(answer: Answer) -> Result<Answer, Error> {
    match answer.refused {
        Some(refusal) => Err(refusal.error),
        None => Ok(answer),
    }
}

pub(super) fn refused(why: impl std::fmt::Display) -> Error {
    let message = format!("this server cannot be used for locks: {why}");
    Error::new(ErrorKind::Unsupported).with_message(message)
}

/// The first three numbers; MariaDB may put `5.5.5-` before its own.
pub(super) fn version(text: &str) -> Option<[u32; 3]> {
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(family: Family, version: &str) -> Server {
        Server {
            family,
            identity: None,
            version: version.to_owned(),
            is_galera: false,
            is_read_only: false,
            limit: None,
        }
    }

    #[test]
    fn old_servers_are_refused() {
        let lenient = Leniency::default();
        let check = |family, version| server(family, version).check(lenient).is_ok();
        assert!(!check(Family::MySql, "5.6.24"));
        assert!(!check(Family::MySql, "5.7.4-m14"));
        assert!(check(Family::MySql, "5.7.5-m15"));
        assert!(check(Family::MySql, "9.7.4"));
        assert!(!check(Family::MariaDb, "5.5.68-MariaDB"));
        assert!(check(Family::MariaDb, "5.5.5-10.11.14-MariaDB-0+deb12u2"));
        assert!(check(Family::MariaDb, "11.8.9-MariaDB-log"));
    }

    #[test]
    fn nodes_that_grant_by_themselves_are_refused_unless_allowed() {
        let mut node = server(Family::MariaDb, "10.11.14-MariaDB");
        node.is_galera = true;
        let error = node.check(Leniency::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("galera=single-writer"), "{error}");
        assert!(node.check(Leniency { galera: true, replica: false }).is_ok());
        node.is_read_only = true;
        let error = node.check(Leniency { galera: true, replica: false }).unwrap_err();
        assert!(error.to_string().contains("replica=allow"), "{error}");
        assert!(node.check(Leniency { galera: true, replica: true }).is_ok());
    }
}
