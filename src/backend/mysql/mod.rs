//! `mysql:`: names held by hosts, on a MySQL or MariaDB server.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
//! let locks = keyward::Locks::connect("mysql://cinder:secret@db.internal/cinder?ttl=30").await?;
//! let lease = locks.lock_named("vol-42").await?; // waits in the server's queue, without polling
//! lease.ensure_held().await?; // asks the server
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it excludes
//!
//! Everybody who locks the same name on the same *server* by `GET_LOCK`, whatever the database: other
//! keyward processes, and Python services that use tooz's mysql driver. A name of up to 64 of
//! `a-z 0-9 _ . : / @ + -` is the server's name as it stands. Any other (`cinder-LIN` has capitals) is
//! encoded, so that it means the same on every server, and does *not* meet such peers unless it is
//! [exact](crate::LockName::exact), or `names=exact` is in the URL. Then it goes verbatim, and MySQL,
//! unlike MariaDB, ignores its case.
//!
//! Any user of the server can lock any name: a prefix keeps honest programs apart, nothing the others.
//!
//! # URL
//!
//! `mysql://user:password@host:3306/database`, percent-encoded where needed, or [several](#several-servers)
//! hosts with commas between them; and options:
//!
//! | option | values | default | what |
//! |---|---|---|---|
//! | `ttl` | 3 s to a day, whole seconds | `30` | how long the server keeps a lock without hearing of us |
//! | `heartbeat` | 250 ms to half of the ttl | a sixth of it | how often it is asked whether our locks are ours |
//! | `fencing` | `uuid_short`, `table`, `create-table`, `off` | `uuid_short` | where [tokens](crate::FencingToken) come from; see below |
//! | `max_waiters` | number | `8` | names that are waited for by a session each; beyond that, waiting is [polling](#sessions) |
//! | `locks_per_session` | 1 to 1024 | `64` | locks that are lost at once if a session is killed |
//! | `names` | `native`, `exact` | `native` | whether all names go verbatim |
//! | `sentinel` | `on`, `off` | `off` | one more session, to notice at once that the server is gone |
//! | `socket`, `unix_socket` | path | none | a unix socket instead of host and port |
//! | `connect_timeout` | time | `5` | how long to try to connect, at first and while somebody waits |
//! | `ssl_mode` | `disabled`, `preferred`, `required`, `verify_ca`, `verify_identity` | `preferred` | encryption; needs the feature `mysql-tls` |
//! | `ssl_ca`, `ssl_cert`, `ssl_key` | files | none | certificates |
//! | `replica` | `allow` | none | a read-only server |
//! | `galera` | `single-writer` | none | a Galera node, if all programs lock on that one |
//! | `polite` | time from `1100ms` | none | [leaves room for those who poll](crate::LocksBuilder::polite) |
//! | `generation` | number from 1 | none | which layout of [several servers](#several-servers) this is |
//! | `previous` | servers | none | those of the generation before, while they change |
//! | `gone` | servers | none | those that will never be back, and so need not be told of this generation |
//! | `shards` | `table`, `create-table` | `table` | whether the table of generations is made if it is missing |
//!
//! Times are a number of seconds, or have a unit as in `250ms`. tooz's `charset`, `ssl_check_hostname`
//! and `ssl_verify_mode` are understood.
//!
//! # What is guaranteed, and until when
//!
//! A lock belongs to a session, which ends with its connection, when somebody kills it, when the server
//! restarts, or when the server has not heard of it for the `ttl`. So a holder that crashes is followed
//! in milliseconds, and one that is frozen or cut off after the ttl, by the server's clock.
//!
//! We count earlier: [`valid_until`](crate::Lease::valid_until) is nine tenths of the ttl after the
//! last question that was answered, on a clock that goes on while the machine sleeps, and then the lease
//! is lost for its holder, whatever the network is doing. An answer that is overdue for 2 s makes it
//! [suspended](crate::LeaseState::Suspended); a server that stands still for half of the ttl loses
//! nothing.
//!
//! A killed session is noticed at the next heartbeat, or when one of our other sessions is cut at the
//! same moment. Until then, and while a process is paused between looking and writing, two can believe
//! that they hold a name: only the [token](crate::FencingToken) stops the late one. A lease never takes
//! its lock again by itself; waits go on after a restart of the server, if it is back within
//! `connect_timeout`.
//!
//! Locks are not replicated: after a failover everybody may lock everything, and nobody of the old
//! server's is told before its session ends. Replicas and Galera nodes are refused unless allowed, and so
//! are servers that are too old to hold several names in one session.
//!
//! # Fencing
//!
//! `uuid_short` costs nothing and grows on one server, over restarts, as long as its clock is not set
//! back and it does not start twice in one second; not when another server takes its place. `table`
//! counts in a table of the database, on the disk before a token is used, one more round trip and a commit
//! for each lock. It begins small: after a change from `uuid_short`, tokens are less than those before.
//! While somebody has locked the table, or the server for a backup, names that are asked for are not to
//! be had; what is held stays held. `create-table` makes the table if it is missing; the statement is
//!
//! ```sql
//! CREATE TABLE IF NOT EXISTS keyward_fence
//!     (name VARBINARY(192) NOT NULL PRIMARY KEY, token BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB
//! ```
//!
//! # Several servers
//!
//! ```text
//! mysql://cinder:secret@db1,db2:3307,db3/cinder?generation=1&shards=create-table&fencing=create-table
//! ```
//!
//! Each name is at home on one of the servers (a path with `%2F` for `/` is that of a unix socket), chosen by
//! a hash of the name and of the server's address *as it is written here*, port included: whoever writes
//! another address has another layout. A server that is not there costs its own names only, which are
//! [`Unavailable`](crate::ErrorKind::Unavailable) until it is back; it may be missing at `connect` too, where
//! [`capability`](crate::Locks::capability) warns of it. `lock_all` takes names of any servers.
//!
//! Programs that lock the same names have to know the same servers, or two of them hold one name. So a layout
//! has a *generation*, and each server a table that says which one is in use:
//!
//! * the first is `generation=1`, begun by a process that reaches all of its servers;
//! * whatever changes in the list of servers is the next generation, and `previous=` has the list of the one
//!   before. While it is said, a name that moves is locked at its home before *and* at its home now, and lost
//!   with either; so programs of both generations may run side by side, and be replaced one after the other;
//! * when none of the old ones is left, the generation after that is the same list without `previous=`:
//!
//! ```text
//! mysql://…@a,b,c/d?generation=1
//! mysql://…@a,b,c,d/d?generation=2&previous=a,b,c
//! mysql://…@a,b,c,d/d?generation=3
//! ```
//!
//! A process whose generation does not fit what it finds is refused with
//! [`Unsupported`](crate::ErrorKind::Unsupported): another layout of the same generation, or a neighbour that
//! it does not follow. One that is *two* behind has to go: its leases are lost as
//! [`Superseded`](crate::LossReason::Superseded), by its next heartbeat, and the later generation grants
//! nothing before the largest `ttl` in use has passed, by when also those have run out who cannot be told.
//! Such a beginning has to reach all servers, also those that are about to leave, which may be shut down once
//! generation 3 has granted a lock. A server that is dead for good is named by `gone=`, and has to be dead, or
//! names that somebody holds there have two holders. One server under two of the addresses is refused. The
//! [cookbook](crate::_documentation::cookbook#several-servers-and-how-they-are-changed) goes through all
//! changes, step by step.
//!
//! [Tokens](crate::FencingToken) grow over all of this with `fencing=table`: who locks a name on two servers
//! counts up both, and a generation begins above all that the servers before it have counted. What one has
//! counted that is `gone`, or has lost its tables, nobody knows: from then on tokens are larger than the time in
//! microseconds, by the servers' clocks. Those of `uuid_short` would not grow, so with several servers `fencing`
//! has to be said.
//!
//! *From one server to several*: `generation=1&previous=a`. A process with a plain url of `a` knows of no
//! generation, so it excludes generation 1 and is not told of any: end it before generation 2. *What it
//! costs*: a heartbeat reads a row, and a name that moves two locks. *What it rests on*: a row that was
//! committed stays (`innodb_flush_log_at_trx_commit=1`), the table is not written by hand, and all programs
//! name the same database. The largest `ttl` in use never falls by itself. *What it needs*: a user who may
//! `SELECT`, `INSERT` and `UPDATE` in the database, and `CREATE` for the tables. *What it was tried on*: MariaDB
//! 10.11; no MySQL. The statement is
//!
//! ```sql
//! CREATE TABLE IF NOT EXISTS keyward_shards
//!     (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, generation BIGINT UNSIGNED NOT NULL,
//!     layout VARBINARY(4096) NOT NULL, telling VARBINARY(4096) NOT NULL, ttl INT UNSIGNED NOT NULL,
//!     fence BIGINT UNSIGNED NOT NULL, since TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB
//! ```
//!
//! # Sessions
//!
//! One that stops waits, one for each `locks_per_session` locks held, and up to three for each of
//! `max_waiters`: a lock cannot leave its session, so who has waited for it keeps the session that has,
//! which takes free locks besides and waits for nothing more. When there are so many, waiting is polling.
//!
//! They live on the Tokio runtime in which the locks were connected, and when that ends, so do they. A
//! forked child has to connect anew; as long as it lives and has not started another program, a parent
//! that is *killed* leaves its locks for the ttl.
#![forbid(unsafe_code)]

