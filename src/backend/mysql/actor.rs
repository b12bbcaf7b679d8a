//! The task that owns a connection.
//!
//! It takes commands in the order of sending and puts as many as are there into one statement:
//! releases first, then tries. So how many tasks ask at once costs little, and a lock that is given
//! back and asked for in one breath is one round trip.
//!
//! * **A1** A session that holds something blocks in nothing: tries have no timeout at the server.
//! * **A4** When the task ends, in whatever way, the session is over and off the list.
//!
//! A2 and A3, about answers, are in `proof.rs`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    batch::{self, Batch, Released, Tried},
    errors,
    generation::Membership,
    hold::MySqlHold,
    pool::{Pool, Seat},
    server::{self, Server},
    session::{Command, Key, Session},
    sql::{self, Granted},
    token::{self, Tokens},
    wire::Wire,
};
use crate::{
    contract::Fencing,
    deadline::Boot,
    error::{Error, ErrorKind},
    observe,
    watch::LossReason,
};

/// How long an answer may take before something is wrong. A statement takes a fraction of a
/// millisecond; a server that is starting a backup, or a network that has lost a packet, a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a session stays with nothing to do.
const LINGER: Duration = Duration::from_secs(10);

/// What a session is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Tries,
    Waits,
    Control,
}

/// The task, from connecting to the end.
pub(super) async fn open(
    pool: Arc<Pool>,
    role: Role,
    reply: oneshot::Sender<Result<Opened, Error>>,
) {
    match Actor::connect(pool, role).await {
        Ok(actor) => {
            let (pool, session) = (Arc::clone(&actor.pool), Some(Arc::clone(&actor.session)));
            drop(reply.send(Ok(Opened { pool, role, session })));
            actor.run().await;
        }
        Err(e) => drop(reply.send(Err(e))),
    }
}

/// A session on its way to whoever has asked for it, who may go at any moment, also with the reply
/// already sent.
pub(super) struct Opened {
    pool: Arc<Pool>,
    role: Role,
    session: Option<Arc<Session>>,
}

impl Opened {
    pub(super) fn take(mut self) -> Arc<Session> {
        self.session.take().expect("taken once")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        match self.role {
            // The next one finds it on the list.
            Role::Waits => self.pool.stop_waiting(&session),
            Role::Tries => {}
            // It is on no list.
            Role::Control => session.end(LossReason::Closed),
        }
    }
}

/// What a session does.
pub(super) struct Actor {
    pub(super) wire: Option<Wire>,
    pub(super) session: Arc<Session>,
    pub(super) pool: Arc<Pool>,
    commands: mpsc::UnboundedReceiver<Command>,
    role: Role,
    pub(super) next_beat: Instant,
    idle_since: Instant,
}

impl Actor {
    async fn connect(pool: Arc<Pool>, role: Role) -> Result<Self, Error> {
        let began = pool.tick();
        let mut wire = Wire::connect(&pool.address).await?;
        let set_up = async {
            let server = Server::ask(&mut wire).await?;
            server.check(pool.options.leniency)?; // V3
            let sent = Boot::now();
            let ready = server.prepare(&mut wire, pool.options.ttl, pool.options.fencing).await?;
            if let Some(membership) = &pool.membership {
                membership.admit(&mut wire, pool.options.ttl.as_secs()).await?; // G1
            }
            Ok((server, sent, ready))
        };
        let late =
            |e| errors::gone(&pool.address.place, "no answer from the server").with_source(e);
        let (server, sent, ready) =
            timeout(pool.address.connect_timeout, set_up).await.map_err(late)??;
        pool.windows.set_clock(ready.clock);
        let (sender, commands) = mpsc::unbounded_channel();
        let opened = [began, pool.tick()];
        let validity = pool.options.ttl * 9 / 10;
        let identity = server.identity.clone();
        let session = Session::new(ready.id, identity, opened, sent, validity, sender);
        let session = Arc::new(session);
        session.watch().map_err(|e| {
            let message = "no thread could be started that watches for leases to expire";
            Error::new(ErrorKind::ResourceLimit).with_message(message).with_source(e)
        })?;
        pool.add(&session, &server, role)?;
        let now = Instant::now();
        let next_beat = now + pool.options.heartbeat_or_default();
        let actor =
            Self { wire: Some(wire), session, pool, commands, role, next_beat, idle_since: now };
        observe::connections("mysql", 1.0); // less one when it is dropped
        Ok(actor)
    }

