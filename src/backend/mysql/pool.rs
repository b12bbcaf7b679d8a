//! Which session does what.
//!
//! A session that holds locks never waits for one: it could not give back meanwhile, and the server
//! would see deadlocks between holders that know nothing of each other. So sessions *take tries* (and
//! hold what they get, up to [`locks_per_session`](super::MySqlOptions::locks_per_session)) or *wait* for
//! one lock, and come to hold it. One more, the *control* session, holds nothing and stops waits.
//!
//! * **P1** All that is under way for one key, and its lock, is with one session, in the order of
//!   sending: a try never meets our own release on its way. A [`Seat`] says so as long as it lives.
//! * **P2** A session waits with nothing on it: `waits` is set before its load can be seen to be zero,
//!   under the mutex.
//! * **P3** Sessions are filled in their order, the first two with room together, so that those at the
//!   end become empty, and go.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    actor::{self, Opened, PATIENCE, Role},
    errors,
    generation::Membership,
    hold::MySqlHold,
    opening::Opening,
    options::MySqlOptions,
    polite::Windows,
    server::{self, Server},
    session::{Command, Key, Session},
    wait::Waiter,
    wire::Address,
};
use crate::error::{Error, ErrorKind};

/// With so many locks on one session, a second one shares the work: while the server answers one, this
/// process looks at the answer of the other. For 64 tasks with a name each that is 77,000 locks a second
/// instead of 45,000.
const BUSY: u64 = 16;

/// How long a session is left alone after another one could not be opened.
const ALONE: Duration = Duration::from_secs(10);

/// All sessions with one server.
pub(super) struct Pool {
    pub(super) options: MySqlOptions,
    pub(super) address: Address,
    pub(super) windows: Windows,
    /// Of one of several servers: which generation of them its locks belong to.
    pub(super) membership: Option<Membership>,
    /// A forked child has this, and none of the tasks.
    process: u32,
    runtime: Handle,
    tasks: TaskTracker,
    /// Nobody will ask for a lock any more.
    pub(super) closing: CancellationToken,
    /// How many sessions wait, one permit each.
    pub(super) waiting: Arc<Semaphore>,
    clock: AtomicU64,
    state: Mutex<State>,
    opening: Opening,
    pub(super) opening_control: Opening,
}

pub(super) struct State {
    /// What all living sessions are with.
    pub(super) server: Server,
    /// But for the control session, oldest first.
    pub(super) sessions: Vec<Arc<Session>>,
    pub(super) control: Option<Arc<Session>>,
    /// No second session is to be had just to share the work.
    alone_until: Option<Instant>,
    seats: HashMap<Key, (Arc<Session>, usize)>,
    waits: HashMap<Key, Arc<Waiter>>,
}

impl State {
    /// Whether the only session may be given a second one.
    fn may_share(&self) -> bool {
        self.sessions.len() < 2 && self.alone_until.is_none_or(|until| until <= Instant::now())
    }
}

/// A lock's place on a session, from before it is asked for until it has been given back.
pub(super) struct Seat {
    pool: Arc<Pool>,
    session: Arc<Session>,
    key: Key,
    /// Whether `seats` knows it.
    is_listed: bool,
}

impl Seat {
    pub(super) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        self.session.place.load.fetch_sub(1, Ordering::Relaxed);
        if self.is_listed
            && let Some((_, count)) = state.seats.get_mut(&self.key)
        {
            *count -= 1;
            if *count == 0 {
                let removed = state.seats.remove(&self.key);
                drop(state);
                drop(removed);
            }
        }
    }
}

