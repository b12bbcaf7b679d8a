//! A lock of a session, as the contract wants it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    actor::PATIENCE,
    pool::{Pool, Seat},
    session::{Command, Session},
    token::{HAND_OVERS, Tokens},
};
use crate::{
    contract::{Confirmation, Hold},
    deadline::Boot,
    error::{Error, ErrorKind},
    token::FencingToken,
    watch::{LeaseState, LossSignal},
};

/// For how long tasks of one process may pass a lock on before other processes have their turn. Longer
/// than four hand-overs of work that is short; work that is long gains nothing by it.
const STREAK: Duration = Duration::from_millis(5);

/// How long the session may take to come to what is asked of it: an answer that is under way, and ours.
const REPLY: Duration = PATIENCE.saturating_mul(2);

/// A hold of a name on a server. It is one of the locks of a session.
pub struct MySqlHold {
    /// None once its release has been sent.
    seat: Option<Seat>,
    pool: Arc<Pool>,
    signal: LossSignal,
    tokens: Option<Tokens>,
    polite: Option<Duration>,
    granted: Instant,
    handed_over: u64,
}

impl MySqlHold {
    pub(super) fn new(
        pool: Arc<Pool>,
        seat: Seat,
        signal: LossSignal,
        tokens: Option<Tokens>,
    ) -> Self {
        let granted = Instant::now();
        Self { seat: Some(seat), pool, signal, tokens, polite: None, granted, handed_over: 0 }
    }

    pub(super) fn with_tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    pub(super) fn set_polite(&mut self, polite: Option<Duration>) {
        self.polite = polite;
    }

    fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("taken by the release only")
    }

    /// Sends the release, if that has not been done.
    fn give_back(&mut self, reply: Option<oneshot::Sender<bool>>) {
        let Some(seat) = self.seat.take() else { return };
        if self.polite.is_some() {
            self.pool.windows.used(seat.key());
        }
        let session = Arc::clone(seat.session());
        if session.end_lease(seat.key(), &self.signal) {
            session.send(Command::Release(seat, reply));
        } else if let Some(reply) = reply {
            reply.send(false).ok(); // it had been lost
        }
    }
}

/// What the session says of a lock that was held up to now.
async fn word<T>(
    answer: oneshot::Receiver<T>,
    session: &Session,
    place: &str,
) -> Result<Option<T>, Error> {
    let unconfirmed = || {
        let message = format!("the release was not confirmed by the server at {place}");
        Error::new(ErrorKind::Unavailable).with_message(message)
    };
    match timeout(REPLY, answer).await {
        Ok(Ok(word)) => Ok(Some(word)),
        // Held until it was released, as far as anybody knows.
        Ok(Err(_)) if session.is_unheard() => Err(unconfirmed()),
        // The session has ended, and the lock with it.
        Ok(Err(_)) => Ok(None),
        Err(e) => Err(unconfirmed().with_source(e)),
    }
}

impl fmt::Debug for MySqlHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.seat.as_ref().map(|seat| seat.session().id);
        f.debug_struct("MySqlHold").field("session", &session).finish_non_exhaustive()
    }
}

impl Drop for MySqlHold {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

impl Hold for MySqlHold {
    async fn release(mut self) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.pool.address.place);
        let session = Arc::clone(self.seat().session());
        let lost = matches!(self.signal.state(), LeaseState::Lost(_));
        self.give_back(Some(reply));
        match word(answer, &session, &place).await {
            _ if lost => Ok(false),
            was_ours => Ok(was_ours? == Some(true)),
        }
    }

    async fn verify(&self) -> Result<(), Error> {
        let place = &self.pool.address.place;
        let (reply, answer) = oneshot::channel();
        self.seat().session().send(Command::Verify(Some(reply)));
        let answer = timeout(REPLY, answer).await;
        let lost = || {
            let message = format!("the lease was lost: it is not ours on the server at {place}");
            Err(Error::new(ErrorKind::Lost).with_message(message))
        };
        if matches!(self.signal.state(), LeaseState::Lost(_)) {
            return lost();
        }
        match answer {
            Ok(Ok(())) if self.seat().session().valid_until() > Boot::now() => Ok(()),
            Ok(_) => lost(),
            Err(e) => {
                let message = format!("no answer from the server at {place}");
                Err(Error::new(ErrorKind::Unavailable).with_message(message).with_source(e))
            }
        }
    }

    fn watch(&self) -> LossSignal {
        self.signal.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        self.tokens.map(Tokens::present)
    }

    fn valid_until(&self) -> Option<Instant> {
        Some(self.seat().session().valid_until().to_instant())
    }

    fn pass_on(&mut self) -> bool {
        let goes = self.handed_over < HAND_OVERS
            && self.granted.elapsed() < STREAK
            && self.signal.state() == LeaseState::Held
            && self.seat().session().valid_until() > Boot::now()
            && self.polite.is_none_or(|gap| self.pool.windows.away(gap).is_none())
            && self.tokens.as_mut().is_none_or(Tokens::advance);
        self.handed_over += u64::from(goes);
        goes
    }

    /// Who kills a session tells nobody: what is left to others of this process without a word of the
    /// server's may be gone already.
    fn confirm(&self) -> Option<Confirmation> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.pool.address.place);
        let session = Arc::clone(self.seat().session());
        session.send(Command::Confirm(reply));
        Some(Box::pin(async move { Ok(word(answer, &session, &place).await?.is_some()) }))
    }
}
