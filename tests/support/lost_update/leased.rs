//! keyward's lock, as two programs use it: one that looks at nothing, and one that does as it is told.

use keyward::{Lease, Locks, Released};

use super::{
    Outcome, text,
    worker::{Lock, Vouched},
};

/// What all lock.
pub(crate) const NAME: &str = "register";

/// A name, and the lease of it while there is one.
pub(crate) struct Leased {
    locks: Locks,
    /// Works inside of `run`, and asks before it writes.
    careful: bool,
    lease: Option<Lease>,
}

impl Leased {
    pub(crate) async fn connect(url: &str, careful: bool) -> Outcome<Self> {
        let locks = Locks::connect(url).await.map_err(text)?;
        Ok(Self { locks, careful, lease: None })
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("it is held")
    }
}

impl Lock for Leased {
    async fn acquire(&mut self) -> Outcome<Option<u64>> {
        let lease = self.locks.lock_named(NAME).await.map_err(text)?;
        let token = lease.fencing_token().map(|token| token.get());
        self.lease = Some(lease);
        Ok(token)
    }

    async fn hold<T: Send>(&self, work: impl Future<Output = T> + Send) -> Option<T> {
        if self.careful { self.lease().run(work).await.ok() } else { Some(work.await) }
    }

    async fn vouch(&self) -> Vouched {
        if !self.careful {
            return Vouched::Unasked;
        }
        match self.lease().ensure_held().await {
            Ok(()) => Vouched::Held,
            // Unknown is not held.
            Err(_) => Vouched::Lost,
        }
    }

    async fn release(&mut self) -> Outcome<bool> {
        let lease = self.lease.take().ok_or("nothing is held")?;
        Ok(lease.release().await.map_err(text)? == Released::Released)
    }
}
