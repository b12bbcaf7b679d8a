//! Reaching the store and taking the lock, until a signal ends it.
//!
//! Whatever ends it, the store holds nothing of ours when this returns without a lease (C2).

use std::time::Duration;

use keyward::{Error, Lease, Locks};
use tokio::{select, time::timeout};

use crate::{
    args::{Lock, Store},
    exit::{self, End},
    say, secret,
    signals::Signals,
};

/// How long a store may take to take notice of our going. A store that does not answer finds out by
/// itself: our connections and files are closed by then.
pub(crate) const GOODBYE: Duration = Duration::from_secs(3);

/// How to ask for the lock.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) wait: Wait,
    pub(crate) shared: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Wait {
    No,
    Forever,
    For(Duration),
}

impl Wait {
    pub(crate) const fn within(limit: Option<Duration>) -> Self {
        match limit {
            Some(limit) => Self::For(limit),
            None => Self::Forever,
        }
    }
}

/// The URL of the store, which is said one way or the other.
pub(crate) fn url(store: &Store) -> Result<&str, End> {
    store.url.as_deref().ok_or_else(|| {
        say::line("no store: say --url, or better, set KEYWARD_URL, as in file:///run/lock/backup");
        End::Code(exit::USAGE)
    })
}

/// The store, under the prefix.
pub(crate) async fn connect(lock: &Lock) -> Result<Locks, End> {
    let url = url(&lock.store)?;
    if secret::is_in(&lock.name) || secret::is_in(&lock.prefix) {
        say::line(
            "a URL is no name: it has a password in it, and everybody sees the names of a store",
        );
        return Err(End::Code(exit::USAGE));
    }
    let connected = Locks::builder().prefix(&*lock.prefix).connect(url).await;
    connected.map_err(|error| failure(&error))
}

/// The lock, or how it has ended.
pub(crate) async fn take(
    lock: &Lock,
    terms: Terms,
    signals: &mut Signals,
) -> Result<(Locks, Lease), End> {
    let locks = select! {
        biased;
        signal = signals.end() => return Err(End::Signal(signal)),
        connected = connect(lock) => connected?,
    };
    let asked = select! {
        biased;
        signal = signals.end() => Err(End::Signal(signal)),
        asked = ask(&locks, &lock.name, terms) => asked.map_err(|error| failure(&error)),
    };
    // S2: the thread that listens may not have come to it.
    let asked = match (asked, signals.has_ended()) {
        (Ok(lease), Some(signal)) => {
            drop(lease);
            Err(End::Signal(signal))
        }
        (asked, _) => asked,
    };
    match asked {
        Ok(lease) => Ok((locks, lease)),
        Err(end) => {
            leave(&locks).await;
            Err(end)
        }
    }
}

async fn ask(locks: &Locks, name: &str, terms: Terms) -> Result<Lease, Error> {
    let mut acquire = locks.lock_named(name);
    if terms.shared {
        acquire = acquire.shared();
    }
    match terms.wait {
        Wait::No => acquire.blocking(false).await,
        Wait::Forever => acquire.await,
        Wait::For(limit) => acquire.timeout(limit).await,
    }
}

/// Says what has failed.
pub(crate) fn failure(error: &Error) -> End {
    say::line(say::chain(error));
    End::from(error)
}

/// Leaves the store, so that it need not find out by itself.
pub(crate) async fn leave(locks: &Locks) {
    drop(timeout(GOODBYE, locks.close()).await);
}
