//! keyward's backend with one thing left out: a hold is never handed over within the process, so each
//! task has the server give it the lock.

use std::{borrow::Cow, future::Future};

use keyward::{
    Error, FencingToken, LockName, LossSignal,
    contract::{Backend, Capability, Hold, Request},
    mysql::MySqlBackend,
};
use tokio::time::Instant;

/// All of it but the hand-over.
#[derive(Debug)]
pub(crate) struct WithoutHandOver(pub(crate) MySqlBackend);

/// What it hands out.
pub(crate) struct Own(<MySqlBackend as Backend>::Hold);

impl Backend for WithoutHandOver {
    type Hold = Own;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<Own>, Error> {
        Ok(self.0.acquire(name, request).await?.map(Own))
    }

    fn capability(&self) -> Capability {
        self.0.capability()
    }

    fn try_acquire(&self, name: &LockName, request: Request) -> Option<Result<Option<Own>, Error>> {
        self.0.try_acquire(name, request).map(|tried| Ok(tried?.map(Own)))
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        self.0.native_key(name)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl Hold for Own {
    fn release(self) -> impl Future<Output = Result<bool, Error>> + Send {
        self.0.release()
    }

    async fn verify(&self) -> Result<(), Error> {
        self.0.verify().await
    }

    fn watch(&self) -> LossSignal {
        self.0.watch()
    }

    fn token(&self) -> Option<FencingToken> {
        self.0.token()
    }

    fn valid_until(&self) -> Option<Instant> {
        self.0.valid_until()
    }

    /// What is left out.
    fn pass_on(&mut self) -> bool {
        false
    }
}