impl Pool {
    pub(super) fn new(
        options: MySqlOptions,
        address: Address,
        server: Server,
        membership: Option<Membership>,
    ) -> Arc<Self> {
        let state = State {
            server,
            sessions: Vec::new(),
            control: None,
            alone_until: None,
            seats: HashMap::new(),
            waits: HashMap::new(),
        };
        Arc::new(Self {
            waiting: Arc::new(Semaphore::new(options.max_waiters.min(Semaphore::MAX_PERMITS))),
            options,
            address,
            windows: Windows::default(),
            membership,
            process: std::process::id(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            clock: AtomicU64::new(0),
            state: Mutex::new(state),
            opening: Opening::default(),
            opening_control: Opening::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn server(&self) -> Server {
        self.state().server.clone()
    }

    /// The session of that number, if it is one of ours.
    pub(super) fn session(&self, id: u64) -> Option<Arc<Session>> {
        self.state().sessions.iter().find(|session| session.id == id).cloned()
    }

    /// The order of what happens to sessions.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Refuses in a child that was forked from the process of these sessions.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        check_process(self.process)
    }

    /// Starts a task of the pool's, which goes on whoever waits for it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    // Sessions come and go.

    /// Opens a session; it is on the list of those that take tries, or marked as one that waits.
    pub(super) fn open(
        self: &Arc<Self>,
        role: Role,
    ) -> BoxFuture<'static, Result<Arc<Session>, Error>> {
        let (reply, opened) = oneshot::channel();
        self.spawn(actor::open(Arc::clone(self), role, reply));
        let opened = opened.map(|opened| {
            let opened = opened.unwrap_or_else(|_| {
                let message = "the runtime in which these locks were connected has ended";
                Err(Error::new(ErrorKind::Unavailable).with_message(message))
            });
            opened.map(Opened::take)
        });
        opened.boxed()
    }

    /// A session is there, and with that server (V1).
    pub(super) fn add(
        &self,
        session: &Arc<Session>,
        server: &Server,
        role: Role,
    ) -> Result<(), Error> {
        let mut state = self.state();
        if state.server.family != server.family {
            return Err(server::refused("it is of another kind than the one before: connect anew"));
        }
        let is_another = state.server.identity != server.identity;
        if is_another {
            if state.sessions.iter().any(|session| !session.is_over()) {
                return Err(errors::gone(
                    &self.address.place,
                    "another server has answered than the one where our sessions are,",
                ));
            }
            state.server = server.clone();
        }
        match role {
            Role::Control => state.control = Some(Arc::clone(session)),
            Role::Tries => state.sessions.push(Arc::clone(session)),
            Role::Waits => {
                session.place.waits.store(true, Ordering::Relaxed);
                state.sessions.push(Arc::clone(session));
            }
        }
        drop(state);
        if is_another {
            tracing::warn!(server = &*self.address.place, "another server has taken its place");
        }
        Ok(())
    }

    /// A session is over.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut state = self.state();
        state.sessions.retain(|other| !Arc::ptr_eq(other, session));
        drop(state);
        self.let_control_go();
    }

    /// A connection has ended unexpectedly: whoever is connected to that server should look.
    pub(super) fn alarm(&self) {
        let sessions = self.state().sessions.clone();
        for session in sessions {
            session.send(Command::Verify(None));
        }
    }

    /// Whether a session that has long had nothing to do may go; it gets nothing to do from now on.
    pub(super) fn may_go(&self, session: &Arc<Session>) -> bool {
        let mut state = self.state();
        let is_idle = session.place.load.load(Ordering::Relaxed) == 0
            && !session.place.waits.load(Ordering::Relaxed);
        let is_first = state.sessions.first().is_some_and(|first| Arc::ptr_eq(first, session));
        let goes = is_idle && (!is_first || self.closing.is_cancelled());
        if goes {
            state.sessions.retain(|other| !Arc::ptr_eq(other, session));
        }
        goes
    }

    /// Ends what holds nothing, and later the rest.
    pub(super) fn begin_closing(&self) {
        self.closing.cancel();
        let sessions = self.state().sessions.clone();
        for session in sessions {
            session.send(Command::Retire);
        }
        self.tasks.close();
        self.let_control_go();
    }

    /// Waits until all sessions have ended.
    pub(super) async fn closed(&self) {
        self.tasks.wait().await;
    }

    // Who does what.

    /// A seat where the key has one already, or on the first session with room (P1, P3).
    fn find_seat(self: &Arc<Self>, key: &Key) -> Option<Seat> {
        let mut state = self.state();
        let room = u64::try_from(self.options.locks_per_session).unwrap_or(u64::MAX);
        let seated = state.seats.get(key).map(|(session, _)| session);
        let session = match seated.filter(|session| session.is_usable()) {
            Some(session) => Arc::clone(session),
            None => {
                let has_room = |session: &&Arc<Session>| {
                    session.is_usable()
                        && !session.place.waits.load(Ordering::Relaxed)
                        && session.place.load.load(Ordering::Relaxed) < room
                };
                let load = |session: &Session| session.place.load.load(Ordering::Relaxed);
                let mut with_room = state.sessions.iter().filter(has_room).take(2);
                let first = with_room.next()?;
                let session = match with_room.next() {
                    Some(second) if load(first) >= BUSY && load(second) < load(first) => second,
                    None if load(first) >= BUSY && state.may_share() => return None,
                    _ => first,
                };
                Arc::clone(session)
            }
        };
        Some(self.seat_on(&mut state, session, key))
    }

    fn seat_on(self: &Arc<Self>, state: &mut State, session: Arc<Session>, key: &Key) -> Seat {
        session.place.load.fetch_add(1, Ordering::Relaxed);
        let fresh = || (Arc::clone(&session), 0);
        let (seated, count) = state.seats.entry(Key::clone(key)).or_insert_with(fresh);
        if Arc::ptr_eq(seated, &session) {
            *count += 1;
            return Seat { pool: Arc::clone(self), session, key: Key::clone(key), is_listed: true };
        }
        // It has one on a session that is of no use any more, or somebody else locks through the same
        // backend: then the server sorts it out.
        Seat { pool: Arc::clone(self), session, key: Key::clone(key), is_listed: false }
    }

    /// A session that has waited holds the lock now, and takes tries.
    pub(super) fn seat_waiter(self: &Arc<Self>, session: &Arc<Session>, key: &Key) -> Seat {
        let mut state = self.state();
        let seat = self.seat_on(&mut state, Arc::clone(session), key);
        session.place.waits.store(false, Ordering::Relaxed);
        seat
    }

    /// A session that has waited has got nothing.
    pub(super) fn stop_waiting(&self, session: &Session) {
        let _state = self.state();
        session.place.waits.store(false, Ordering::Relaxed);
    }

    async fn seat(self: &Arc<Self>, key: &Key) -> Result<Seat, Error> {
        if let Some(seat) = self.find_seat(key) {
            return Ok(seat);
        }
        let key = Arc::clone(key);
        self.aside(|pool| async move { pool.open_seat(&key).await }).await
    }

    async fn open_seat(self: &Arc<Self>, key: &Key) -> Result<Seat, Error> {
        let open = || async {
            self.open(Role::Tries).await.map(drop).inspect_err(|_| {
                // If there is one with room, it was only to be helped.
                self.state().alone_until = Some(Instant::now() + ALONE);
            })
        };
        self.opening.open(|| self.find_seat(key), open).await
    }

    /// A session that holds nothing, to wait with (P2). The last one, so that the first stay full.
    ///
    /// None if there are enough: a lock that was waited for keeps its session, alone as it may be, and so
    /// the sessions of a process that has waited for all it holds would be as many as its locks.
    pub(super) async fn waiting_session(self: &Arc<Self>) -> Result<Option<Arc<Session>>, Error> {
        let idle = |session: &&Arc<Session>| {
            session.is_usable()
                && session.place.load.load(Ordering::Relaxed) == 0
                && !session.place.waits.swap(true, Ordering::Relaxed)
        };
        let (found, are_enough) = {
            let state = self.state();
            let found = state.sessions.iter().rev().find(idle).cloned();
            (found, state.sessions.len() >= self.most_sessions(&state))
        };
        match found {
            Some(session) => Ok(Some(session)),
            None if are_enough => Ok(None),
            None => self.open(Role::Waits).await.map(Some),
        }
    }

    /// Those that would do for what is held, and for each that may wait one that waits and two that have
    /// waited.
    fn most_sessions(&self, state: &State) -> usize {
        let load = |session: &Arc<Session>| session.place.load.load(Ordering::Relaxed);
        let load = usize::try_from(state.sessions.iter().map(load).sum::<u64>());
        let load = load.unwrap_or(usize::MAX).div_ceil(self.options.locks_per_session);
        load.saturating_add(self.options.max_waiters.saturating_mul(3))
    }

    /// Locks if it is free. An error that is retryable says that the session has failed.
    pub(super) async fn try_lock(self: &Arc<Self>, key: &Key) -> Result<Option<MySqlHold>, Error> {
        let seat = self.seat(key).await?;
        let session = Arc::clone(seat.session());
        let (reply, tried) = oneshot::channel();
        session.send(Command::Try(seat, reply));
        self.answer(tried).await?
    }

    /// What a session replies, or that it does not.
    pub(super) async fn answer<T>(&self, reply: oneshot::Receiver<T>) -> Result<T, Error> {
        let place = &self.address.place;
        match timeout(PATIENCE, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(e)) => {
                Err(errors::gone(place, "the session has ended with the server").with_source(e))
            }
            Err(e) => Err(errors::gone(place, "no answer from the server").with_source(e)),
        }
    }

