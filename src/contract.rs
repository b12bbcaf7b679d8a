//! What a backend has to do, written for those who write one.
//!
//! A backend knows how to hold a name in some store. It has **one required method**,
//! [`Backend::acquire`], and hands out [`Hold`]s. Everything a user sees beyond that (queues,
//! timeouts, hand-over between tasks, several names at once) is built on these two traits by
//! [`Locks`](crate::Locks), once, for all backends.
//!
//! # The contract
//!
//! * **(a) A dropped acquisition leaves nothing.** Once the future of `acquire` is dropped, at
//!   whatever await point, nothing is held and nothing is queued, at the latest after a bound that the
//!   backend states.
//! * **(b) A dropped hold frees the lock**, soon, and without blocking, panicking, or needing a
//!   runtime.
//! * **(c) A release is confirmed.** [`Hold::release`] returns once the store has let go.
//! * **(d) A loss is told.** If the hold can no longer be vouched for, its [`LossSignal`] says so,
//!   before the store may give the lock to another where the store allows that; and it never fires
//!   because of our own release.
//! * **(e) Names are exact.** Two names never share a lock, and one name never maps to two.
//! * **(f) Tokens grow.** The fencing tokens of one name strictly increase in the order of its holds.
//!
//! The `conformance` feature has test cases for each line, to run over a backend of your own.
//!
//! # What a backend need not do
//!
//! `Locks` asks for a name at most once at a time, apart from tries of shared holds, so a backend
//! never sees two tasks of one `Locks` fight. It keeps the clock of timeouts, by dropping the
//! acquisition. And it turns "not now" into the errors that users see.
#![forbid(unsafe_code)]

use std::{borrow::Cow, fmt, future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind},
    name::LockName,
    token::FencingToken,
    watch::LossSignal,
};

/// Alone, or together with others who ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third one")]
pub enum Mode {
    /// Nobody else holds the name meanwhile.
    Exclusive,
    /// Nobody holds the name exclusively meanwhile.
    Shared,
}

/// How long an acquisition may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth one")]
pub enum Wait {
    /// Not at all: now or `None`.
    No,
    /// Until then. The caller keeps this clock and drops the future in time; a backend may use it to
    /// bound what it leaves in the store.
    Until(Instant),
    /// For ever.
    Forever,
}

/// What is asked of a backend.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Exclusive or shared.
    pub mode: Mode,
    /// How long it may take.
    pub wait: Wait,
    /// Leave the name alone for that long after we have used it for a while, because there are peers
    /// who poll; see [`LocksBuilder::polite`](crate::LocksBuilder::polite).
    pub polite: Option<Duration>,
}

impl Request {
    /// An impolite one.
    pub const fn new(mode: Mode, wait: Wait) -> Self {
        Self { mode, wait, polite: None }
    }
}

/// Where the fencing tokens come from, and what they survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fencing {
    /// The clock of the machine and a counter in the store: everything, as long as the clock is not
    /// set back past what the store has lost.
    Clock,
    /// A counter that is on the disk before it is used: everything.
    Durable,
    /// There are none.
    Off,
    /// A counter of this process: nothing outside of it.
    Process,
    /// A counter of the server: its restarts, as long as its clock is not set back; not that another
    /// server takes its place.
    Server,
}

/// What a backend can do, as it was found when it was connected to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capability {
    /// The name of the backend: its URL's scheme.
    pub backend: &'static str,
    /// Whether it has shared mode.
    pub shared: bool,
    /// Whether those who wait in different processes are served in the order of asking.
    pub fair: bool,
    /// Whether a release wakes the next one, without anybody polling.
    pub event_driven: bool,
    /// Where the fencing tokens come from.
    pub fencing: Fencing,
    /// How late a loss is told to those who listen; `None` if a hold cannot be lost.
    pub loss_told_within: Option<Duration>,
    /// What is not as good as it could be, and why: sentences for people.
    pub warnings: Vec<Cow<'static, str>>,
}

impl Capability {
    /// Of a backend without shared mode, order, events, tokens or losses: set what you have.
    pub const fn new(backend: &'static str) -> Self {
        Self {
            backend,
            shared: false,
            fair: false,
            event_driven: false,
            fencing: Fencing::Off,
            loss_told_within: None,
            warnings: Vec::new(),
        }
    }
}

/// Who holds a name, as far as the store tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupancy {
    /// Nobody.
    Free,
    /// Somebody.
    Held {
        /// Exclusively, or together with others.
        mode: Mode,
        /// Who, if the store knows.
        owner: Option<Owner>,
    },
}

