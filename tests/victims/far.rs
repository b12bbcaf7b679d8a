//! Locks at a server, and what can be wrong with them.
//!
//! A session of a pool takes a place in the name's queue, and holds the name when it is the first. With a
//! ttl, the server forgets a session that it does not hear of, so a keeper renews the hold, and calls it
//! lost a little before the server would; without, it looks each second whether it is still there.
//!
//! Right is: from before the first request until the last one, a [`Place`] cleans up, by a request that
//! follows those before it on the same connection, names the session, and is no more than put into a
//! channel; what expires is watched by the clock and not by an answer; and what the server says last,
//! *you are the first*, it says of a place that is there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use keyward::{
    Capability, Error, ErrorKind, Fencing, FencingToken, Lease, LockName, Locks, LossReason,
    LossSignal, Mode, Occupancy,
    conformance::{Fixture, Network, NotApplicable, Verdict},
    contract::{Backend, Hold, Request, Wait},
};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::server::{Link, Server, State};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The keeper looks at the clock when it has its answer, for which it waits as a socket does.
    DeadlineInTheLoop,
    /// Nobody cleans up for an acquisition until its first answer is there.
    AcquireNotUndone,
    /// A release deletes the name's holder, whoever that is.
    BlindRelease,
    /// A wait that is given up is released, which a server does to holders, and not taken back.
    ReleaseOfAWait,
    /// A dropped hold gives its session back to the pool as it is.
    HeldInThePool,
    /// A renewal makes its sender the holder, also when it comes too late.
    ExtendedAfterExpiry,
    /// Nobody in front of it is taken for a grant, also where its own place has expired.
    GrantNotChecked,
    /// A dropped hold is released by a task.
    SpawnInDrop,
}

/// The pause between two looks.
const BEAT: Duration = Duration::from_secs(1);

/// A store of the case's own, at which a hold lasts that long without being renewed, or for ever.
#[derive(Debug)]
pub(crate) struct Store {
    server: Server,
    ttl: Option<Duration>,
    flaw: Option<Flaw>,
}

impl Store {
    pub(crate) fn new(ttl: Option<Duration>, flaw: Option<Flaw>) -> Self {
        Self { server: Server::default(), ttl, flaw }
    }

    fn backend(&self) -> Far {
        let link = Link::new(&self.server);
        Far { link, pool: Arc::default(), ttl: self.ttl, flaw: self.flaw }
    }
}

impl Fixture for Store {
    async fn connect(&self) -> Locks {
        Locks::builder().backend(self.backend())
    }

    fn prefix(&self) -> &str {
        "victim-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, lease: &Lease) -> Verdict {
        assert!(self.server.state().delete(lease.name().as_bytes()), "{lease:?} is not held");
        Ok(())
    }

    async fn connect_through_a_network(&self) -> Result<(Locks, Box<dyn Network>), NotApplicable> {
        if self.ttl.is_none() {
            return Err(NotApplicable::because("the server waits for ever for who is cut off"));
        }
        let backend = self.backend();
        let network = Box::new(backend.link.clone());
        Ok((Locks::builder().backend(backend), network))
    }
}

#[derive(Clone, Debug)]
struct Far {
    link: Link,
    /// Sessions that hold nothing.
    pool: Arc<Mutex<Vec<u64>>>,
    ttl: Option<Duration>,
    flaw: Option<Flaw>,
}

impl Far {
    /// When a hold that was renewed then is over: a tenth earlier than at the server.
    fn valid_until(&self, sent: Instant) -> Option<Instant> {
        self.ttl.map(|ttl| sent + ttl - ttl / 10)
    }
}

impl Backend for Far {
    type Hold = FarHold;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<FarHold>, Error> {
        let pooled = self.pool.lock().unwrap().pop();
        let session = match pooled {
            Some(session) => session,
            None => self.link.call(State::next).await?,
        };
        let key = name.as_bytes().to_vec();
        let place = || Place { far: self.clone(), name: key.clone(), session, holds: false };
        let early = (self.flaw != Some(Flaw::AcquireNotUndone)).then(place);
        let (name, ttl) = (key.clone(), self.ttl);
        let number = match request.wait {
            Wait::No => self.link.call(move |s| s.try_join(&name, session, ttl)).await?,
            Wait::Until(_) | Wait::Forever => {
                self.link.call(move |s| Some(s.join(&name, session, ttl))).await?
            }
        };
        let place = early.unwrap_or_else(place);
        let Some(number) = number else { return Ok(None) };
        place.wait(number).await.map(Some)
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("far");
        capability.event_driven = true;
        capability.fencing = Fencing::Server;
        capability.loss_told_within = Some(self.ttl.unwrap_or(BEAT));
        capability
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        let name = name.as_bytes().to_vec();
        Ok(match self.link.call(move |s| s.is_free(&name)).await? {
            true => Occupancy::Free,
            false => Occupancy::Held { mode: Mode::Exclusive, owner: None },
        })
    }
}

