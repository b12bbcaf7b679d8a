//! A boxed future that is fused, and `Sync` although what is in the box is not: what our own futures
//! are made of, so that a struct that keeps one can be shared between threads.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::{BoxFuture, FutureExt};

pub(crate) struct Boxed<T> {
    /// None once it is done. Never locked: only `&mut` reaches what is inside.
    run: Mutex<Option<BoxFuture<'static, T>>>,
    done: bool,
}

impl<T> Boxed<T> {
    pub(crate) fn new(run: impl Future<Output = T> + Send + 'static) -> Self {
        Self { run: Mutex::new(Some(run.boxed())), done: false }
    }

    /// Pending for ever once it has been ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let slot = self.run.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = slot else { return Poll::Pending };
        let output = std::task::ready!(run.as_mut().poll(cx));
        *slot = None;
        self.done = true;
        Poll::Ready(output)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }
}
