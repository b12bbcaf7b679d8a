//! Work under leases: it runs as long as they are held, and what it came to is told together with what
//! became of them.
//!
//! 1. Of work and a loss that are ready in one poll, the loss is told.
//! 2. The work is dropped before the loss is told.
//! 3. An error about a loss names the backend and the lock; where it is known of several leases only that
//!    one was lost, all of their locks.
//! 4. The future of the work is not copied: functions that run under leases and call each other keep
//!    their size.
#![forbid(unsafe_code)]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::{
    error::{Error, ErrorKind},
    lease::{Lease, Leases, Released},
    name::LockName,
    watch::{LeaseState, Lost},
};

impl Lease {
    /// Runs a future as long as the lease is held.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the one it runs.
    ///
    /// # Errors
    ///
    /// [`Lost`](ErrorKind::Lost) if the lease is lost before the future is ready: the future has been
    /// dropped then. Its output is not returned if it is ready at the same moment.
    #[must_use = "futures do nothing unless polled"]
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Error>> {
        Run::new(std::slice::from_ref(self), future)
    }

    /// Releases the lock after work under it, and returns what the work came to.
    ///
    /// It is the end of what begins with [`run`](Self::run), where a failure to release is nothing that
    /// the caller of the work can act on: the work is done, and the lock becomes free when the backend
    /// finds out. So that is a warning through `tracing`. What the caller has to hear is that the lease
    /// had been lost, since others may have worked under the lock at the same time.
    ///
    /// # Cancel safety
    ///
    /// The lock is released even if the future is dropped; then without confirmation.
    ///
    /// # Errors
    ///
    /// * what the work failed with, whatever became of the lease;
    /// * [`Lost`](ErrorKind::Lost) if the work did not fail and the lease had been lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// # async fn resize() -> Result<u64, keyward::Error> { Ok(8) }
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let lease = locks.lock_named("vol-1").await?;
    /// let outcome = lease.run(resize()).await?;
    /// let size = lease.release_after(outcome).await?;
    /// # assert_eq!(size, 8);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_after<T, E: From<Error>>(self, outcome: Result<T, E>) -> Result<T, E> {
        let ends = Ends::of(std::slice::from_ref(&self));
        ends.with(outcome, self.release().await)
    }
}

impl Leases {
    /// Runs a future as long as all of them are held; see [`Lease::run`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the one it runs.
    ///
    /// # Errors
    ///
    /// [`Lost`](ErrorKind::Lost), with the name that was, if one of them is lost before the future is
    /// ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let both = locks.lock_all(["vol-3", "vol-7"]).await?;
    /// both.run(async { /* copy the one to the other */ }).await?;
    /// both.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Error>> {
        Run::new(self.as_slice(), future)
    }

    /// Releases the locks after work under them, and returns what the work came to; see
    /// [`Lease::release_after`].
    ///
    /// # Cancel safety
    ///
    /// The locks are released even if the future is dropped; then without confirmation.
    ///
    /// # Errors
    ///
    /// As [`Lease::release_after`]; [`Lost`](ErrorKind::Lost) has the name of the lease that was, if it was
    /// known before the release, and otherwise all of their names in its message.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// # async fn copy() -> Result<u64, keyward::Error> { Ok(8) }
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let both = locks.lock_all(["vol-3", "vol-7"]).await?;
    /// let outcome = both.run(copy()).await?;
    /// let copied = both.release_after(outcome).await?;
    /// # assert_eq!(copied, 8);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_after<T, E: From<Error>>(self, outcome: Result<T, E>) -> Result<T, E> {
        let ends = Ends::of(self.as_slice());
        ends.with(outcome, self.release().await)
    }
}

/// What is known of leases when the work under them is done.
pub(crate) struct Ends {
    /// The loss that has been told. The release of such a lease may fail like any other.
    lost: Option<Error>,
    /// Of which locks it is said that one was lost, if only their release finds out.
    names: Vec<LockName>,
    /// None if there are no leases.
    backend: Option<&'static str>,
}

/// Of how many locks a message has the names.
const NAMED: usize = 8;

impl Ends {
    pub(crate) fn of(leases: &[Lease]) -> Self {
        let lost = leases.iter().find_map(|lease| match lease.state() {
            LeaseState::Lost(reason) => Some(lease.lost_error(reason)),
            LeaseState::Held | LeaseState::Suspended => None,
        });
        let names = leases.iter().map(|lease| lease.name().clone()).collect();
        Self { lost, names, backend: leases.first().map(Lease::backend) }
    }

    /// What is to be told of both: the work's failure first, a loss second, and of a release that was not
    /// confirmed nothing but a warning.
    pub(crate) fn with<T, E: From<Error>>(
        mut self,
        outcome: Result<T, E>,
        released: Result<Released, Error>,
    ) -> Result<T, E> {
        let lost = match released {
            Ok(Released::Released) => self.lost,
            Ok(Released::WasLost) => Some(self.lost.take().unwrap_or_else(|| self.found_lost())),
            Err(error) => {
                tracing::warn!(
                    lock.name = ?error.name(),
                    lock.backend = error.backend(),
                    error = &error as &dyn std::error::Error,
                    "a lock was released without confirmation"
                );
                self.lost
            }
        };
        match lost {
            Some(lost) => outcome.and(Err(lost.into())),
            None => outcome,
        }
    }

    /// A loss that nobody had told before the release: whether the work was done by then, nobody knows.
    fn found_lost(&self) -> Error {
        let lost = Error::new(ErrorKind::Lost);
        let lost = match &*self.names {
            [] => lost,
            [name] => lost
                .with_message("the lease was found to be lost when it was released")
                .with_name(name),
            names => {
                let mut message =
                    "one of these leases was found to be lost when they were released: ".to_owned();
                let named = names.iter().take(NAMED).map(|name| format!("{name:?}"));
                message.push_str(&named.collect::<Vec<_>>().join(", "));
                if let Some(more @ 1..) = names.len().checked_sub(NAMED) {
                    message.push_str(&format!(" and {more} more"));
                }
                lost.with_message(message)
            }
        };
        match self.backend {
            Some(backend) => lost.with_backend(backend),
            None => lost,
        }
    }
}

/// Work under leases.
#[pin_project]
struct Run<'a, F> {
    leases: &'a [Lease],
    /// One for each of them.
    lost: Vec<Lost>,
    /// None once it is over.
    #[pin]
    work: Option<F>,
}

impl<'a, F> Run<'a, F> {
    fn new(leases: &'a [Lease], work: F) -> Self {
        // Listened to from the first poll on: what is not awaited makes no backend look.
        Self { leases, lost: Vec::new(), work: Some(work) }
    }
}

impl<F: Future> Future for Run<'_, F> {
    type Output = Result<F::Output, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(work) = this.work.as_mut().as_pin_mut() else { return Poll::Pending };
        if this.lost.is_empty() {
            this.lost.extend(this.leases.iter().map(Lease::lost));
        }
        for (lease, lost) in this.leases.iter().zip(&mut *this.lost) {
            let reason = match Pin::new(lost).poll(cx) {
                Poll::Ready(reason) => reason,
                // Its time may be over, and the backend not have come to say so.
                Poll::Pending => match lease.state() {
                    LeaseState::Lost(reason) => reason,
                    LeaseState::Held | LeaseState::Suspended => continue,
                },
            };
            this.work.set(None); // restores 2
            return Poll::Ready(Err(lease.lost_error(reason)));
        }
        let output = ready!(work.poll(cx));
        this.work.set(None);
        Poll::Ready(Ok(output))
    }
}