mod actor;
mod apart;
mod batch;
mod change;
mod control;
mod errors;
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql"))]
pub(crate) mod fuzzed;
mod generation;
mod hold;
mod inspect;
mod layout;
mod name;
mod one;
mod opening;
mod options;
mod polite;
mod pool;
mod proof;
mod queue;
mod sentinel;
mod server;
mod session;
mod shards;
mod sql;
mod token;
mod url;
mod wait;
mod wire;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

pub use self::{
    hold::MySqlHold,
    options::{MySqlOptions, Tls},
};
use self::{one::One, shards::Shards};
use crate::{
    contract::{Backend, Capability, Occupancy, Request},
    error::Error,
    name::LockName,
    url::BackendUrl,
};

/// The backend of `mysql:` URLs; made by [`MySqlOptions::connect`]. Clones are the same sessions: closing
/// one of them ends those, once none holds anything.
#[derive(Clone)]
pub struct MySqlBackend(Servers);

#[derive(Clone)]
enum Servers {
    One(One),
    Several(Arc<Shards>),
}

impl MySqlBackend {
    async fn open(options: MySqlOptions) -> Result<Self, Error> {
        match options.layout()? {
            None => Ok(Self(Servers::One(One::open(options).await?))),
            Some(layout) => {
                let shards = Box::pin(Shards::open(options, layout)).await?;
                Ok(Self(Servers::Several(Arc::new(shards))))
            }
        }
    }

