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
//! `mysql://user:password@host:3306/database`, percent-encoded where needed, and options:
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
mod batch;
mod control;
mod errors;
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql"))]
pub(crate) mod fuzzed;
mod hold;
mod inspect;
mod name;
mod options;
mod polite;
mod pool;
mod queue;
mod sentinel;
mod server;
mod session;
mod sql;
mod token;
mod url;
mod wait;
mod wire;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use futures::future::{Either, select};
use tokio::time::{Instant, sleep};

pub use self::{
    hold::MySqlHold,
    options::{MySqlOptions, Tls},
};
use self::{
    pool::Pool,
    server::{Family, Server},
    session::{Command, Key},
    wait::{Wait, Waiter, Wanting},
    wire::Wire,
};
use crate::{
    contract::{self, Backend, Capability, Fencing, Occupancy, Request},
    error::{Error, ErrorKind},
    name::LockName,
    url::BackendUrl,
};

/// The backend of `mysql:` URLs; made by [`MySqlOptions::connect`]. Clones are the same sessions: closing
/// one of them ends those, once none holds anything.
#[derive(Clone)]
pub struct MySqlBackend(Arc<User>);

/// The last one closes the sessions, as soon as they hold nothing.
struct User {
    pool: Arc<Pool>,
    family: Family,
    is_plain: bool,
}

impl Drop for User {
    fn drop(&mut self) {
        self.pool.begin_closing();
    }
}

impl MySqlBackend {
    async fn open(options: MySqlOptions) -> Result<Self, Error> {
        options.check()?;
        let address = options.address();
        let server = first_look(&options, &address).await?;
        let (family, is_plain) = (server.family, options.may_be_plain());
        if is_plain {
            tracing::warn!(
                server = &*address.place,
                "the password and the names of locks are sent to another host without encryption"
            );
        }
        let pool = Pool::new(options, address, server);
        let this = Self(Arc::new(User { pool, family, is_plain }));
        this.0.pool.start().await?;
        sentinel::start(&this.0.pool);
        Ok(this)
    }

    /// By URL; the gap of polite locks is the facade's.
    pub(super) async fn from_url(url: BackendUrl) -> Result<(Self, Option<Duration>), Error> {
        let (options, polite) = url::from_url(url)?;
        Ok((Self::open(options).await?, polite))
    }

    fn key(&self, name: &LockName) -> Result<Key, Error> {
        Ok(self.native_key(name)?.as_ref().into())
    }

    /// Until it is held; or, if it is not to be waited for, until it is known not to be free.
    async fn obtain(&self, key: &Key, request: Request) -> Result<Option<MySqlHold>, Error> {
        let pool = &self.0.pool;
        pool.check_process()?;
        let mut failures = Failures::new(pool.address.connect_timeout);
        loop {
            if let Some(gap) = request.polite
                && let Some(left) = pool.windows.stay_away(key, gap)
            {
                if request.wait == contract::Wait::No {
                    return Ok(None);
                }
                sleep(left).await;
            }
            failures.begin_attempt();
            match self.obtain_once(key, request, &mut failures).await {
                Ok(Outcome::Held(hold)) => return Ok(Some(hold)),
                Ok(Outcome::Busy) => return Ok(None),
                Ok(Outcome::Again) => failures.forget(),
                Err(e) if e.is_retryable() => failures.pause(e, request.wait).await?,
                Err(e) => return Err(e),
            }
        }
    }

    async fn obtain_once(
        &self,
        key: &Key,
        request: Request,
        failures: &mut Failures,
    ) -> Result<Outcome, Error> {
        let pool = &self.0.pool;
        // What this process has stopped waiting for, it goes on waiting for, or it is out of the way.
        let mut wanting = None;
        if let Some(waiter) = pool.wait_for(key) {
            if request.wait != contract::Wait::No {
                wanting = waiter.adopt(limit(request.wait));
            }
            if wanting.is_none() {
                waiter.settled().await;
            }
        }
        let wanting = match wanting {
            Some(wanting) => wanting,
            None => {
                if let Some(hold) = pool.try_lock(key).await? {
                    return Ok(Outcome::Held(hold));
                }
                if request.wait == contract::Wait::No {
                    return Ok(Outcome::Busy);
                }
                match self.begin_wait(key, request, failures).await? {
                    Begun::Waiting(wanting) => wanting,
                    Begun::Held(hold) => return Ok(Outcome::Held(hold)),
                }
            }
        };
        if request.polite.is_some() {
            pool.windows.used(key);
        }
        let begun = Instant::now();
        let outcome = listen(pool, wanting, request.polite).await;
        if begun.elapsed() >= WELL {
            failures.forget();
        }
        outcome
    }

    /// Has a session wait; tries now and then as long as none is to be had.
    async fn begin_wait(
        &self,
        key: &Key,
        request: Request,
        failures: &mut Failures,
    ) -> Result<Begun, Error> {
        let pool = &self.0.pool;
        let mut permit = Box::pin(Arc::clone(&pool.waiting).acquire_owned());
        let (permit, session) = loop {
            if let Either::Left((ready, _)) =
                select(permit.as_mut(), Box::pin(sleep(pool.pause()))).await
            {
                let ready = ready.expect("never closed");
                if let Some(session) = pool.waiting_session().await? {
                    break (ready, session);
                }
                drop(ready);
                permit = Box::pin(Arc::clone(&pool.waiting).acquire_owned());
                sleep(pool.pause()).await;
            }
            if let Some(left) = request.polite.and_then(|gap| pool.windows.away(gap)) {
                sleep(left).await;
            }
            if let Some(hold) = pool.try_lock(key).await? {
                return Ok(Begun::Held(hold));
            }
            failures.forget();
        };
        let (waiter, wanting) = Waiter::new(limit(request.wait));
        pool.list_wait(key, &waiter);
        let wait = Wait::new(Key::clone(key), waiter, Arc::clone(pool), permit);
        session.send(Command::Wait(wait));
        Ok(Begun::Waiting(wanting))
    }
}

