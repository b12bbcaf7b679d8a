//! Standing in the server's queue for one lock, and leaving it.
//!
//! The server's timeouts are whole seconds, from some servers on with surprises, and nobody's limit but
//! ours: the caller's clock decides. The server is told a *slice* that ends after it, so that the place
//! of a process that is cut off silently is not kept for ever.
//!
//! Who leaves the queue is stopped by `KILL QUERY` from the control session, and whether it has won the
//! lock at the last moment is what the answer to the wait says. Nothing else is sent on the session
//! until both have answered: else the kill could hit the next statement.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, select};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    actor::{Actor, PATIENCE},
    errors::INTERRUPTED,
    sql::{self, Granted},
    wait::Wait,
    wire::Answer,
};
use crate::{deadline::Boot, error::Error};

/// How long one wait at the server is at most. The next one goes to the end of the queue.
const SLICE: u64 = 60;

/// No wait ends by itself so soon.
const HARDLY: Duration = Duration::from_millis(10);

/// What has come of one wait at the server.
enum Waited {
    /// With the number for a token.
    Granted(Option<u64>),
    /// The slice is over, or somebody has stopped it.
    Again,
    /// The server sees a circle of waits, or a chain too long to look through. None of it is ours:
    /// a session that waits holds nothing.
    Deadlock,
    Refused(Error),
}

impl Actor {
    /// Waits as long as somebody wants the lock.
    pub(super) async fn wait(&mut self, wait: Wait) -> Result<(), Error> {
        while let Some(until) = wait.wanted_until() {
            let sent = Boot::now();
            match self.stand(&wait, sent, seconds(until)).await? {
                Waited::Granted(number) => {
                    // A grant proves only that the session was there when it was asked for.
                    let waited = Boot::now().saturating_since(sent);
                    if waited > self.pool.options.ttl / 10 && !self.is_ours(&wait).await? {
                        continue;
                    }
                    let seat = self.pool.seat_waiter(&self.session, &wait.key);
                    let outcome = self.granted(seat, number).await?;
                    wait.finish(outcome);
                    return Ok(());
                }
                // What has hardly waited would be asked again at once, and again.
                Waited::Again
                    if Boot::now().saturating_since(sent) < HARDLY && wait.waiter.is_wanted() =>
                {
                    sleep(HARDLY).await;
                }
                Waited::Again => {}
                Waited::Deadlock => sleep(self.pool.pause()).await,
                Waited::Refused(error) => {
                    self.pool.stop_waiting(&self.session);
                    wait.finish(Err(error));
                    return Ok(());
                }
            }
        }
        self.pool.stop_waiting(&self.session);
        Ok(())
    }

    /// One wait at the server.
    async fn stand(&mut self, wait: &Wait, sent: Boot, seconds: u64) -> Result<Waited, Error> {
        let sql = sql::wait(&wait.key, seconds, self.pool.options.fencing);
        let patience = Duration::from_secs(seconds) + PATIENCE;
        let answer = self.ask_until_unwanted(wait, sql, patience).await?;
        if let Some(refusal) = answer.refused {
            return Ok(match refusal.number {
                INTERRUPTED => Waited::Again,
                1213 | 3058 => Waited::Deadlock,
                _ => Waited::Refused(refusal.error),
            });
        }
        let numbers = self.proven_numbers(&answer, sent)?;
        Ok(match numbers.first().copied().map(Granted::from) {
            Some(Granted::Yes) => Waited::Granted(numbers.get(1).copied()),
            _ => Waited::Again,
        })
    }

    /// Asks; stops it if nobody wants the lock any more.
    async fn ask_until_unwanted(
        &mut self,
        wait: &Wait,
        sql: String,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let (pool, session) = (Arc::clone(&self.pool), Arc::clone(&self.session));
        let gone = self.gone("no answer in time from");
        let Some(wire) = &mut self.wire else { return Err(gone) };
        let mut answer = pin!(wire.ask(sql));
        let mut late = pin!(sleep(patience));
        loop {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return answer,
                () = wait.waiter.changed.notified() => {
                    // The next task of this process is about to take it over, if there is one.
                    yield_now().await;
                    if wait.doom() {
                        break;
                    }
                }
                () = late.as_mut() => return Err(gone),
            }
        }
        let mut stopped = pin!(pool.interrupt(session.id, session.opened[0]));
        // Unless both answer, the connection is given up, and with it whatever it has got.
        let both = async {
            match select(answer.as_mut(), stopped.as_mut()).await {
                Either::Left((answer, stopped)) => stopped.await.then_some(answer),
                Either::Right((true, answer)) => Some(answer.await),
                Either::Right((false, _)) => None,
            }
        };
        timeout(PATIENCE, both).await.ok().flatten().unwrap_or(Err(gone))
    }

    /// Whether the lock is this session's, which it then holds as of now.
    async fn is_ours(&mut self, wait: &Wait) -> Result<bool, Error> {
        let sent = Boot::now();
        let numbers = self.verified_numbers(std::iter::once(&wait.key), sent).await?;
        Ok(numbers.last() == Some(&1))
    }
}

/// What the server is told: whole seconds that end after the caller's limit.
fn seconds(until: Option<Instant>) -> u64 {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    left.map_or(SLICE, |left| left.as_secs().saturating_add(2).min(SLICE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_after_the_limit_and_is_never_long() {
        let told = |left| seconds(Some(Instant::now() + Duration::from_millis(left)));
        assert_eq!(told(0), 2);
        for left in [1, 300, 999, 1_001, 2_500, 57_000] {
            let told = told(left);
            assert!(told * 1000 > left && told <= left / 1000 + 2, "{left} ms: {told} s");
        }
        for long in [58_500, 61_000, 3_600_000, 1 << 40] {
            assert_eq!(told(long), SLICE, "{long} ms");
        }
        assert_eq!(seconds(None), SLICE);
        let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(seconds(Some(past)), 2);
    }
}