    /// By URL; the gap of polite locks is the facade's.
    pub(super) async fn from_url(url: BackendUrl) -> Result<(Self, Option<Duration>), Error> {
        let (options, polite) = url::from_url(url)?;
        Ok((Self::open(options).await?, polite))
    }
}

impl fmt::Debug for MySqlBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: &dyn fmt::Debug = match &self.0 {
            Servers::One(one) => one,
            Servers::Several(shards) => shards,
        };
        f.debug_tuple("MySqlBackend").field(servers).finish()
    }
}

impl Backend for MySqlBackend {
    type Hold = MySqlHold;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<MySqlHold>, Error> {
        match &self.0 {
            Servers::One(one) => one.acquire(&one.key(name)?, request).await,
            // Boxed, so that it costs the others nothing.
            Servers::Several(shards) => Box::pin(shards.acquire(name, request)).await,
        }
    }

    fn capability(&self) -> Capability {
        match &self.0 {
            Servers::One(one) => one.capability(),
            Servers::Several(shards) => shards.capability(),
        }
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        match &self.0 {
            Servers::One(one) => one.native_key(name),
            Servers::Several(shards) => shards.native_key(name),
        }
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        match &self.0 {
            Servers::One(one) => one.inspect(&one.key(name)?).await,
            Servers::Several(shards) => Box::pin(shards.inspect(name)).await,
        }
    }

    async fn close(&self) {
        match &self.0 {
            Servers::One(one) => one.close().await,
            Servers::Several(shards) => shards.close().await,
        }
    }
}
