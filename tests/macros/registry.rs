//! Over a `LockRegistry`, whose waits do not fail and whose guards are not lost.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use keyward::{Elapsed, LockRegistry, TryLockError, synchronized};
use tokio::sync::Notify;
use tokio_test::{assert_pending, assert_ready, task};

#[derive(Debug, PartialEq)]
enum Refused {
    Held,
    Late,
}

impl From<TryLockError> for Refused {
    fn from(_: TryLockError) -> Self {
        Self::Held
    }
}

impl From<Elapsed> for Refused {
    fn from(_: Elapsed) -> Self {
        Self::Late
    }
}

#[derive(Default)]
struct Service {
    locks: LockRegistry,
    entered: AtomicUsize,
    go: Notify,
}

impl Service {
    fn must_hold(&self, name: &str, holders: usize) {
        assert_eq!(self.locks.holders(name), holders, "{name}");
        self.entered.fetch_add(1, SeqCst);
    }

    #[synchronized("vol-{id}", registry = self.locks)]
    async fn resize(&self, id: u32) -> u32 {
        self.must_hold("vol-7", 1);
        self.go.notified().await;
        id
    }

    #[synchronized("vol-{id}", registry = self.locks)]
    async fn nothing(&self, id: u32) {
        self.must_hold("vol-7", 1);
    }

    #[synchronized("LIN", registry = self.locks, prefix = "cinder-")]
    async fn literal(&self) {
        self.must_hold("cinder-LIN", 1);
    }

    #[synchronized("{a}", "b", "{a}", registry = self.locks)]
    async fn several(&self, a: &str) -> usize {
        self.must_hold(a, 1);
        self.must_hold("b", 1);
        self.locks.len()
    }

    #[synchronized("{name}", registry = self.locks, blocking = false)]
    async fn try_it(&self, name: &str) -> Result<(), Refused> {
        self.must_hold(name, 1);
        Ok(())
    }

    #[synchronized("{name}", registry = self.locks, timeout = "1s")]
    async fn soon(&self, name: &str) -> Result<(), Refused> {
        self.must_hold(name, 1);
        Ok(())
    }

    #[synchronized("{name}", registry = self.locks, shared)]
    async fn read(&self, name: &str) {
        self.must_hold(name, 2);
    }

    #[synchronized("{name}", registry = self.locks, shared, blocking = false)]
    async fn try_read(&self, name: &str) -> Result<(), Refused> {
        self.must_hold(name, 2);
        Ok(())
    }

    #[synchronized("{name}", registry = self.locks, shared, timeout = limit)]
    async fn read_soon(&self, name: &str, limit: Duration) -> Result<(), Refused> {
        self.must_hold(name, 2);
        Ok(())
    }
}

#[tokio::test]
async fn names_are_held_and_callers_exclude_each_other() {
    let service = Service::default();
    let mut first = task::spawn(service.resize(7));
    assert_pending!(first.poll());
    let mut second = task::spawn(service.resize(7));
    assert_pending!(second.poll());
    assert_eq!(service.entered.load(SeqCst), 1);
    service.go.notify_one();
    assert_eq!(assert_ready!(first.poll()), 7);
    assert_pending!(second.poll());
    assert_eq!(service.entered.load(SeqCst), 2);
    service.go.notify_one();
    assert_ready!(second.poll());
    assert!(service.locks.is_empty());

    service.nothing(7).await;
    service.literal().await;
    assert_eq!(service.several("z").await, 2);
    assert_eq!(service.several("b").await, 1);
    assert!(service.locks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_the_lock_the_body_is_not_entered() {
    let service = Service::default();
    let held = service.locks.lock_named("a").await;
    assert_eq!(service.try_it("a").await, Err(Refused::Held));
    assert_eq!(service.try_read("a").await, Err(Refused::Held));
    assert_eq!(service.soon("a").await, Err(Refused::Late));
    assert_eq!(service.read_soon("a", Duration::from_secs(3)).await, Err(Refused::Late));
    assert!(service.read("a").now_or_never().is_none());
    assert_eq!(service.entered.load(SeqCst), 0);
    drop(held);
    assert_eq!(service.try_it("a").await, Ok(()));
    assert_eq!(service.soon("a").await, Ok(()));
    assert_eq!(service.entered.load(SeqCst), 2);

    let _reader = service.locks.read_named("a").await;
    service.read("a").await;
    assert_eq!(service.try_read("a").await, Ok(()));
    assert_eq!(service.read_soon("a", Duration::from_secs(3)).await, Ok(()));
    assert_eq!(service.entered.load(SeqCst), 5);
}

static NAMES: LazyLock<LockRegistry<Box<str>>> = LazyLock::new(LockRegistry::new);

#[synchronized("{name}", registry = NAMES)]
async fn in_a_static(name: &str) -> usize {
    NAMES.holders(name)
}

#[synchronized("{name}", registry = registry)]
async fn in_an_arc(registry: Arc<LockRegistry>, name: &str) -> usize {
    registry.holders(name)
}

#[synchronized("{name}", registry = registry.with_prefix("p-"))]
async fn in_an_expression(registry: &LockRegistry, name: &str) -> usize {
    registry.holders(&format!("p-{name}"))
}

#[tokio::test]
async fn registries_of_every_kind() {
    assert_eq!(in_a_static("a").await, 1);
    assert_eq!(in_an_arc(Arc::default(), "a").await, 1);
    assert_eq!(in_an_expression(&LockRegistry::new(), "a").await, 1);
}

/// Also what the last expression borrows, which in older editions outlives the variables.
#[tokio::test]
async fn what_the_body_has_made_is_gone_when_the_lock_is_released() {
    struct Probe<'a>(&'a LockRegistry, &'a AtomicUsize);

    impl Probe<'_> {
        fn value(&self) -> u32 {
            1
        }
    }

    impl Drop for Probe<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.holders("a"), 1, "the lock was released first");
            self.1.fetch_add(1, SeqCst);
        }
    }

    #[synchronized("a", registry = registry)]
    async fn body(registry: &LockRegistry, dropped: &AtomicUsize, early: bool) -> u32 {
        let _variable = Probe(registry, dropped);
        if early {
            return Probe(registry, dropped).value();
        }
        Probe(registry, dropped).value()
    }

    let (registry, dropped) = (LockRegistry::new(), AtomicUsize::new(0));
    body(&registry, &dropped, false).await;
    body(&registry, &dropped, true).await;
    assert_eq!(dropped.load(SeqCst), 4);
    assert!(registry.is_empty());
}
