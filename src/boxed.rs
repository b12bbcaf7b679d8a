//! A boxed future that is fused, and `Sync` although what is in the box is not: what our own futures
//! are made of, so that a struct that keeps one can be shared between threads.
#![forbid(unsafe_code)]

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures::future::{BoxFuture, FusedFuture, FutureExt};

pub(crate) struct Boxed<T> {
    /// None once it is done. Never locked: only `&mut` reaches what is inside.
    run: Mutex<Option<BoxFuture<'static, T>>>,
    done: bool,
}

impl<T> Boxed<T> {
    pub(crate) fn new(run: impl Future<Output = T> + Send + 'static) -> Self {
        Self { run: Mutex::new(Some(run.boxed())), done: false }
    }
}

/// Pending for ever once it has been ready.
impl<T> Future for Boxed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let slot = self.run.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = slot else { return Poll::Pending };
        let output = ready!(run.as_mut().poll(cx));
        *slot = None;
        self.done = true;
        Poll::Ready(output)
    }
}

impl<T> FusedFuture for Boxed<T> {
    fn is_terminated(&self) -> bool {
        self.done
    }
}
