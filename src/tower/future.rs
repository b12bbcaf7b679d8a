//! The future of a response: lock, serve, release.
//!
//! 1. The inner service is called, and its future polled, only while all leases are held as far as is
//!    known.
//! 2. The inner future is dropped before the leases, in whatever way this one ends: the fields of
//!    [`Step::Serving`] are in that order.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::LockServiceError;
use crate::{
    acquire::{Acquire, Acquiring},
    boxed::Boxed,
    error::Error,
    lease::{Lease, Leases, Released},
    run::Ends,
    watch::Lost,
};

/// The future of a [`LockService`](super::LockService)'s response.
///
/// It stays pending once it has been ready.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<R>, R> {
    #[pin]
    step: Step<S, R>,
}

#[pin_project(project = StepMut)]
enum Step<S: Service<R>, R> {
    WithoutLock {
        #[pin]
        answer: S::Future,
    },
    Locking {
        #[pin]
        wait: Acquiring<Leases>,
        next: Option<(S, R)>,
    },
    Serving {
        #[pin]
        answer: S::Future,
        #[pin]
        lost: Lost,
        leases: Leases,
    },
    Releasing {
        #[pin]
        release: Boxed<Result<Released, Error>>,
        answer: Option<Result<S::Response, S::Error>>,
        ends: Option<Ends>,
    },
    Done,
}

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn without_lock(answer: S::Future) -> Self {
        Self { step: Step::WithoutLock { answer } }
    }

    pub(super) fn locking(acquire: Acquire<Leases>, service: S, request: R) -> Self {
        Self { step: Step::Locking { wait: acquire.into_future(), next: Some((service, request)) } }
    }
}

impl<S: Service<R>, R> Future for ResponseFuture<S, R> {
    type Output = Result<S::Response, LockServiceError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        let outcome = loop {
            match step.as_mut().project() {
                StepMut::WithoutLock { answer } => {
                    break ready!(answer.poll(cx)).map_err(LockServiceError::Service);
                }
                StepMut::Locking { wait, next } => {
                    let locked = ready!(wait.poll(cx)).and_then(|leases| {
                        still_held(&leases)?;
                        Ok(leases)
                    });
                    // None if its call has panicked.
                    let Some((mut service, request)) = next.take() else { return Poll::Pending };
                    let leases = match locked {
                        Ok(leases) => leases,
                        Err(e) => break Err(LockServiceError::Lock(e)),
                    };
                    let (lost, answer) = (leases.lost(), service.call(request));
                    step.set(Step::Serving { answer, lost, leases });
                }
                StepMut::Serving { answer, lost, leases } => {
                    // Polled to be woken; the state, which comes first, says which it was.
                    let _ = lost.poll(cx);
                    if let Err(e) = still_held(leases) {
                        break Err(LockServiceError::Lock(e));
                    }
                    let answer = ready!(answer.poll(cx));
                    let (ends, leases) = (Ends::of(leases.as_slice()), leases.take());
                    let release = Boxed::new(leases.release());
                    let (answer, ends) = (Some(answer), Some(ends));
                    step.set(Step::Releasing { release, answer, ends });
                }
                StepMut::Releasing { release, answer, ends } => {
                    let released = ready!(release.poll(cx));
                    let (Some(answer), Some(ends)) = (answer.take(), ends.take()) else {
                        return Poll::Pending;
                    };
                    break ends.with(answer.map_err(LockServiceError::Service), released);
                }
                StepMut::Done => return Poll::Pending,
            }
        };
        step.set(Step::Done);
        Poll::Ready(outcome)
    }
}

fn still_held(leases: &Leases) -> Result<(), Error> {
    leases.iter().try_for_each(Lease::still_held)
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::WithoutLock { .. } => "without a lock",
            Step::Locking { .. } => "locking",
            Step::Serving { .. } => "serving",
            Step::Releasing { .. } => "releasing",
            Step::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("step", &step).finish_non_exhaustive()
    }
}