/// Waits to be given the lock; in polite mode not into the time that belongs to others.
async fn listen(
    pool: &Arc<Pool>,
    mut wanting: Wanting,
    polite: Option<Duration>,
) -> Result<Outcome, Error> {
    let away = async {
        match polite {
            Some(gap) => sleep(pool.windows.until_away(gap)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        granted = &mut wanting.grant => match granted {
            Ok(granted) => granted.map(Outcome::Held),
            Err(e) => {
                let gone = errors::gone(&pool.address.place, "a wait has failed with its session");
                Err(gone.with_source(e))
            }
        },
        () = away => Ok(Outcome::Again),
    }
}

/// One attempt.
enum Outcome {
    Held(MySqlHold),
    Busy,
    Again,
}

enum Begun {
    Held(MySqlHold),
    Waiting(Wanting),
}

const fn limit(wait: contract::Wait) -> Option<Instant> {
    match wait {
        contract::Wait::Until(until) => Some(until),
        contract::Wait::No | contract::Wait::Forever => None,
    }
}

/// A wait that has been in the queue for so long has begun well: what ends it then is a new failure.
const WELL: Duration = Duration::from_secs(1);

/// Attempts that fail, one after the other, and since when.
struct Failures {
    patience: Duration,
    /// When the first of them began, or the one that is under way.
    since: Option<Instant>,
    count: u32,
}

impl Failures {
    const fn new(patience: Duration) -> Self {
        Self { patience, since: None, count: 0 }
    }

    fn begin_attempt(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    const fn forget(&mut self) {
        (self.since, self.count) = (None, 0);
    }

    /// Waits a little before the next attempt; or it was the last one. Who does not want to wait gets one
    /// more: the session that has failed may have been the last of a server that is back.
    async fn pause(&mut self, error: Error, wait: contract::Wait) -> Result<(), Error> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.count += 1;
        let is_over = match wait {
            contract::Wait::No => self.count > 1,
            // One that has failed may say nothing but that a session was of no use any more.
            _ => self.count > 1 && since.elapsed() >= self.patience,
        };
        if is_over {
            return Err(error);
        }
        if self.count > 1 {
            sleep(Duration::from_millis(10) * (1 << self.count.min(6))).await;
        }
        Ok(())
    }
}

/// Connects twice, and makes sure that one session excludes the other.
async fn first_look(options: &MySqlOptions, address: &wire::Address) -> Result<Server, Error> {
    let look = async {
        let mut one = Wire::connect(address).await?;
        let server = Server::ask(&mut one).await?;
        server.check(options.leniency)?;
        let id = server.prepare(&mut one, options.ttl, options.fencing).await?.id;
        let mut other = Wire::connect(address).await?;
        if Server::ask(&mut other).await?.identity != server.identity {
            return Err(server::refused("two connections have reached two servers"));
        }
        server.prepare(&mut other, options.ttl, options.fencing).await?;
        server::probe(&mut one, id, &mut other).await?;
        if options.fencing == Fencing::Durable {
            if options.create_table {
                server::answered(one.ask(token::TABLE.to_owned()).await?)?;
            }
            let looked = one.ask(token::LOOK.to_owned()).await?;
            if let Some(refusal) = looked.refused {
                return Err(token::no_table(refusal));
            }
        }
        one.goodbye().await;
        other.goodbye().await;
        Ok(server)
    };
    let late = |e| errors::gone(&address.place, "no answer in time from the server").with_source(e);
    tokio::time::timeout(address.connect_timeout.saturating_mul(2), look).await.map_err(late)?
}

impl fmt::Debug for MySqlBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MySqlBackend").field(&self.0.pool).finish()
    }
}

impl Backend for MySqlBackend {
    type Hold = MySqlHold;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<MySqlHold>, Error> {
        if let Some(gap) = request.polite
            && gap < polite::SHORTEST
        {
            let message = "a gap of less than 1.1 s is missed by those who poll once a second";
            return Err(Error::new(ErrorKind::Unsupported).with_message(message));
        }
        let key = self.key(name)?;
        let mut hold = self.obtain(&key, request).await?;
        if let Some(hold) = &mut hold {
            hold.set_polite(request.polite);
        }
        Ok(hold)
    }

    fn capability(&self) -> Capability {
        let options = &self.0.pool.options;
        let mut capability = Capability::new("mysql");
        capability.fair = true;
        capability.event_driven = true;
        capability.fencing = options.fencing;
        capability.loss_told_within = Some(options.heartbeat_or_default() + actor::PATIENCE);
        if self.0.is_plain {
            let warning = "passwords and names are sent to another host without encryption";
            capability.warnings.push(warning.into());
        }
        if self.0.pool.server().identity.is_none() {
            let warning =
                "the server does not tell who it is: a wait that is given up costs a session";
            capability.warnings.push(warning.into());
        }
        capability
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        name::native(name, self.0.family, self.0.pool.options.exact_names)
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        self.0.pool.check_process()?;
        inspect::inspect(&self.0.pool, &self.key(name)?).await
    }

    async fn close(&self) {
        self.0.pool.begin_closing();
        self.0.pool.closed().await;
    }
}
