//! How a body ends: by itself, with `?`, with a panic, with its caller, or because the lease is lost.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use keyward::{Error, ErrorKind, LockRegistry, Locks, synchronized};
use tokio_test::{assert_pending, task};

use crate::{
    Room, memory,
    scripted::{Script, Scripted},
};

/// An error that a caller has of its own.
#[derive(Debug, PartialEq)]
enum Failure {
    Lock(ErrorKind),
    Body,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lock(error.kind())
    }
}

/// Waits until it is dropped.
#[synchronized("a", locks = locks)]
async fn forever(locks: &Locks, alive: Arc<()>) -> Result<(), Failure> {
    pending::<()>().await;
    drop(alive);
    Ok(())
}

#[synchronized("a", "b", locks = locks)]
async fn forever_with_both(locks: &Locks, alive: Arc<()>) -> Result<(), Failure> {
    pending::<()>().await;
    drop(alive);
    Ok(())
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_held() {
    let locks = memory();
    let alive = Arc::new(());
    let mut call = task::spawn(forever(&locks, Arc::clone(&alive)));
    assert_pending!(call.poll());
    assert!(locks.try_lock_named("a").await.is_err());
    drop(call);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(locks.try_lock_named("a").await.is_ok());

    let registry = LockRegistry::<String>::new();
    #[synchronized("a", registry = registry)]
    async fn forever_in(registry: &LockRegistry) {
        pending::<()>().await;
    }
    assert!(forever_in(&registry).now_or_never().is_none());
    assert!(registry.is_empty());
}

#[tokio::test]
async fn a_body_is_dropped_when_its_lease_is_lost() {
    let room = Room::new();
    let locks = room.locks().await;
    for name in ["a", "b"] {
        let alive = Arc::new(());
        let mut call = if name == "a" {
            task::spawn(forever(&locks, Arc::clone(&alive)).boxed())
        } else {
            task::spawn(forever_with_both(&locks, Arc::clone(&alive)).boxed())
        };
        // The file's lock may take several polls.
        let entered = async {
            while !locks.inspect(name).await.unwrap().is_held() {
                assert_pending!(call.poll());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), entered).await.expect("it gets the lock");
        assert_pending!(call.poll());
        room.remove(name);
        let lost = tokio::time::timeout(Duration::from_secs(30), call).await;
        assert_eq!(lost.expect("a loss is told"), Err(Failure::Lock(ErrorKind::Lost)));
        assert_eq!(Arc::strong_count(&alive), 1, "the body is gone");
        let next = locks.lock_named(name).timeout(Duration::from_secs(30)).await.unwrap();
        next.release().await.unwrap();
    }
}

#[synchronized("a", locks = locks)]
async fn outcome(locks: &Locks, backend: &Scripted, fails: bool) -> Result<u8, Failure> {
    assert!(locks.inspect("a").await?.is_held());
    if fails {
        return Err(Failure::Body);
    }
    tokio::task::yield_now().await;
    drop(backend.counts());
    Ok(7)
}

/// The work is done and the lock becomes free by itself: nothing that the caller can act on.
#[tokio::test]
async fn a_release_that_is_not_confirmed_changes_nothing() {
    let unreachable = || Some(ErrorKind::Unavailable);
    for (fails, result) in [(false, Ok(7)), (true, Err(Failure::Body))] {
        let backend = Scripted::new(Script { release_fails: unreachable(), ..Script::default() });
        assert_eq!(outcome(&backend.locks(), &backend, fails).await, result);
        assert_eq!(backend.counts().releases, 1);
    }
}

#[synchronized("a", locks = locks)]
async fn severed(locks: &Locks, backend: &Scripted, fails: bool) -> Result<u8, Failure> {
    assert!(backend.sever(b"a"), "the loss is told while the body is being polled");
    if fails { Err(Failure::Body) } else { Ok(7) }
}

#[tokio::test]
async fn a_loss_at_the_end_is_told_unless_the_body_failed() {
    let lost = Err(Failure::Lock(ErrorKind::Lost));
    for (fails, result) in [(false, lost), (true, Err(Failure::Body))] {
        let backend = Scripted::default();
        assert_eq!(severed(&backend.locks(), &backend, fails).await, result);
    }
}

#[tokio::test]
async fn a_panic_releases() {
    #[synchronized("a", locks = locks)]
    async fn in_locks(locks: &Locks) -> Result<(), Error> {
        tokio::task::yield_now().await;
        panic!("the body's own")
    }
    #[synchronized("a", registry = registry)]
    async fn in_registry(registry: Arc<LockRegistry>) -> u32 {
        tokio::task::yield_now().await;
        panic!("the body's own")
    }
    let locks = memory();
    let shared = locks.clone();
    let panicked = tokio::spawn(async move { in_locks(&shared).await }).await.unwrap_err();
    assert!(panicked.is_panic());
    assert!(locks.try_lock_named("a").await.is_ok());
    let registry = Arc::new(LockRegistry::new());
    let panicked = tokio::spawn(in_registry(Arc::clone(&registry))).await.unwrap_err();
    assert!(panicked.is_panic());
    assert!(registry.is_empty());
}

/// Every way out of a body, with the inference that it had without the attribute.
#[tokio::test]
async fn ways_out() {
    #[synchronized("a", locks = locks)]
    async fn parse(
        locks: &Locks,
        text: &str,
        seen: &AtomicUsize,
    ) -> Result<Vec<u32>, Box<dyn std::error::Error + Send + Sync>> {
        seen.fetch_add(1, SeqCst);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        if text == "?" {
            return Err("a question".into());
        }
        let numbers = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(numbers)
    }
    let (locks, seen) = (memory(), AtomicUsize::new(0));
    assert_eq!(parse(&locks, "1,2", &seen).await.unwrap(), [1, 2]);
    assert!(parse(&locks, "", &seen).await.unwrap().is_empty());
    assert_eq!(parse(&locks, "?", &seen).await.unwrap_err().to_string(), "a question");
    assert!(parse(&locks, "x", &seen).await.is_err());
    assert_eq!(seen.load(SeqCst), 4);
    assert!(locks.try_lock_named("a").await.is_ok());
}
