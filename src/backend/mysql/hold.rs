//! A lock of a session, as the contract wants it.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::{FutureExt, join};
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
    watch::{LeaseState, LossReason, LossSignal, Lost},
};

/// For how long tasks of one process may pass a lock on before other processes have their turn. Longer
/// than four hand-overs of work that is short; work that is long gains nothing by it.
const STREAK: Duration = Duration::from_millis(5);

/// How long the session may take to come to what is asked of it: an answer that is under way, and ours.
const REPLY: Duration = PATIENCE.saturating_mul(2);

/// A hold of a name on a server, or on two of several. It is one of the locks of a session on each.
pub struct MySqlHold {
    /// None once its release has been sent.
    seat: Option<Seat>,
    pool: Arc<Pool>,
    signal: LossSignal,
    tokens: Option<Tokens>,
    polite: Option<Duration>,
    granted: Instant,
    handed_over: u64,
    /// The same name on another server, which its holder has to hold as well; with the same signal.
    twin: Option<Box<Self>>,
}

impl MySqlHold {
    pub(super) fn new(
        pool: Arc<Pool>,
        seat: Seat,
        signal: LossSignal,
        tokens: Option<Tokens>,
    ) -> Self {
        let granted = Instant::now();
        Self {
            seat: Some(seat),
            pool,
            signal,
            tokens,
            polite: None,
            granted,
            handed_over: 0,
            twin: None,
        }
    }

    pub(super) fn with_tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    pub(super) fn set_polite(&mut self, polite: Option<Duration>) {
        self.polite = polite;
    }

    /// Sends the release; what comes of it, once it is waited for.
    fn let_go(&mut self) -> impl Future<Output = Result<bool, Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.pool.address.place);
        let session = Arc::clone(self.seat().session());
        // That it was still locked there says nothing of other servers, where it may be at home by now, if
        // we have been stopped, and whoever tells of losses has not come to it.
        let lost = matches!(self.signal.state(), LeaseState::Lost(_))
            || self.pool.membership.is_some() && session.valid_until() <= Boot::now();
        self.give_back(Some(reply));
        async move {
            match word(answer, &session, &place).await {
                _ if lost => Ok(false),
                was_ours => Ok(was_ours? == Some(true)),
            }
        }
    }

    async fn verify_here(&self) -> Result<(), Error> {
        let place = &self.pool.address.place;
        let (reply, answer) = oneshot::channel();
        self.seat().session().send(Command::Verify(Some(reply)));
        let answer = timeout(REPLY, answer).await;
        let lost = || {
            let message = format!("the lease was lost: it is not ours on the server at {place}");
            Err(Error::new(ErrorKind::Lost).with_message(message))
        };
        if let LeaseState::Lost(reason) = self.signal.state() {
            if reason == LossReason::Superseded {
                let message = format!("the lease was lost: {reason} (says the server at {place})");
                return Err(Error::new(ErrorKind::Lost).with_message(message));
            }
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

    /// Whether it may be left to another task without asking the server.
    fn may_go_on(&self) -> bool {
        self.seat().session().valid_until() > Boot::now()
            && self.polite.is_none_or(|gap| self.pool.windows.away(gap).is_none())
    }

    fn confirm_here(&self) -> impl Future<Output = Result<bool, Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.pool.address.place);
        let session = Arc::clone(self.seat().session());
        session.send(Command::Confirm(reply));
        async move { Ok(word(answer, &session, &place).await?.is_some()) }
    }

    /// Makes one hold of two of the same name on two servers; `None` if one of them has been lost.
    ///
    /// The tokens of both are counted up to the larger one *before* it is used, while both are held: whoever
    /// holds the name after us counts on one of these servers at least.
    pub(super) async fn join(mut self, mut other: Self) -> Result<Option<Self>, Error> {
        if let (Some(ours), Some(theirs)) = (self.tokens, other.tokens) {
            let [ours, theirs] = [ours.last(), theirs.last()];
            let behind = if ours < theirs { &self } else { &other };
            if ours != theirs {
                behind.raise(ours.max(theirs)).await?;
            }
            self.tokens = if ours < theirs { other.tokens } else { self.tokens };
        }
        let [session, its] = [&self, &other].map(|hold| Arc::clone(hold.seat().session()));
        let signal = self.signal.clone();
        let is_theirs = its.join(other.seat().key(), &other.signal, &signal, &session);
        other.signal = signal;
        let is_ours = session.join(self.seat().key(), &self.signal, &self.signal, &its);
        let is_lost = matches!(self.signal.state(), LeaseState::Lost(_));
        self.twin = Some(Box::new(other));
        Ok((is_theirs && is_ours && !is_lost).then_some(self))
    }

    async fn raise(&self, last: u64) -> Result<(), Error> {
        let (reply, raised) = oneshot::channel();
        let key = Arc::clone(self.seat().key());
        self.seat().session().send(Command::Raise(key, last, reply));
        self.pool.answer(raised).await?
    }

    /// Gives it back, with the server's word.
    pub(super) async fn give_up(mut self) -> Result<bool, Error> {
        self.let_go().await
    }

    pub(super) fn lost(&self) -> Lost {
        self.signal.lost()
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
        let Some(mut twin) = self.twin.take() else { return self.let_go().await };
        let both = join(self.let_go(), twin.let_go()); // sent, both of them
        Box::pin(both.map(of_both)).await
    }

    async fn verify(&self) -> Result<(), Error> {
        let Some(twin) = &self.twin else { return self.verify_here().await };
        let (ours, theirs) = Box::pin(join(self.verify_here(), twin.verify_here())).await;
        ours.and(theirs)
    }

    fn watch(&self) -> LossSignal {
        self.signal.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        self.tokens.map(Tokens::present)
    }

    fn valid_until(&self) -> Option<Instant> {
        let ours = self.seat().session().valid_until();
        let theirs = self.twin.as_ref().map(|twin| twin.seat().session().valid_until());
        Some(theirs.map_or(ours, |theirs| ours.min(theirs)).to_instant())
    }

    fn pass_on(&mut self) -> bool {
        let goes = self.handed_over < HAND_OVERS
            && self.granted.elapsed() < STREAK
            && self.signal.state() == LeaseState::Held
            && self.may_go_on()
            && self.twin.as_ref().is_none_or(|twin| twin.may_go_on())
            && self.tokens.as_mut().is_none_or(Tokens::advance)
            && self.renew_signal();
        self.handed_over += u64::from(goes);
        goes
    }

    /// Who kills a session tells nobody: what is left to others of this process without a word of the
    /// server's may be gone already.
    fn confirm(&self) -> Option<Confirmation> {
        let ours = self.confirm_here();
        let Some(twin) = &self.twin else { return Some(Box::pin(ours)) };
        Some(Box::pin(join(ours, twin.confirm_here()).map(of_both)))
    }
}

impl MySqlHold {
    /// A loss of the next holder is none of the last one's; of a name that is locked on two servers, where
    /// both sessions know of one signal, it is told to either. False if it is lost.
    fn renew_signal(&mut self) -> bool {
        if self.twin.is_some() {
            return true;
        }
        let seat = self.seat();
        match seat.session().pass_lease_on(seat.key(), &self.signal) {
            Some(signal) => self.signal = signal,
            None => return false,
        }
        true
    }
}

/// What two servers say of one hold.
fn of_both((ours, theirs): (Result<bool, Error>, Result<bool, Error>)) -> Result<bool, Error> {
    match (ours, theirs) {
        // One that was lost says it all.
        (Ok(false), _) | (_, Ok(false)) => Ok(false),
        (ours, theirs) => Ok(ours? && theirs?),
    }
}
