//! A [`tower`](https://docs.rs/tower) layer that holds a lock for each request.
//!
//! [`LockLayer`] asks a function of yours what to lock for a request: an [`Acquire`], with whatever can be
//! said of one ([`timeout`](Acquire::timeout), [`blocking(false)`](Acquire::blocking),
//! [`shared`](Acquire::shared), several names by [`lock_all`](crate::Locks::lock_all)), or `None` for a
//! request that needs no lock.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, time::Duration};
//! use keyward::{Locks, tower::{LockLayer, LockServiceError}};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! /// Volume 7, to 100 GB.
//! struct Resize(u32, u64);
//!
//! let locks = Locks::connect("memory:").await?;
//! let layer = LockLayer::new({
//!     let locks = locks.clone();
//!     move |resize: &Resize| {
//!         let name = format!("vol-{}", resize.0);
//!         Some(locks.lock_named(name).timeout(Duration::from_secs(5)))
//!     }
//! });
//! let mut service = layer.layer(service_fn(async |resize: Resize| Ok::<_, Infallible>(resize.1)));
//!
//! assert_eq!(service.ready().await?.call(Resize(7, 100)).await?, 100);
//!
//! // Nothing is resized that somebody else works on, and the error says why.
//! let _lease = locks.lock_named("vol-7").await?;
//! # tokio::time::pause();
//! match service.ready().await?.call(Resize(7, 200)).await {
//!     Err(LockServiceError::Lock(e)) => assert!(e.is_timed_out()),
//!     other => unreachable!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is covered
//!
//! The inner service is called once the lock is held, and its future runs as under
//! [`Lease::run`](crate::Lease::run): when the lease is lost, the future is dropped, and the caller gets a
//! [`Lost`](crate::ErrorKind::Lost). When the future is ready, the lock is released, and the response is
//! returned once the store has confirmed that:
//!
//! * if it says that the lease had been lost, the caller gets a [`Lost`](crate::ErrorKind::Lost) and not
//!   the response, since others may have worked at the same time;
//! * if it does not confirm the release, the response is returned, for the work was done under the lock;
//!   the name is free when the store finds out, and `tracing` has a warning;
//! * an error of the inner service is returned whatever becomes of the release.
//!
//! The lock covers the **making of a response and not its body**: a body that is streamed is read after
//! the lock has been released. To hold a lock that long, lock in the handler and move the
//! [`Lease`](crate::Lease) into the body.
//!
//! # In front of axum
//!
//! A `Router` takes layers whose errors have been answered: put axum's `HandleErrorLayer` before this one,
//! with a function from [`LockServiceError`] to a response. 409 says that somebody else is at it
//! ([`WouldBlock`](crate::ErrorKind::WouldBlock)), 423 that it took too long
//! ([`TimedOut`](crate::ErrorKind::TimedOut)), 503 that there was a problem with the lock itself;
//! [`Error::is_retryable`](crate::Error::is_retryable) says for which of them a `Retry-After` is honest.
//! `examples/axum_service.rs` has the whole of it.
//!
//! ```
//! # use std::convert::Infallible;
//! # use axum::{Router, error_handling::HandleErrorLayer, extract::Request, http::StatusCode, routing::put};
//! # use keyward::{Locks, tower::{LockLayer, LockServiceError}};
//! # async fn resize() {}
//! async fn answer(error: LockServiceError<Infallible>) -> StatusCode {
//!     match error {
//!         LockServiceError::Lock(e) if e.is_would_block() => StatusCode::CONFLICT,
//!         LockServiceError::Lock(e) if e.is_timed_out() => StatusCode::LOCKED,
//!         _ => StatusCode::SERVICE_UNAVAILABLE,
//!     }
//! }
//!
//! # fn service(locks: Locks) -> Router {
//! let lock = LockLayer::new(move |request: &Request| {
//!     Some(locks.lock_named(request.uri().path()).blocking(false))
//! });
//! Router::new()
//!     .route("/volumes/{id}/resize", put(resize))
//!     .layer((HandleErrorLayer::new(answer), lock))
//! # }
//! ```
//!
//! # Readiness
//!
//! The layer is ready when the inner service is, and calls the very service that was ready; so while a
//! request waits for its lock, it keeps what the inner service gives to those who are ready, such as a
//! place within a limit of concurrency. Where many may wait, give the wait a limit.
#![forbid(unsafe_code)]

mod error;
mod future;

use std::{
    fmt, mem,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

pub use self::{error::LockServiceError, future::ResponseFuture};
use crate::{acquire::Acquire, lease::Leases};

/// Holds a lock for each request of the services it is put around; see the [module](self).
///
/// # Examples
///
/// ```
/// use keyward::{Locks, tower::LockLayer};
///
/// fn by_tenant(locks: Locks) -> LockLayer<impl Fn(&String) -> Option<keyward::Acquire> + Clone> {
///     LockLayer::new(move |tenant: &String| Some(locks.lock_named(tenant).blocking(false)))
/// }
/// ```
#[derive(Clone)]
pub struct LockLayer<F> {
    ask: F,
}

impl<F> LockLayer<F> {
    /// With the function that says what to lock for a request, if anything.
    ///
    /// It is called when a request comes, and must be quick: it makes names and waits for nothing.
    pub const fn new<R, L>(ask: F) -> Self
    where
        F: Fn(&R) -> Option<Acquire<L>>,
        Acquire<L>: Into<Acquire<Leases>>,
    {
        Self { ask }
    }
}

impl<S, F: Clone> Layer<S> for LockLayer<F> {
    type Service = LockService<S, F>;

    fn layer(&self, inner: S) -> LockService<S, F> {
        LockService { inner, ask: self.ask.clone() }
    }
}

impl<F> fmt::Debug for LockLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockLayer").finish_non_exhaustive()
    }
}

/// A service that holds a lock for each of its requests; made by a [`LockLayer`].
///
/// # Cancel safety
///
/// Dropping a response's future drops the inner one, and after it the lock, or the place in the queue.
///
/// # Errors
///
/// See [`LockServiceError`].
#[derive(Clone)]
pub struct LockService<S, F> {
    inner: S,
    ask: F,
}

impl<S, F, R, L> Service<R> for LockService<S, F>
where
    S: Service<R> + Clone,
    F: Fn(&R) -> Option<Acquire<L>>,
    Acquire<L>: Into<Acquire<Leases>>,
{
    type Response = S::Response;
    type Error = LockServiceError<S::Error>;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(LockServiceError::Service)
    }

    fn call(&mut self, request: R) -> ResponseFuture<S, R> {
        match (self.ask)(&request) {
            None => ResponseFuture::without_lock(self.inner.call(request)),
            Some(acquire) => {
                // The one that is ready goes along; its clone need not be.
                let unready = self.inner.clone();
                let ready = mem::replace(&mut self.inner, unready);
                ResponseFuture::locking(acquire.into(), ready, request)
            }
        }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for LockService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
