//! Over `Locks`: which names are held while the body runs, and when it does not run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use keyward::{Capability, Error, ErrorKind, Locks, synchronized};
use tokio::sync::{Notify, Semaphore};
use tokio_test::{assert_pending, assert_ready_ok, task};

use crate::memory;

struct Volume {
    id: String,
    kind: Kind,
    pair: (u8, i32),
}

struct Kind {
    r#type: &'static str,
}

impl Volume {
    fn short(&self) -> &str {
        &self.id[..2]
    }
}

struct Service {
    locks: Locks,
    host: String,
    /// How many bodies have been entered.
    entered: AtomicUsize,
}

impl Service {
    fn new(locks: Locks) -> Self {
        Self { locks, host: "h1".to_owned(), entered: AtomicUsize::new(0) }
    }

    fn volume() -> Volume {
        Volume { id: "vol-42".to_owned(), kind: Kind { r#type: "ssd" }, pair: (7, -3) }
    }

    /// Whether exactly these names are held.
    async fn must_hold(&self, names: &[&str]) -> Result<(), Error> {
        self.entered.fetch_add(1, SeqCst);
        for name in names {
            assert!(self.locks.inspect(*name).await?.is_held(), "{name}");
        }
        assert!(!self.locks.inspect("another").await?.is_held());
        Ok(())
    }

    #[synchronized("{volume.id}-{f_name}", locks = self.locks)]
    async fn resize(&self, volume: &Volume) -> Result<(), Error> {
        self.must_hold(&["vol-42-resize"]).await
    }

    #[synchronized(
        "{self.host}/{volume.kind.type}/{volume.pair.0:03}/{volume.pair.1:+}/{volume.short()}/{N:>2}",
        "{{{volume.id:.3}}}{f_name:_>10}",
        "vol-1",
        locks = self.locks,
        prefix = "cinder-"
    )]
    async fn everything<const N: usize>(&self, volume: &Volume) -> Result<(), Error> {
        let names = ["cinder-h1/ssd/007/-3/vo/ 9", "cinder-{vol}everything", "cinder-vol-1"];
        self.must_hold(&names).await
    }

    #[synchronized("{a}", "{b}", locks = self.locks)]
    async fn copy(&self, a: &str, b: &str, go: &Notify) -> Result<(), Error> {
        self.must_hold(&[a, b]).await?;
        go.notified().await;
        Ok(())
    }

    #[synchronized("{name}", locks = self.locks, blocking = false)]
    async fn try_it(&self, name: &str) -> Result<(), Error> {
        self.must_hold(&[name]).await
    }

    #[synchronized("{name}", "b", locks = self.locks, blocking = false)]
    async fn try_two(&self, name: &str) -> Result<(), Error> {
        self.must_hold(&[name, "b"]).await
    }

    #[synchronized("{name}", locks = self.locks, timeout = "50ms")]
    async fn soon(&self, name: &str) -> Result<(), Error> {
        self.must_hold(&[name]).await
    }

    #[synchronized("{name}", locks = self.locks, timeout = limit * 2)]
    async fn within(&self, name: &str, limit: Duration) -> Result<(), Error> {
        self.must_hold(&[name]).await
    }

    #[synchronized("{a}", "{b}", locks = self.locks, shared)]
    async fn read(&self, a: &str, b: &str, meet: &Semaphore) -> Result<(), Error> {
        self.must_hold(&[a, b]).await?;
        meet.add_permits(1);
        meet.acquire_many(2).await.expect("not closed").forget();
        meet.add_permits(2);
        Ok(())
    }
}

#[tokio::test]
async fn names_are_rendered_and_held() {
    let service = Service::new(memory());
    service.resize(&Service::volume()).await.unwrap();
    service.everything::<9>(&Service::volume()).await.unwrap();
    assert_eq!(service.entered.load(SeqCst), 2);
}