    async fn run(mut self) {
        if let Err(error) = self.work().await {
            tracing::debug!(server = &*self.pool.address.place, %error, "a session has ended");
            self.session.end(LossReason::Closed); // told before the server can let go
            self.wire = None;
            self.pool.alarm();
        }
        // What is being sent at this very moment would stay in the channel, and keep it alive.
        self.commands.close();
        while self.commands.recv().await.is_some() {}
    }

    /// Until the session is not needed any more, or fails.
    async fn work(&mut self) -> Result<(), Error> {
        loop {
            // Also before the first command: whoever has it opened may have gone meanwhile.
            if self.pool.closing.is_cancelled() && self.may_go() {
                break;
            }
            let command = tokio::select! {
                biased;
                () = self.session.ended.notified() => return Err(self.gone("no answer in time from")),
                command = self.commands.recv() => command,
                () = sleep_until(self.next_beat) => None,
            };
            match command {
                Some(command) => self.serve(command).await?,
                None if self.may_go() => break,
                None => {}
            }
            // However much there is to do.
            if self.next_beat <= Instant::now() {
                self.verify().await?;
            }
        }
        if let Some(wire) = self.wire.take() {
            wire.goodbye().await;
        }
        Ok(())
    }

    fn may_go(&self) -> bool {
        if self.role == Role::Control {
            return self.pool.control_may_go();
        }
        (self.idle_since.elapsed() > LINGER || self.pool.closing.is_cancelled())
            && self.pool.may_go(&self.session)
    }

    /// What has come meanwhile, as much as one statement takes; whether anything has.
    fn gather(&mut self, batch: &mut Batch) -> bool {
        let mut some = false;
        while !batch.is_full()
            && let Ok(command) = self.commands.try_recv()
        {
            batch.add(command);
            some = true;
        }
        some
    }

    /// This command, and those that have come with it.
    async fn serve(&mut self, first: Command) -> Result<(), Error> {
        // Who drops a lock often wakes somebody who asks for it: they go together if they can.
        if matches!(first, Command::Release(_, None)) {
            tokio::task::yield_now().await;
        }
        let mut batch = Batch::default();
        batch.add(first);
        self.gather(&mut batch);
        // Who hands over goes before the one that has been handed the lock, whose release is an answer too.
        while batch.has_only_confirms() {
            tokio::task::yield_now().await;
            if !self.gather(&mut batch) {
                break;
            }
        }
        let mut is_alive = false;
        if !batch.releases.is_empty() || !batch.tries.is_empty() {
            self.idle_since = Instant::now();
            is_alive = self.lock_and_release(batch.releases, batch.tries).await?;
        }
        if !batch.verifies.is_empty() {
            self.verify().await?;
        } else if !is_alive && batch.confirms.iter().any(|reply| !reply.is_closed()) {
            let sent = Boot::now();
            let answer = self.ask_until_answered(sql::alive()).await?;
            self.proven_numbers(&answer, sent)?;
        }
        for reply in batch.verifies.into_iter().flatten().chain(batch.confirms) {
            reply.send(()).ok();
        }
        for command in batch.others {
            match command {
                Command::Wait(wait) => {
                    self.idle_since = Instant::now();
                    self.wait(wait).await?;
                }
                Command::Interrupt(id, reply) => {
                    self.ask(format!("KILL QUERY {id}")).await?; // or there is no such session
                    reply.send(()).ok();
                }
                Command::Raise(key, last, reply) => {
                    let answer = self.ask(token::raise(&key, last)).await?;
                    drop(reply.send(server::answered(answer).map(drop)));
                }
                Command::Ask(sql, reply) => {
                    let answer = self.ask(sql).await?;
                    drop(reply.send(server::answered(answer).map(|answer| answer.rows)));
                }
                // Looked at after each batch.
                _ => {}
            }
        }
        Ok(())
    }

