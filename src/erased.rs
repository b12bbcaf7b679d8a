//! The contract's boxed twin: what lets [`Locks`](crate::Locks) be one type for all backends.
#![forbid(unsafe_code)]

use std::{borrow::Cow, fmt, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use crate::{
    contract::{Backend, Capability, Confirmation, Hold, Occupancy, Request},
    error::Error,
    name::LockName,
    token::FencingToken,
    watch::LossSignal,
};

pub(crate) type BoxHold = Box<dyn AnyHold>;

pub(crate) trait AnyBackend: fmt::Debug + Send + Sync {
    fn acquire<'a>(
        &'a self,
        name: &'a LockName,
        request: Request,
    ) -> BoxFuture<'a, Result<Option<BoxHold>, Error>>;
    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<BoxHold>, Error>>;
    fn capability(&self) -> Capability;
    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error>;
    fn inspect<'a>(&'a self, name: &'a LockName) -> BoxFuture<'a, Result<Occupancy, Error>>;
    fn collect_garbage(&self, older_than: Duration) -> BoxFuture<'_, Result<u64, Error>>;
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl<B: Backend> AnyBackend for B {
    fn acquire<'a>(
        &'a self,
        name: &'a LockName,
        request: Request,
    ) -> BoxFuture<'a, Result<Option<BoxHold>, Error>> {
        async move {
            let hold = B::acquire(self, name, request).await?;
            Ok(hold.map(|hold| Box::new(hold) as BoxHold))
        }
        .boxed()
    }

    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<BoxHold>, Error>> {
        let hold = B::try_acquire(self, name, request)?;
        Some(hold.map(|hold| hold.map(|hold| Box::new(hold) as BoxHold)))
    }

    fn capability(&self) -> Capability {
        B::capability(self)
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        B::native_key(self, name)
    }

    fn inspect<'a>(&'a self, name: &'a LockName) -> BoxFuture<'a, Result<Occupancy, Error>> {
        B::inspect(self, name).boxed()
    }

    fn collect_garbage(&self, older_than: Duration) -> BoxFuture<'_, Result<u64, Error>> {
        B::collect_garbage(self, older_than).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        B::close(self).boxed()
    }
}

pub(crate) trait AnyHold: Send + Sync {
    fn release(self: Box<Self>) -> BoxFuture<'static, Result<bool, Error>>;
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>>;
    fn watch(&self) -> LossSignal;
    fn token(&self) -> Option<FencingToken>;
    fn valid_until(&self) -> Option<Instant>;
    fn pass_on(&mut self) -> bool;
    fn confirm(&self) -> Option<Confirmation>;
    fn admits_reader(&self) -> bool;
}

impl<H: Hold> AnyHold for H {
    fn release(self: Box<Self>) -> BoxFuture<'static, Result<bool, Error>> {
        H::release(*self).boxed()
    }

    fn verify(&self) -> BoxFuture<'_, Result<(), Error>> {
        H::verify(self).boxed()
    }

    fn watch(&self) -> LossSignal {
        H::watch(self)
    }

    fn token(&self) -> Option<FencingToken> {
        H::token(self)
    }

    fn valid_until(&self) -> Option<Instant> {
        H::valid_until(self)
    }

    fn pass_on(&mut self) -> bool {
        H::pass_on(self)
    }

    fn confirm(&self) -> Option<Confirmation> {
        H::confirm(self)
    }

    fn admits_reader(&self) -> bool {
        H::admits_reader(self)
    }
}
