//! One server: how a lock is obtained on it.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use futures::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::{
    actor, errors,
    generation::Membership,
    hold::MySqlHold,
    inspect, name,
    options::MySqlOptions,
    polite,
    pool::Pool,
    sentinel,
    server::{self, Family, Server},
    session::{Command, Key},
    token,
    wait::{Wait, Waiter, Wanting},
    wire::{self, Wire},
};
use crate::{
    contract::{self, Capability, Fencing, Occupancy, Request},
    error::{Error, ErrorKind},
    name::LockName,
};

/// One server, as one process uses it. Clones are the same sessions.
#[derive(Clone)]
pub(super) struct One(Arc<User>);

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

impl One {
    pub(super) async fn open(options: MySqlOptions) -> Result<Self, Error> {
        options.check()?;
        let address = options.address();
        let server = first_look(&options, &address).await?;
        Self::begin(options, server, None).await
    }

    /// On a server that has been looked at, which may be one of several.
    pub(super) async fn begin(
        options: MySqlOptions,
        server: Server,
        membership: Option<Membership>,
    ) -> Result<Self, Error> {
        let address = options.address();
        let (family, is_plain) = (server.family, options.may_be_plain());
        if is_plain {
            tracing::warn!(
                server = &*address.place,
                "the password and the names of locks are sent to another host without encryption"
            );
        }
        let pool = Pool::new(options, address, server, membership);
        let this = Self(Arc::new(User { pool, family, is_plain }));
        this.0.pool.start().await?;
        sentinel::start(&this.0.pool);
        Ok(this)
    }

    pub(super) fn key(&self, name: &LockName) -> Result<Key, Error> {
        Ok(self.native_key(name)?.as_ref().into())
    }

    pub(super) fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        name::native(name, self.0.family, self.0.pool.options.exact_names)
    }

    pub(super) async fn acquire(
        &self,
        key: &Key,
        request: Request,
    ) -> Result<Option<MySqlHold>, Error> {
        if let Some(gap) = request.polite
            && gap < polite::SHORTEST
        {
            let message = "a gap of less than 1.1 s is missed by those who poll once a second";
            return Err(Error::new(ErrorKind::Unsupported).with_message(message));
        }
        let mut hold = self.obtain(key, request).await?;
        if let Some(hold) = &mut hold {
            hold.set_polite(request.polite);
        }
        Ok(hold)
    }

    pub(super) fn capability(&self) -> Capability {
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

    pub(super) async fn inspect(&self, key: &Key) -> Result<Occupancy, Error> {
        self.0.pool.check_process()?;
        inspect::inspect(&self.0.pool, key).await
    }

    /// Asks the server something that locks nothing.
    pub(super) async fn ask(&self, sql: String) -> Result<Vec<wire::Row>, Error> {
        self.0.pool.ask(sql).await
    }

    pub(super) async fn close(&self) {
        self.0.pool.begin_closing();
        self.0.pool.closed().await;
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
pub(super) const WELL: Duration = Duration::from_secs(1);

/// Attempts that fail, one after the other, and since when.
pub(super) struct Failures {
    patience: Duration,
    /// When the first of them began, or the one that is under way.
    since: Option<Instant>,
    count: u32,
}

impl Failures {
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, since: None, count: 0 }
    }

    pub(super) fn begin_attempt(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) const fn forget(&mut self) {
        (self.since, self.count) = (None, 0);
    }

    /// Waits a little before the next attempt; or it was the last one. Who does not want to wait gets one
    /// more: the session that has failed may have been the last of a server that is back.
    pub(super) async fn pause(&mut self, error: Error, wait: contract::Wait) -> Result<(), Error> {
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
pub(super) async fn first_look(
    options: &MySqlOptions,
    address: &wire::Address,
) -> Result<Server, Error> {
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

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("One").field(&self.0.pool).finish()
    }
}
