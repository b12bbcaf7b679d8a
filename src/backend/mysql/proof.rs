//! What a session's task asks, and what an answer proves.
//!
//! * **A2** An answer that is overdue suspends what is held, and is still waited for: what it was that
//!   kept the server may pass. The session is given up when its proof has run out, or at once if it
//!   holds nothing.
//! * **A3** Every answer says which session has given it: behind a proxy, another one is no proof.

use std::pin::pin;

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    actor::{Actor, PATIENCE},
    errors::{self, INTERRUPTED, LOCKED},
    server,
    session::Key,
    sql,
    wire::{Answer, Request},
};
use crate::{deadline::Boot, error::Error, observe, watch::LossReason};

/// How often a statement may be stopped by `KILL QUERY` and asked again.
const STOPS: u32 = 10;

impl Actor {
    /// Asks whether all locks are ours.
    pub(super) async fn verify(&mut self) -> Result<(), Error> {
        let held = self.session.held();
        let (sent, until) = (Boot::now(), self.session.valid_until());
        let mut numbers = self.verified_numbers(held.iter(), sent).await?.into_iter();
        if let Some(clock) = numbers.next() {
            self.pool.windows.set_clock(clock);
        }
        if !held.is_empty() {
            let took = Boot::now().saturating_since(sent);
            observe::renewal("mysql", took, until.saturating_since(sent));
        }
        for key in held {
            if numbers.next() != Some(1) {
                self.session.lose(&key);
            }
        }
        self.next_beat = Instant::now() + self.pool.options.heartbeat_or_default();
        Ok(())
    }

    /// The numbers of an answer but the first, which has to be our session's (A3).
    pub(super) fn proven_numbers(&self, answer: &Answer, sent: Boot) -> Result<Vec<u64>, Error> {
        let mut numbers = answer.numbers().unwrap_or_default();
        if numbers.first() != Some(&self.session.id) {
            self.session.end(LossReason::NotOwner);
            return Err(self.gone("another session than the one that holds our locks answers from"));
        }
        numbers.remove(0);
        match self.pool.membership {
            None => self.session.prove(sent),
            Some(_) => self.session.hear(), // G1
        }
        Ok(numbers)
    }

    /// Asks for the server's clock, and whether these locks are ours, and whether we may go on.
    pub(super) async fn verified_numbers<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k Key>,
        sent: Boot,
    ) -> Result<Vec<u64>, Error> {
        let is_member = self.pool.membership.is_some();
        let answer = self.ask_until_answered(sql::verify(keys, is_member)).await?;
        let mut numbers = self.proven_numbers(&answer, sent)?;
        if let Some(membership) = &self.pool.membership {
            let generation = if numbers.len() > 1 { numbers.remove(1) } else { 0 };
            if let Err(error) = membership.goes_on(generation) {
                // A row that is gone or was set back says nothing of peers.
                let is_later = generation > membership.layout.generation;
                self.session.end(if is_later {
                    LossReason::Superseded
                } else {
                    LossReason::Closed
                });
                return Err(error);
            }
            self.session.prove(sent);
        }
        Ok(numbers)
    }

    /// Asks, and waits for the answer as A2 says.
    pub(super) async fn ask(&mut self, request: impl Into<Request>) -> Result<Answer, Error> {
        let session = &self.session;
        let gone = || errors::gone(&self.pool.address.place, "no answer in time from the server");
        let Some(wire) = &mut self.wire else { return Err(gone()) };
        let mut answer = pin!(wire.ask(request));
        if let Ok(answer) = timeout(PATIENCE, answer.as_mut()).await {
            return answer;
        }
        if !session.suspend() {
            session.end(LossReason::Expired); // nothing is held; whoever waits for an answer is to know
            return Err(gone());
        }
        tokio::select! {
            biased;
            answer = answer => answer,
            () = session.ended.notified() => Err(gone()),
            // If all that it holds is given up meanwhile, nobody else looks at the clock.
            () = sleep_until(session.valid_until().to_instant()) => {
                session.end(LossReason::Expired);
                Err(gone())
            }
        }
    }

    /// Asks what may be asked twice, and again if somebody has stopped the statement, or has locked a table
    /// that it reads: that is no reason to give up the session and all that it holds.
    pub(super) async fn ask_until_answered(&mut self, sql: String) -> Result<Answer, Error> {
        let mut stops = 0;
        loop {
            let answer = self.ask(sql.clone()).await?;
            let goes_on = match answer.refused.as_ref().map(|refusal| refusal.number) {
                Some(INTERRUPTED) => stops < STOPS,
                // Overdue, as A2 says: until the proof has run out, which is told elsewhere as well.
                Some(LOCKED) => self.session.suspend(),
                _ => false,
            };
            if !goes_on {
                return server::answered(answer);
            }
            stops += 1;
        }
    }
}
