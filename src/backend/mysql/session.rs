//! One session with the server, as those see it who do not own its connection.
//!
//! The connection belongs to a task ([`actor`](super::actor)); others send it [`Command`]s, and dropping
//! what they wait with is all they have to do to lose interest.
//!
//! * **S1** A lease is in `leases` from its grant until its release is sent or the session is over; so
//!   who finds the session over has told every lease, and a release is never told as a loss.
//! * **S2** `proven_until` is the time of *sending* of the last statement that was answered well, plus
//!   the ttl less a tenth. The server counts from when it has answered, which is later, so it never
//!   frees a lock before that.
//! * **S3** Once over, a session grants nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{hold::MySqlHold, pool::Seat, wait::Wait, wire::Row};
use crate::{
    deadline::{self, Boot, Expires},
    error::Error,
    watch::{LossReason, LossSignal, News},
};

/// The name as the server knows it.
pub(super) type Key = Arc<[u8]>;

/// What a session's task can be asked for. Who is not answered finds the session gone.
pub(super) enum Command {
    /// A lock, if it is free: with a seat on the session.
    Try(Seat, oneshot::Sender<Result<Option<MySqlHold>, Error>>),
    /// Gives a lock back; whether it was ours.
    Release(Seat, Option<oneshot::Sender<bool>>),
    /// Whether all locks are ours; losses are told through their signals.
    Verify(Option<oneshot::Sender<()>>),
    /// Whether the session is alive; an answer to anything says so.
    Confirm(oneshot::Sender<()>),
    /// Waits for a lock; nothing else is done meanwhile.
    Wait(Wait),
    /// Stops what another session is doing, by its number.
    Interrupt(u64, oneshot::Sender<()>),
    /// Counts the tokens of a lock up to a number, if they are not beyond it.
    Raise(Key, u64, oneshot::Sender<Result<(), Error>>),
    /// Asks something that locks nothing.
    Ask(String, oneshot::Sender<Result<Vec<Row>, Error>>),
    /// Ends the session once it holds nothing.
    Retire,
}

/// One session.
pub(super) struct Session {
    /// The server's number for it.
    pub(super) id: u64,
    /// What the server calls itself.
    pub(super) server: Option<String>,
    /// When it began to connect, and when it was there, in the order of the whole pool.
    pub(super) opened: [u64; 2],
    commands: mpsc::UnboundedSender<Command>,
    /// How long a proof is good for.
    validity: Duration,
    proven_until: AtomicU64,
    /// It owes an answer for too long, and is given nothing more.
    stalled: AtomicBool,
    leases: Mutex<Leases>,
    /// Woken when the session is over, for the task that waits for an answer.
    pub(super) ended: Notify,
    /// Changed under the pool's mutex only.
    pub(super) place: Place,
}

/// How the pool sees a session.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Locks that are held, asked for, or being given back.
    pub(super) load: AtomicU64,
    /// It waits for a lock, or is about to.
    pub(super) waits: AtomicBool,
}

#[derive(Default)]
struct Leases {
    held: HashMap<Key, Taken>,
    over: Option<LossReason>,
}

/// A lock that is held.
struct Taken {
    signal: LossSignal,
    since: SystemTime,
    /// The session on another server that has to hold the same name for the same holder.
    twin: Option<Weak<Session>>,
}

impl Taken {
    /// Its session answers again; the other one may not.
    fn resume(&self) {
        let twin = self.twin.as_ref().and_then(Weak::upgrade);
        let is_stalled = || twin.as_ref().is_some_and(|twin| twin.stalled.load(Ordering::SeqCst));
        if is_stalled() {
            return;
        }
        self.signal.resume();
        // It may have stopped to answer in between, and have said so before.
        if is_stalled() {
            self.signal.suspend();
        }
    }
}

impl Leases {
    fn signals(&self) -> impl Iterator<Item = &LossSignal> {
        self.held.values().map(|taken| &taken.signal)
    }
}

impl Session {
    pub(super) fn new(
        id: u64,
        server: Option<String>,
        opened: [u64; 2],
        sent: Boot,
        validity: Duration,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        Self {
            id,
            server,
            opened,
            commands,
            validity,
            proven_until: AtomicU64::new((sent + validity).as_nanos()),
            stalled: AtomicBool::new(false),
            leases: Mutex::default(),
            ended: Notify::new(),
            place: Place::default(),
        }
    }

    /// Has its leases expire in time, whatever its task is doing.
    pub(super) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let session: Weak<Self> = Arc::downgrade(self);
        deadline::watch(session)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be sent is dropped, which tells who waits for it.
    pub(super) fn send(&self, command: Command) {
        drop(self.commands.send(command));
    }

    pub(super) fn valid_until(&self) -> Boot {
        Boot::from_nanos(self.proven_until.load(Ordering::Acquire))
    }

    /// A statement that was sent then has been answered as it should be (S2).
    pub(super) fn prove(&self, sent: Boot) {
        let until = (sent + self.validity).as_nanos();
        self.proven_until.fetch_max(until, Ordering::AcqRel);
        self.hear();
    }

