//! Guards, handles and futures that end in every order, by panic, or never.

use std::{future::Future, mem::forget, panic, panic::AssertUnwindSafe, thread};

use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn a_guard_outlives_its_registry() {
    for readers in [0, 1, 3] {
        let names = Names::new();
        let writer = (readers == 0).then(|| names.try_lock_named("a").unwrap());
        let readers: Vec<_> = (0..readers).map(|_| names.try_read_named("a").unwrap()).collect();
        let other = names.try_lock_named("b").unwrap();
        drop(names);
        assert_eq!(other.name(), "b");
        drop(writer);
        drop(other);
        for reader in readers {
            assert_eq!(reader.name(), "a");
            drop(reader);
        }
    }
}

#[test]
fn a_thousand_guards_outlive_their_registry_on_other_threads() {
    let names = Names::new();
    let held: Vec<_> = (0..1000).map(|n| names.try_lock_named(&n.to_string()).unwrap()).collect();
    let threads: Vec<_> = held
        .into_iter()
        .enumerate()
        .fold([vec![], vec![], vec![], vec![]], |mut parts, (n, guard)| {
            parts[n % 4].push(guard);
            parts
        })
        .into_iter()
        .map(|part| thread::spawn(move || drop(part)))
        .collect();
    drop(names);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn the_last_handle_may_be_any_clone() {
    let names = Names::new();
    let (clone, prefixed) = (names.clone(), names.with_prefix("x-"));
    let guard = names.try_lock_named("x-a").unwrap();
    drop(names);
    assert!(prefixed.try_lock_named("a").is_err());
    drop(prefixed);
    drop(guard);
    assert!(clone.try_lock_named("x-a").is_ok());
}

#[test]
fn a_panic_while_holding_releases() {
    let names = Names::new();
    let mut wait = task::spawn(names.lock_named("a"));
    let inner = names.clone();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let _guard = inner.try_lock_named("a").unwrap();
        assert_pending!(wait.poll());
        panic!("in the critical section");
    }));
    assert!(panicked.is_err());
    assert!(wait.is_woken());
    drop(assert_ready!(wait.poll()));
    drop(names.try_lock_named("a").unwrap());
    assert!(names.is_empty());
}

#[tokio::test]
async fn a_task_that_panics_or_is_aborted_releases() {
    let names = Names::new();
    let inner = names.clone();
    let panicking = tokio::spawn(async move {
        let _guard = inner.lock_named("a").await;
        panic!("in the critical section");
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert!(names.is_empty());

    let inner = names.clone();
    let (holds, held) = tokio::sync::oneshot::channel();
    let endless = tokio::spawn(async move {
        let _guard = inner.lock_named("a").await;
        holds.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    held.await.unwrap();
    assert!(names.try_lock_named("a").is_err());
    endless.abort();
    assert!(endless.await.unwrap_err().is_cancelled());
    assert!(names.is_empty());
}

#[test]
fn a_panicking_eq_breaks_nothing() {
    #[derive(Clone, Debug)]
    struct Touchy(bool);
    impl std::hash::Hash for Touchy {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    impl PartialEq for Touchy {
        fn eq(&self, other: &Self) -> bool {
            assert!(!self.0 && !other.0, "do not compare me");
            true
        }
    }
    impl Eq for Touchy {}
    #[derive(Clone, Default)]
    struct Same;
    impl std::hash::BuildHasher for Same {
        type Hasher = std::hash::DefaultHasher;
        fn build_hasher(&self) -> Self::Hasher {
            std::hash::DefaultHasher::new()
        }
    }
    let keys = keyward::LockRegistry::<Touchy, Same>::default();
    let guard = keys.try_lock_named(&Touchy(true)).unwrap();
    let asked =
        panic::catch_unwind(AssertUnwindSafe(|| keys.try_lock_named(&Touchy(true)).is_ok()));
    assert!(asked.is_err());
    assert_eq!(keys.len(), 1);
    drop(guard);
    assert!(keys.is_empty());
    assert!(keys.try_lock_named(&Touchy(true)).is_ok());
}

#[test]
fn a_forgotten_guard_holds_its_key_and_nothing_else() {
    let names = Names::new();
    forget(names.try_lock_named("a").unwrap());
    assert!(names.try_lock_named("a").is_err());
    let mut wait = task::spawn(names.lock_named("a"));
    assert_pending!(wait.poll());
    drop(wait);
    drop(names.try_lock_named("b").unwrap());
    assert_eq!(names.len(), 1);
    let guard = names.try_lock_named("c").unwrap();
    drop(names);
    drop(guard);
}

#[test]
fn a_forgotten_future_keeps_its_place() {
    let names = Names::new();
    let guard = names.try_lock_named("a").unwrap();
    let waker = futures::task::noop_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut wait = Box::pin(names.lock_named("a"));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    forget(wait);
    assert_eq!(names.waiters("a"), 1);
    drop(guard);
    assert_eq!((names.holders("a"), names.waiters("a")), (1, 0), "handed over, never taken");
    assert!(names.try_lock_named("a").is_err());
    assert!(names.try_lock_named("b").is_ok());
}

#[test]
fn a_future_that_forgets_itself_does_not_outlive_the_table() {
    let names = Names::new();
    let guard = names.try_lock_named("a").unwrap();
    let readers = [(); 20].map(|()| {
        let mut wait = Box::pin(names.read_named("a"));
        let waker = futures::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        wait
    });
    // The borrow ends here, the places in the queue do not.
    readers.into_iter().for_each(forget);
    drop(names);
    drop(guard); // hands over to futures that will never come
}