    /// One statement for all of them; whether there was one.
    async fn lock_and_release(
        &mut self,
        releases: Vec<Released>,
        mut tries: Vec<Tried>,
    ) -> Result<bool, Error> {
        // The server counts how often a session has locked a name, and grants it again: who asks for
        // what this session holds for somebody else is not to get it. Two of one batch neither.
        let mut asked = std::collections::HashSet::new();
        let mut busy = Vec::new();
        let mut i = 0;
        while i < tries.len() {
            let key = tries[i].0.key();
            if self.session.has_lease(key) || !asked.insert(Key::clone(key)) {
                busy.push(tries.swap_remove(i));
            } else {
                i += 1;
            }
        }
        for (_seat, reply) in busy {
            drop(reply.send(Ok(None)));
        }
        if releases.is_empty() && tries.is_empty() {
            return Ok(false);
        }
        let request = batch::request(&releases, &tries, self.pool.options.fencing);
        let sent = Boot::now();
        let answer = self.ask(request).await?;
        if let Some(refusal) = answer.refused {
            self.recover(releases, tries, &refusal.error).await?;
            return Ok(true);
        }
        let mut numbers = self.proven_numbers(&answer, sent)?.into_iter();
        for (seat, reply) in releases {
            let was_ours = numbers.next() == Some(1);
            drop(seat); // before whoever waits for the reply asks for the name again
            if let Some(reply) = reply {
                reply.send(was_ours).ok();
            }
        }
        let granted: Vec<_> = numbers.by_ref().take(tries.len()).map(Granted::from).collect();
        let token = numbers.next();
        let mut uncounted = None;
        for ((seat, reply), granted) in tries.into_iter().zip(granted) {
            let reply_with = match granted {
                Granted::Yes => {
                    // What keeps one token from being counted keeps the others, each for a while.
                    let outcome = match &uncounted {
                        Some(error) => {
                            drop(self.take_down(seat, token)?);
                            Err(Error::clone(error))
                        }
                        None => self.granted(seat, token).await?,
                    };
                    outcome.inspect_err(|error| uncounted = Some(error.clone())).map(Some)
                }
                Granted::No => {
                    drop(seat);
                    Ok(None)
                }
                Granted::Interrupted => Err(self.gone("a try has been interrupted by")),
            };
            drop(reply.send(reply_with)); // nobody there: it goes back
        }
        Ok(true)
    }

    /// A statement has failed in the middle. What it may have locked is given back, once more.
    async fn recover(
        &mut self,
        releases: Vec<Released>,
        tries: Vec<Tried>,
        error: &Error,
    ) -> Result<(), Error> {
        let all = releases.iter().map(|(seat, _)| seat).chain(tries.iter().map(|(seat, _)| seat));
        // The server counts: what is somebody's again already, before its release has got here, would be
        // taken from him by one release too many.
        if all.clone().any(|seat| self.session.has_lease(seat.key())) {
            return Err(self.gone("a release was stopped by"));
        }
        let request = sql::release_all(all.map(Seat::key));
        let sent = Boot::now();
        let answer = self.ask_until_answered(request).await?;
        self.proven_numbers(&answer, sent)?;
        for (seat, reply) in releases {
            drop(seat);
            if let Some(reply) = reply {
                reply.send(true).ok(); // now or before
            }
        }
        for (seat, reply) in tries {
            drop(seat);
            drop(reply.send(Err(error.clone())));
        }
        Ok(())
    }

    /// The server has granted a lock: takes it down, with its tokens.
    pub(super) async fn granted(
        &mut self,
        seat: Seat,
        number: Option<u64>,
    ) -> Result<Result<MySqlHold, Error>, Error> {
        let key = Key::clone(seat.key());
        let hold = self.take_down(seat, number)?;
        if self.pool.options.fencing != Fencing::Durable {
            return Ok(Ok(hold));
        }
        // If it fails, the hold is dropped and the lock goes back.
        let fence = self.pool.membership.as_ref().map_or(0, Membership::fence);
        let answer = self.ask(token::count_up(&key, fence)).await?;
        Ok(match answer.refused {
            Some(refusal) => Err(refusal.error),
            None if answer.inserted_id == 0 => Err(self.gone("no token was counted by")),
            None => Ok(hold.with_tokens(Tokens::of_table(answer.inserted_id))),
        })
    }

    fn take_down(&self, seat: Seat, number: Option<u64>) -> Result<MySqlHold, Error> {
        let Some(signal) = self.session.begin_lease(seat.key()) else {
            return Err(self.gone("no answer in time from"));
        };
        let tokens = number.map(Tokens::of_server);
        Ok(MySqlHold::new(Arc::clone(&self.pool), seat, signal, tokens))
    }

    pub(super) fn gone(&self, what: &str) -> Error {
        errors::gone(&self.pool.address.place, &format!("{what} the server"))
    }
}

/// A4
impl Drop for Actor {
    fn drop(&mut self) {
        observe::connections("mysql", -1.0);
        self.pool.remove(&self.session);
        self.session.end(LossReason::Closed);
    }
}
