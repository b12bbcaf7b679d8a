//! Who is measured: keyward, the server's own calls, and what people do today.

use std::path::Path;

use keyward::{Lease, Locks, Released};
use keyward_benches::crew::{Outcome, text};
use tokio::runtime::{Builder, Runtime};

use crate::session::Session;

/// The name that all want, where there is but one.
pub(crate) const NAME: &str = "keyward-bench";

/// Who takes the lock, in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Server,
    Keyward,
    KeywardTwo,
    Tooz,
}

impl Who {
    const ALL: [Self; 4] = [Self::Server, Self::Keyward, Self::KeywardTwo, Self::Tooz];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "the server's own: sessions that block in GET_LOCK (B)",
            Self::Keyward => "keyward, current-thread runtime",
            Self::KeywardTwo => "keyward, two workers",
            Self::Tooz => "tooz 9.1 (Python)",
        }
    }

    /// Its name among the arguments of a child.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Keyward => "keyward",
            Self::KeywardTwo => "keyward-two",
            Self::Tooz => "tooz",
        }
    }

    pub(crate) fn parse(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.argument() == argument)
    }

    pub(crate) fn runtime(self) -> Runtime {
        if self == Self::KeywardTwo { two_workers() } else { current_thread() }
    }
}

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// How a task locks names, one at a time.
#[derive(Debug)]
pub(crate) enum Locker {
    /// Blocking calls on a session of its own.
    Raw(Session),
    /// The same, prepared.
    Prepared(Session),
    /// Leases whose release is awaited.
    Confirmed(Locks, Option<Lease>),
    /// Leases that are dropped.
    Dropped(Locks, Option<Lease>),
}

impl Locker {
    /// `target`: a socket for the server's own, or a URL.
    pub(crate) async fn new(who: Who, target: &str) -> Outcome<Self> {
        match who {
            Who::Server => Ok(Self::Raw(Session::open(Path::new(target)).await?)),
            Who::Keyward | Who::KeywardTwo => Ok(Self::Confirmed(connect(target).await?, None)),
            Who::Tooz => Err("it is not written in Rust".to_owned()),
        }
    }

    pub(crate) async fn acquire(&mut self, name: &str) -> Outcome<()> {
        match self {
            Self::Raw(session) => match session.get(name, 60).await? {
                true => Ok(()),
                false => Err("not within a minute".to_owned()),
            },
            Self::Prepared(session) => session.get_prepared(name).await,
            Self::Confirmed(locks, lease) | Self::Dropped(locks, lease) => {
                *lease = Some(locks.lock_named(name).await.map_err(text)?);
                Ok(())
            }
        }
    }

    pub(crate) async fn release(&mut self, name: &str) -> Outcome<()> {
        match self {
            Self::Raw(session) => session.release(name).await,
            Self::Prepared(session) => session.release_prepared(name).await,
            Self::Confirmed(_, lease) => {
                let lease = lease.take().ok_or("nothing is held")?;
                confirmed(lease.release().await)
            }
            Self::Dropped(_, lease) => {
                drop(lease.take());
                Ok(())
            }
        }
    }

    /// Ends it, and what it shares with others.
    pub(crate) async fn close(self) -> Outcome<()> {
        match self {
            Self::Raw(session) | Self::Prepared(session) => session.close().await,
            Self::Confirmed(locks, _) | Self::Dropped(locks, _) => {
                locks.close().await;
                Ok(())
            }
        }
    }
}

pub(crate) async fn connect(url: &str) -> Outcome<Locks> {
    Locks::connect(url).await.map_err(text)
}

/// A release that has found what it should.
pub(crate) fn confirmed(released: Result<Released, keyward::Error>) -> Outcome<()> {
    match released.map_err(text)? {
        Released::Released => Ok(()),
        Released::WasLost => Err("it was lost".to_owned()),
    }
}
