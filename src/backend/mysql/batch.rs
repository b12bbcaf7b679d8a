//! What goes into one statement, and the statement.

use tokio::sync::oneshot;

use super::{hold::MySqlHold, pool::Seat, session::Command, sql, wire::Request};
use crate::{contract::Fencing, error::Error};

/// How many commands go into one statement at most; each is up to 430 bytes of it.
const BATCH: usize = 128;

/// A lock that is given back, and who waits to hear whether it was ours.
pub(super) type Released = (Seat, Option<oneshot::Sender<bool>>);
/// A lock that is asked for, and who asks.
pub(super) type Tried = (Seat, oneshot::Sender<Result<Option<MySqlHold>, Error>>);

/// Commands that go into one statement, and those that have one of their own.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) releases: Vec<Released>,
    pub(super) tries: Vec<Tried>,
    pub(super) verifies: Vec<Option<oneshot::Sender<()>>>,
    /// Whoever is content with any answer at all.
    pub(super) confirms: Vec<oneshot::Sender<()>>,
    pub(super) others: Vec<Command>,
}

impl Batch {
    pub(super) fn add(&mut self, command: Command) {
        match command {
            Command::Release(seat, reply) => self.releases.push((seat, reply)),
            Command::Try(seat, reply) => self.tries.push((seat, reply)),
            Command::Verify(reply) => self.verifies.push(reply),
            Command::Confirm(reply) => self.confirms.push(reply),
            other => self.others.push(other),
        }
    }

    /// Whether there is nothing to be asked but whether the session is alive.
    pub(super) fn has_only_confirms(&self) -> bool {
        let others = self.releases.len() + self.tries.len() + self.verifies.len();
        others + self.others.len() == 0 && !self.confirms.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.releases.len() + self.tries.len() >= BATCH
    }
}

/// Releases and tries, as one request.
pub(super) fn request(releases: &[Released], tries: &[Tried], fencing: Fencing) -> Request {
    let released = releases.iter().map(|(seat, _)| seat.key());
    sql::locks(released, tries.iter().map(|(seat, _)| seat.key()), fencing)
}
