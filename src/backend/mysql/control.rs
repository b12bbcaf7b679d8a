//! The control session: it holds nothing, waits for nothing, and so is there when a wait is to be
//! stopped, or somebody asks who holds a name.

use std::sync::Arc;

use futures::future::TryFutureExt;
use tokio::sync::oneshot;

use super::{
    actor::Role,
    pool::Pool,
    session::{Command, Session},
    wire::Row,
};
use crate::{
    error::{Error, ErrorKind},
    watch::LossReason,
};

impl Pool {
    async fn control(self: &Arc<Self>) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.usable_control() {
            return Ok(session);
        }
        self.aside(|pool| async move { pool.open_control().await }).await
    }

    /// In a task of the pool's: whoever asks may be polled no more, and others would wait for him. It ends
    /// when he is gone, and when the pool is closed.
    pub(super) async fn aside<T: Send + 'static, F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (mut reply, outcome) = oneshot::channel();
        let (work, closing) = (work(Arc::clone(self)), self.closing.clone());
        self.spawn(async move {
            tokio::select! {
                biased;
                () = reply.closed() => {}
                () = closing.cancelled() => {}
                done = work => drop(reply.send(done)),
            }
        });
        outcome.await.unwrap_or_else(|_| {
            let message = "these locks, or the runtime in which they were connected, have ended";
            Err(Error::new(ErrorKind::Unavailable).with_message(message))
        })
    }

    async fn open_control(self: &Arc<Self>) -> Result<Arc<Session>, Error> {
        let open = || self.open(Role::Control).map_ok(drop);
        self.opening_control.open(|| self.usable_control(), open).await
    }

    /// The one there is, unless it has ended, or the others have moved to another server, where its
    /// numbers mean nothing.
    fn usable_control(&self) -> Option<Arc<Session>> {
        let state = self.state();
        let session = state.control.clone().filter(|session| session.is_usable())?;
        let is_there = session.server == state.server.identity;
        drop(state);
        if is_there {
            return Some(session);
        }
        session.end(LossReason::Closed);
        None
    }

    /// It goes last: there may be waits to stop.
    pub(super) fn let_control_go(&self) {
        let control = self.state().control.clone();
        if let Some(control) = control.filter(|_| self.control_may_go()) {
            control.send(Command::Retire);
        }
    }

    pub(super) fn control_may_go(&self) -> bool {
        self.closing.is_cancelled() && self.state().sessions.is_empty()
    }

    /// Opens the first sessions.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(), Error> {
        self.control().await?;
        self.open(Role::Tries).await?;
        Ok(())
    }

    /// Stops what a session is doing; false if that is not safe, or has failed.
    ///
    /// A number is another session's after a restart. But a control session that was there *before* the
    /// other one, and still answers, proves that there was none; and that both are with one server is
    /// known if the server tells who it is.
    pub(super) async fn interrupt(self: &Arc<Self>, id: u64, opened: u64) -> bool {
        let Ok(control) = self.control().await else { return false };
        if control.opened[1] > opened || self.state().server.identity.is_none() {
            return false;
        }
        let (reply, done) = oneshot::channel();
        control.send(Command::Interrupt(id, reply));
        self.answer(done).await.is_ok()
    }

    /// Asks the server something that locks nothing.
    pub(super) async fn ask(self: &Arc<Self>, sql: String) -> Result<Vec<Row>, Error> {
        let control = self.control().await?;
        let (reply, rows) = oneshot::channel();
        control.send(Command::Ask(sql, reply));
        self.answer(rows).await?
    }
}
