//! The expansion under every lint that clippy has in groups: `scripts/test --lints` looks at this file.
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery)]

use std::{fmt::Display, sync::Arc, time::Duration};

use keyward::{Error, LockRegistry, Locks, synchronized};

use crate::memory;

struct Volume {
    id: String,
}

struct Service {
    locks: Arc<Locks>,
    names: LockRegistry,
}

impl Service {
    /// Whether it is documented.
    #[synchronized("{volume.id}-{f_name}", locks = self.locks, timeout = "5s", prefix = "cinder-")]
    async fn resize(&self, volume: &Volume, mut size: u64) -> Result<u64, Error> {
        const STEP: u64 = 8;
        use std::convert::identity;
        size += identity(STEP);
        tokio::task::yield_now().await;
        Ok(size)
    }

    #[synchronized("{a}", "{b}", locks = self.locks, blocking = false, shared)]
    async fn compare(&self, a: u32, b: u32) -> Result<bool, Error> {
        Ok(a == b)
    }

    #[synchronized("{id:05}", registry = self.names)]
    async fn delete(&self, id: u32) {
        const LEAST: u32 = 1;
        tokio::task::yield_now().await;
        assert!(id > LEAST);
    }

    #[synchronized("{a}", "{b}", registry = &self.names)]
    async fn swap(&self, a: u32, b: u32) -> (u32, u32) {
        (b, a)
    }

    #[synchronized("LIN", registry = self.names, blocking = false)]
    async fn only_braces(&self) -> Result<u8, keyward::TryLockError> {
        Ok(1)
    }

    #[synchronized("LIN", registry = self.names, shared, timeout = Duration::from_secs(5))]
    async fn never_here(&self) -> Result<u8, keyward::Elapsed> {
        unreachable!("not called")
    }

    #[synchronized("LIN", registry = self.names)]
    async fn endless(&self) -> ! {
        loop {
            tokio::task::yield_now().await;
        }
    }
}

#[synchronized("{id}", locks = locks)]
async fn free<T: Display + Send + Sync>(
    locks: &Locks,
    id: T,
) -> Result<impl Iterator<Item = u8>, Error> {
    if id.to_string().is_empty() {
        return Err(Error::new(keyward::ErrorKind::InvalidName));
    }
    Ok(0..3)
}

#[synchronized("{id}", locks = locks)]
async fn todo(locks: &Locks, id: u8) -> Result<u8, Error> {
    std::future::pending().await
}

const fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn lints_and_bounds() {
    let service = Service { locks: Arc::new(memory()), names: LockRegistry::new() };
    let volume = Volume { id: "vol-1".to_owned() };
    assert_eq!(is_send(service.resize(&volume, 8)).await.unwrap(), 16);
    assert!(!is_send(service.compare(1, 2)).await.unwrap());
    is_send(service.delete(7)).await;
    assert_eq!(is_send(service.swap(1, 2)).await, (2, 1));
    assert_eq!(is_send(service.only_braces()).await, Ok(1));
    drop((is_send(service.never_here()), is_send(service.endless())));
    drop(todo(&service.locks, 1));
    assert_eq!(is_send(free(&service.locks, "x")).await.unwrap().count(), 3);
}