/// A session's place in the queue, or what may become one. Dropping it gives it up.
struct Place {
    far: Far,
    name: Vec<u8>,
    session: u64,
    holds: bool,
}

impl Place {
    /// Waits until it is the first.
    async fn wait(mut self, mut number: u64) -> Result<FarHold, Error> {
        let (ttl, session) = (self.far.ttl, self.session);
        let unchecked = self.far.flaw == Some(Flaw::GrantNotChecked);
        loop {
            let (name, sent) = (self.name.clone(), Instant::now());
            let mut changes = self.far.link.changes();
            let looked = self.far.link.call(move |s| match s.look(&name, number) {
                (0, is_there) if is_there || unchecked => {
                    s.renew(&name, session, ttl);
                    (number, Some(s.next()))
                }
                (_, false) if !unchecked => (s.join(&name, session, ttl), None),
                _ => (number, None),
            });
            let token;
            (number, token) = looked.await?;
            if let Some(token) = token {
                self.holds = true;
                return Ok(FarHold::new(self, FencingToken::new(token), sent));
            }
            drop(timeout(BEAT, changes.changed()).await);
        }
    }

    /// The request that gives it up, and says whether it was the holder's.
    fn leaving(&self) -> impl FnOnce(&mut State) -> bool + Send + 'static {
        let (name, session, holds) = (self.name.clone(), self.session, self.holds);
        let flaw = self.far.flaw;
        move |server| match flaw {
            Some(Flaw::BlindRelease) if holds => server.delete(&name),
            Some(Flaw::ReleaseOfAWait) if !holds && !server.is_first(&name, session) => false,
            _ => server.leave(&name, session),
        }
    }

    fn pool(&self) {
        self.far.pool.lock().unwrap().push(self.session);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let leaving = self.leaving();
        match self.far.flaw {
            Some(Flaw::HeldInThePool) if self.holds => {}
            Some(Flaw::SpawnInDrop) if self.holds => {
                let link = self.far.link.clone();
                tokio::spawn(async move { link.call(leaving).await });
            }
            _ => self.far.link.send(move |server| _ = leaving(server)),
        }
        self.pool(); // whatever it sends next comes after that
    }
}

/// The hold of a place that was the first.
pub(crate) struct FarHold {
    /// Stopped first.
    keeper: AbortHandle,
    place: Place,
    token: FencingToken,
    signal: LossSignal,
    until: Arc<Mutex<Option<Instant>>>,
}

impl FarHold {
    fn new(place: Place, token: FencingToken, sent: Instant) -> Self {
        let until = Arc::new(Mutex::new(place.far.valid_until(sent)));
        let signal = LossSignal::new();
        let (far, name, session) = (place.far.clone(), place.name.clone(), place.session);
        let keeping = keep(far, name, session, signal.clone(), Arc::clone(&until));
        let keeper = tokio::spawn(keeping).abort_handle();
        Self { keeper, place, token, signal, until }
    }
}

impl Drop for FarHold {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Hold for FarHold {
    async fn release(mut self) -> Result<bool, Error> {
        self.keeper.abort();
        let released = self.place.far.link.call(self.place.leaving()).await;
        self.place.holds = false;
        released
    }

    async fn verify(&self) -> Result<(), Error> {
        let (name, session) = (self.place.name.clone(), self.place.session);
        match self.place.far.link.call(move |s| s.is_first(&name, session)).await? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Lost)),
        }
    }

    fn watch(&self) -> LossSignal {
        self.signal.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        Some(self.token)
    }

    fn valid_until(&self) -> Option<Instant> {
        *self.until.lock().unwrap()
    }
}

/// Renews a hold until it is lost.
async fn keep(
    far: Far,
    name: Vec<u8>,
    session: u64,
    signal: LossSignal,
    until: Arc<Mutex<Option<Instant>>>,
) {
    let (ttl, flaw) = (far.ttl, far.flaw);
    loop {
        sleep(ttl.map_or(BEAT, |ttl| ttl / 3)).await;
        let (sent, name, end) = (Instant::now(), name.clone(), *until.lock().unwrap());
        let renewal = far.link.call(move |server| match flaw {
            Some(Flaw::ExtendedAfterExpiry) => server.seize(&name, session, ttl),
            _ => server.renew(&name, session, ttl),
        });
        let answer = match (end, ttl) {
            (Some(end), Some(ttl)) if flaw == Some(Flaw::DeadlineInTheLoop) => {
                let answer = timeout(2 * ttl, renewal).await;
                if Instant::now() >= end {
                    return signal.lose(LossReason::Expired);
                }
                answer
            }
            (Some(end), _) => timeout_at(end, renewal).await,
            (None, _) => Ok(renewal.await),
        };
        match answer {
            Ok(Ok(true)) => *until.lock().unwrap() = far.valid_until(sent),
            Ok(Ok(false)) => return signal.lose(LossReason::NotOwner),
            Ok(Err(_)) => return signal.lose(LossReason::Closed),
            Err(_late) => return signal.lose(LossReason::Expired),
        }
    }
}
