//! Work under leases, and what becomes of it and of them.

use std::sync::Arc;

use futures::FutureExt;
use keyward::{Error, ErrorKind, Leases};
use tokio_test::{assert_pending, assert_ready_err, task};

use crate::{
    memory,
    scripted::{Script, Scripted},
};

fn both(backend: &Scripted) -> Leases {
    backend.locks().lock_all(["a", "b"]).into_future().now_or_never().unwrap().unwrap()
}

#[test]
fn of_several_leases_the_first_loss_stops_the_work() {
    for name in ["a", "b"] {
        let backend = Scripted::default();
        let leases = both(&backend);
        let alive = Arc::new(());
        let inside = Arc::clone(&alive);
        let mut work = task::spawn(leases.run(async move {
            std::future::pending::<()>().await;
            drop(inside);
        }));
        assert_pending!(work.poll());
        assert!(backend.sever(name.as_bytes()) && work.is_woken());
        let error = assert_ready_err!(work.poll());
        assert!(error.is_lost());
        assert_eq!(error.name().unwrap().to_string(), name);
        assert_eq!(Arc::strong_count(&alive), 1, "dropped before it is told");
        assert_pending!(work.poll());
    }
}

#[test]
fn work_that_is_ready_together_with_a_loss_is_not_returned() {
    let backend = Scripted::default();
    let leases = both(&backend);
    assert_eq!(leases.run(async { 7 }).now_or_never().unwrap().unwrap(), 7);
    assert!(backend.sever(b"b"));
    assert!(leases.run(async { 7 }).now_or_never().unwrap().unwrap_err().is_lost());
    let none = memory().lock_all::<&str>([]).into_future().now_or_never().unwrap().unwrap();
    assert_eq!(none.run(async { 7 }).now_or_never().unwrap().unwrap(), 7);
}

#[test]
fn the_outcome_comes_before_the_release() {
    for fails in [None, Some(ErrorKind::Unavailable)] {
        for severed in [false, true] {
            let done = |outcome: Result<u8, Error>| {
                let backend = Scripted::new(Script { release_fails: fails, ..Script::default() });
                let leases = both(&backend);
                assert!(!severed || backend.sever(b"b"));
                let outcome = leases.release_after(outcome).now_or_never().unwrap();
                assert_eq!(backend.counts().releases, 2);
                outcome
            };
            let outcome = done(Ok(7));
            match severed {
                // Also where nothing answers any more, which may be the same misfortune.
                true => {
                    let error = outcome.unwrap_err();
                    assert!(error.is_lost() && error.name().unwrap().to_string() == "b");
                }
                false => assert_eq!(outcome.unwrap(), 7),
            }
            let outcome = done(Err(Error::new(ErrorKind::StorageFull)));
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::StorageFull);
        }
    }
}

#[test]
fn an_outcome_after_one_lease() {
    let unavailable = Some(ErrorKind::Unavailable);
    for (fails, severed) in [(None, false), (None, true), (unavailable, false), (unavailable, true)]
    {
        let backend = Scripted::new(Script { release_fails: fails, ..Script::default() });
        let lease = crate::now(backend.locks().lock_named("a")).unwrap();
        if severed {
            assert!(backend.sever(b"a"));
        }
        let outcome = lease.release_after(Ok::<_, Error>(7)).now_or_never().unwrap();
        match outcome {
            Ok(value) => assert!(value == 7 && !severed),
            Err(error) => {
                assert!(severed && error.is_lost());
                assert_eq!(error.name().unwrap().to_string(), "a");
            }
        }
        assert_eq!(backend.counts().releases, 1);
    }
}

/// While the release is under way, which is the last moment.
#[test]
fn a_loss_that_only_the_release_finds_is_told_with_what_is_known() {
    let backend = Scripted::default();
    let confirmed = Arc::clone(&backend.store().releasing).try_write_owned().unwrap();
    let lease = crate::now(backend.locks().lock_named("a")).unwrap();
    let mut one = task::spawn(lease.release_after(Ok::<_, Error>(7)));
    assert_pending!(one.poll());
    let leases =
        backend.locks().lock_all(["b", "c"]).into_future().now_or_never().unwrap().unwrap();
    let mut several = task::spawn(leases.release_after(Ok::<_, Error>(7)));
    assert_pending!(several.poll());
    let many: Vec<_> = (10..30).map(|n| n.to_string()).collect();
    let leases = backend.locks().lock_all(many).into_future().now_or_never().unwrap().unwrap();
    let mut many = task::spawn(leases.release_after(Ok::<_, Error>(7)));
    assert_pending!(many.poll());
    assert!(backend.sever(b"a") && backend.sever(b"c") && backend.sever(b"29"));
    drop(confirmed);

    let error = assert_ready_err!(one.poll());
    assert!(error.is_lost());
    let says = "the lease was found to be lost when it was released";
    assert_eq!(error.to_string(), format!(r#"{says} (lock "a", scripted)"#));
    let error = assert_ready_err!(several.poll());
    assert!(error.is_lost() && error.name().is_none());
    let says = "one of these leases was found to be lost when they were released";
    assert_eq!(error.to_string(), format!(r#"{says}: "b", "c" (scripted)"#));
    let says = assert_ready_err!(many.poll()).to_string();
    assert!(
        says.contains(r#": "10", "11", "#) && says.ends_with(r#""17" and 12 more (scripted)"#),
        "{says}"
    );
}

#[test]
fn several_names_are_shared_together() {
    let locks = memory();
    let read = || locks.lock_all(["a", "b"]).shared().into_future().now_or_never().unwrap();
    let (one, two) = (read().unwrap(), read().unwrap());
    assert_eq!((one.len(), two.len()), (2, 2));
    let refused = locks.try_lock_named("b").into_future().now_or_never().unwrap();
    assert!(refused.unwrap_err().is_would_block());
    drop((one, two));
    let _writer = crate::now(locks.try_lock_named("b")).unwrap();
    let refused = locks.lock_all(["a", "b"]).shared().blocking(false).into_future().now_or_never();
    let error = refused.unwrap().unwrap_err();
    assert!(error.is_would_block() && error.name().unwrap().to_string() == "b");
    assert!(crate::now(locks.try_lock_named("a")).is_ok(), "all or none");
}