/// A holder, as it has described itself or as the store describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Its process.
    pub pid: Option<u32>,
    /// Its host.
    pub host: Option<String>,
    /// Since when it has held the name, or at the earliest.
    pub since: Option<std::time::SystemTime>,
    /// Its fencing token, or one that it has reserved.
    pub token: Option<FencingToken>,
    /// The number of its session on the server, as `KILL` takes it.
    pub session: Option<u64>,
    /// Its user on the server.
    pub user: Option<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.session) {
            (Some(pid), _) => write!(f, "process {pid}")?,
            (None, Some(session)) => write!(f, "session {session}")?,
            (None, None) => f.write_str("somebody")?,
        }
        if let Some(user) = &self.user {
            write!(f, " of {}", user.escape_debug())?;
        }
        if let Some(host) = &self.host {
            write!(f, " on {}", host.escape_debug())?;
        }
        if let Some(since) = self.since.and_then(|since| since.elapsed().ok()) {
            write!(f, " for {since:.1?}")?;
        }
        Ok(())
    }
}

/// A store that names can be held in. The [module's docs](self) have the contract.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// What it hands out.
    type Hold: Hold;

    /// Holds the name, or returns `None` if that is not possible within the wait that was asked for.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from knowing. Errors need not name the lock or the backend: that is added.
    fn acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> impl Future<Output = Result<Option<Self::Hold>, Error>> + Send;

    /// What it can do.
    fn capability(&self) -> Capability;

    /// Holds the name if that can be decided on the spot: what [`acquire`](Self::acquire) does with
    /// [`Wait::No`], for stores that answer without making anybody wait. It saves a future.
    ///
    /// `None` says that it takes a future, and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    #[allow(clippy::type_complexity, reason = "not decided, failed, not to be had, held")]
    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<Self::Hold>, Error>> {
        let _ = (name, request);
        None
    }

    /// The name as the store knows it. Names with one native key are one lock and share a queue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] if the store cannot take the name.
    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        Ok(Cow::Borrowed(name.as_bytes()))
    }

    /// Looks who holds the name, without holding it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the store does not tell; or whatever keeps it from knowing.
    fn inspect(&self, name: &LockName) -> impl Future<Output = Result<Occupancy, Error>> + Send {
        let _ = name;
        async { Err(Error::new(ErrorKind::Unsupported)) }
    }

    /// Removes from the store what has been of no use for that long; returns how many things.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from looking. What cannot be removed safely stays, without an error.
    fn collect_garbage(
        &self,
        older_than: Duration,
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        let _ = older_than;
        async { Ok(0) }
    }

    /// Gives back what is kept for reuse. Called once, when no hold is left.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// The store's word on a hold that goes on: false if it was ours no more. Dropping it changes nothing.
pub type Confirmation = Pin<Box<dyn Future<Output = Result<bool, Error>> + Send>>;

/// One hold of one name. Dropping it frees the name; see the contract in the [module's docs](self).
pub trait Hold: Send + Sync + 'static {
    /// Frees the name, and returns once the store has confirmed it: false if it was ours no more.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from knowing. The hold is gone all the same.
    fn release(self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Asks the store whether it is still ours.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] if it is not; or whatever keeps it from knowing.
    fn verify(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The signal that tells of its loss, the same at each call. A backend that has to look for losses may begin to do so
    /// when this is first called.
    fn watch(&self) -> LossSignal;

    /// Its fencing token; none in shared mode, or without fencing.
    fn token(&self) -> Option<FencingToken>;

    /// Until when the backend vouches for it without hearing from the store; none if without end.
    ///
    /// It is the backend that calls it lost at that time.
    fn valid_until(&self) -> Option<Instant> {
        None
    }

    /// Makes the hold ready for another task of this process that waits for it, with a new, larger
    /// token; false if it has to be given back, because other processes should have their turn, or it
    /// is lost.
    fn pass_on(&mut self) -> bool {
        false
    }

    /// Asks the store whether the hold was ours up to now, for one who leaves it to others of this process,
    /// by passing it on or to the readers who have joined it, and waits for his own release to be
    /// confirmed. `None` if no question is needed: the backend made sure when it was
    /// [passed on](Self::pass_on), or it cannot be lost.
    ///
    /// The hold goes on meanwhile, and may end before the future does.
    fn confirm(&self) -> Option<Confirmation> {
        None
    }

    /// Whether a task of this process may join this shared hold, instead of asking the store for one
    /// of its own; false if others are queued for the name.
    fn admits_reader(&self) -> bool {
        false
    }
}