    // Waits that are given up.

    /// The wait for a key that this process has given up, if it is not over yet.
    pub(super) fn wait_for(&self, key: &Key) -> Option<Arc<Waiter>> {
        self.state().waits.get(key).cloned()
    }

    pub(super) fn list_wait(&self, key: &Key, waiter: &Arc<Waiter>) {
        let mut state = self.state();
        state.waits.entry(Key::clone(key)).or_insert_with(|| Arc::clone(waiter));
    }

    pub(super) fn unlist_wait(&self, key: &Key, waiter: &Arc<Waiter>) {
        let mut state = self.state();
        if state.waits.get(key).is_some_and(|listed| Arc::ptr_eq(listed, waiter)) {
            let removed = state.waits.remove(key);
            drop(state);
            drop(removed);
        }
    }

    /// How long somebody who polls sleeps: at random, so that pollers do not stay in step.
    pub(super) fn pause(&self) -> Duration {
        use std::hash::{BuildHasher, Hasher};

        let random = std::hash::RandomState::new().build_hasher().finish();
        Duration::from_millis(50 + random % 100)
    }
}

/// Refuses in a child that was forked from that process.
pub(super) fn check_process(process: u32) -> Result<(), Error> {
    if std::process::id() == process {
        return Ok(());
    }
    let message = "these locks belong to the process that this one was forked from: connect anew";
    Err(Error::new(ErrorKind::Unavailable).with_message(message))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("server", &self.address.place)
            .field("sessions", &self.state().sessions.len())
            .finish_non_exhaustive()
    }
}