    /// The server answers.
    pub(super) fn hear(&self) {
        if self.stalled.swap(false, Ordering::SeqCst) {
            self.leases().held.values().for_each(Taken::resume);
        }
    }

    /// An answer is overdue; false if nothing is lost by giving the session up.
    pub(super) fn suspend(&self) -> bool {
        self.stalled.store(true, Ordering::SeqCst); // before, see `Taken::resume`
        let leases = self.leases();
        leases.signals().for_each(LossSignal::suspend);
        !leases.held.is_empty()
    }

    /// Whether it may be given something to do.
    pub(super) fn is_usable(&self) -> bool {
        !self.stalled.load(Ordering::Acquire) && !self.commands.is_closed()
    }

    /// Whether it was given up because it did not answer; what it was asked to do last may have been done.
    pub(super) fn is_unheard(&self) -> bool {
        self.leases().over == Some(LossReason::Expired)
    }

    pub(super) fn is_over(&self) -> bool {
        self.leases().over.is_some()
    }

    /// Takes down a lock that the server has granted; none if the session is over, or past what it has
    /// proven.
    pub(super) fn begin_lease(&self, key: &Key) -> Option<LossSignal> {
        let mut leases = self.leases();
        let until = self.valid_until();
        if leases.over.is_some() || until <= Boot::now() {
            return None;
        }
        let signal = LossSignal::new();
        let is_first = leases.held.is_empty();
        let taken = Taken { signal: signal.clone(), since: SystemTime::now(), twin: None };
        leases.held.insert(Arc::clone(key), taken);
        drop(leases);
        if is_first {
            deadline::arm(until);
        }
        Some(signal)
    }

    /// From now on the lease hears of both sessions: what one of them tells, its signal tells. False if it is
    /// not this session's any more.
    pub(super) fn join(
        &self,
        key: &Key,
        own: &LossSignal,
        signal: &LossSignal,
        twin: &Arc<Self>,
    ) -> bool {
        let mut leases = self.leases();
        let taken = leases.held.get_mut(key).filter(|taken| taken.signal.is(own));
        let Some(taken) = taken else { return false };
        taken.signal = signal.clone();
        taken.twin = Some(Arc::downgrade(twin));
        let is_stalled = self.stalled.load(Ordering::SeqCst);
        drop(leases);
        if is_stalled {
            signal.suspend();
        }
        true
    }

    /// Nobody is to be told of the loss of this any more (S1). False if it is not this session's, or not
    /// for that holder: there is nothing to give back.
    pub(super) fn end_lease(&self, key: &Key, signal: &LossSignal) -> bool {
        let mut leases = self.leases();
        let is_held = leases.held.get(key).is_some_and(|held| held.signal.is(signal));
        let ended = if is_held { leases.held.remove(key) } else { None };
        drop(leases);
        ended.is_some()
    }

    /// The lease goes on for somebody else, whose losses are none of the last holder's: a signal of its own.
    /// None if it is lost.
    pub(super) fn pass_lease_on(&self, key: &Key, signal: &LossSignal) -> Option<LossSignal> {
        let mut leases = self.leases();
        let taken = leases.held.get_mut(key).filter(|taken| taken.signal.is(signal))?;
        taken.signal = LossSignal::new();
        Some(taken.signal.clone())
    }

    pub(super) fn has_lease(&self, key: &Key) -> bool {
        self.leases().held.contains_key(key)
    }

    /// Since when it holds that lock for somebody.
    pub(super) fn held_since(&self, key: &Key) -> Option<SystemTime> {
        self.leases().held.get(key).map(|taken| taken.since)
    }

    /// The locks that it holds for somebody.
    pub(super) fn held(&self) -> Vec<Key> {
        self.leases().held.keys().cloned().collect()
    }

    /// One of its locks is not ours.
    pub(super) fn lose(&self, key: &Key) {
        let lost = self.leases().held.remove(key);
        if let Some(Taken { signal, .. }) = lost {
            signal.lose(LossReason::NotOwner);
        }
    }

    /// The session is over, and all that it held is lost. The first reason counts.
    pub(super) fn end(&self, reason: LossReason) {
        self.tell_end(reason).log();
    }

    fn tell_end(&self, reason: LossReason) -> News {
        let mut leases = self.leases();
        leases.over.get_or_insert(reason);
        let lost = std::mem::take(&mut leases.held);
        drop(leases); // wakes tasks: not under the mutex
        let news = LossSignal::lose_all(lost.values().map(|taken| &taken.signal), reason);
        self.ended.notify_one();
        news
    }
}

impl Expires for Session {
    fn deadline(&self) -> Option<Boot> {
        let leases = self.leases();
        (!leases.held.is_empty()).then(|| self.valid_until())
    }

    fn expire(&self) {
        // It may have been proven since the thread has looked.
        if self.valid_until() <= Boot::now() {
            self.tell_end(LossReason::Expired).log_elsewhere();
        }
    }
}