#[tokio::test]
async fn callers_exclude_each_other_and_the_lock_is_free_when_they_return() {
    let service = Service::new(memory());
    let go = Notify::new();
    let mut first = task::spawn(service.copy("a", "b", &go));
    assert_pending!(first.poll());
    // Also in the other order, and by whoever uses one of the names.
    let mut second = task::spawn(service.copy("b", "a", &go));
    let mut third = task::spawn(service.copy("b", "b", &go));
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(service.entered.load(SeqCst), 1);
    go.notify_one();
    assert_ready_ok!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(service.entered.load(SeqCst), 2);
    // Who holds nothing while it waits has asked for `b` first.
    go.notify_one();
    assert_ready_ok!(third.poll());
    assert_pending!(second.poll());
    assert_eq!(service.entered.load(SeqCst), 3);
    go.notify_one();
    assert_ready_ok!(second.poll());
    assert!(service.locks.try_lock_named("a").await.is_ok());
    assert!(service.locks.try_lock_named("b").await.is_ok());
}

#[tokio::test]
async fn without_waiting_the_body_is_not_entered() {
    let service = Service::new(memory());
    let held = service.locks.lock_named("a").await.unwrap();
    for error in [service.try_it("a").await.unwrap_err(), service.try_two("a").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(error.name().unwrap().as_bytes(), b"a");
    }
    assert!(service.locks.try_lock_named("b").await.is_ok(), "all or nothing");
    assert_eq!(service.entered.load(SeqCst), 0);
    held.release().await.unwrap();
    service.try_it("a").await.unwrap();
    service.try_two("a").await.unwrap();
    assert_eq!(service.entered.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn when_it_is_too_late_the_body_is_not_entered() {
    let service = Service::new(memory());
    let held = service.locks.lock_named("a").await.unwrap();
    assert!(service.soon("a").await.unwrap_err().is_timed_out());
    let asked = tokio::time::Instant::now();
    assert!(service.within("a", Duration::from_secs(2)).await.unwrap_err().is_timed_out());
    assert_eq!(asked.elapsed().as_secs(), 4, "by the paused clock");
    assert_eq!(service.entered.load(SeqCst), 0);
    held.release().await.unwrap();
    service.soon("a").await.unwrap();
    service.within("a", Duration::ZERO).await.unwrap();
    assert_eq!(service.entered.load(SeqCst), 2);
}

#[tokio::test]
async fn readers_are_in_there_together() {
    let service = Service::new(memory());
    let Capability { shared, .. } = service.locks.capability();
    assert!(shared);
    let meet = Semaphore::new(0);
    let (one, two) = tokio::join!(service.read("a", "b", &meet), service.read("b", "a", &meet));
    one.and(two).unwrap();
    assert_eq!(service.entered.load(SeqCst), 2);
    let writer = service.locks.lock_named("b").await.unwrap();
    assert!(service.read("a", "b", &meet).now_or_never().is_none());
    assert_eq!(service.entered.load(SeqCst), 2);
    writer.release().await.unwrap();
}

#[synchronized("vol-1", locks = locks)]
async fn by_value(locks: Locks) -> Result<bool, Error> {
    Ok(locks.inspect("vol-1").await?.is_held())
}

#[synchronized("vol-1", locks = locks)]
async fn by_arc(locks: Arc<Locks>) -> Result<bool, Error> {
    Ok(locks.inspect("vol-1").await?.is_held())
}

#[synchronized("vol-1", locks = locks.with_prefix("p-"))]
async fn by_expression(locks: &Locks) -> Result<bool, Error> {
    Ok(locks.inspect("p-vol-1").await?.is_held())
}

/// Whatever the locks are given as, they are borrowed only.
#[tokio::test]
async fn locks_of_every_kind() {
    let locks = memory();
    assert!(by_value(locks.clone()).await.unwrap());
    assert!(by_arc(Arc::new(locks.clone())).await.unwrap());
    assert!(by_expression(&locks).await.unwrap());
}

/// A function of a type that has a size keeps about that size, however many are inside each other.
#[test]
fn futures_stay_small() {
    #[synchronized("a", locks = locks)]
    async fn inner(locks: &Locks, big: [u8; 4096]) -> Result<usize, Error> {
        tokio::task::yield_now().await;
        Ok(big.iter().filter(|byte| **byte == 1).count())
    }
    async fn bare(big: [u8; 4096]) -> Result<usize, Error> {
        tokio::task::yield_now().await;
        Ok(big.iter().filter(|byte| **byte == 1).count())
    }
    let locks = memory();
    let (ours, plain) = (inner(&locks, [1; 4096]), bare([1; 4096]));
    assert!(size_of_val(&ours) < size_of_val(&plain) + 2 * 4096, "{}", size_of_val(&ours));
    assert_eq!(plain.now_or_never().is_none(), ours.now_or_never().is_none());
}
