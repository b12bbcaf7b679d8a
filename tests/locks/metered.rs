//! The numbers that a recorder gets.

use std::time::Duration;

use keyward::ErrorKind;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};

use crate::{by_hand, now, numbers::Numbers, paused, scripted::Scripted};

#[test]
fn waits_holds_and_losses_are_counted() {
    let numbers = Numbers::default();
    let _installed = metrics::set_default_local_recorder(&numbers);
    let runtime = paused();
    let _inside = runtime.enter();
    let backend = Scripted::default();
    let locks = backend.locks();
    let of = |name: &str| numbers.get(&format!("keyward.{name}"));
    let acquired =
        |outcome: &str| of(&format!("acquire.duration backend=scripted outcome={outcome}"));

    let first = now(locks.lock_named("a")).unwrap();
    let mut wait = by_hand(locks.lock_named("a"));
    let mut given_up = by_hand(locks.lock_named("a"));
    let mut late = by_hand(locks.lock_named("a").timeout(Duration::from_secs(1)));
    assert_pending!(wait.poll());
    assert_pending!(given_up.poll());
    assert_pending!(late.poll());
    assert!(now(locks.try_lock_named("a")).is_err());
    assert_eq!(of("waiters backend=scripted"), [3.0]);
    runtime.block_on(advance(Duration::from_secs(2)));
    assert!(assert_ready_err!(late.poll()).is_timed_out());
    drop(given_up);
    drop(first);
    let second = assert_ready_ok!(wait.poll());
    assert_eq!(of("held backend=scripted"), [1.0]);
    assert_eq!(of("waiters backend=scripted"), [0.0]);
    assert_eq!(acquired("acquired"), [0.0, 2.0], "seconds");
    assert_eq!(acquired("timeout"), [2.0]);
    assert_eq!(acquired("cancelled"), [2.0]);
    assert_eq!(acquired("conflict").len(), 1);

    let _ = second.state();
    assert!(backend.sever(b"a"));
    assert_eq!(of("lost backend=scripted reason=closed"), [1.0]);
    runtime.block_on(advance(Duration::from_secs(3)));
    drop(second);
    assert_eq!(of("held backend=scripted"), [0.0]);
    assert_eq!(of("hold.duration backend=scripted"), [2.0, 3.0]);

    backend.script().acquire_fails = Some(ErrorKind::ResourceLimit);
    assert!(now(locks.lock_named("a")).is_err());
    assert_eq!(acquired("error error.type=ResourceLimit").len(), 1);
    let names = numbers.names();
    assert!(names.iter().all(|name| !name.contains("name=")), "no name is a label: {names:?}");
}

#[test]
fn they_are_described_with_their_units() {
    let numbers = Numbers::default();
    metrics::with_local_recorder(&numbers, keyward::metrics::describe);
    let described = numbers.names();
    for duration in ["acquire.duration", "hold.duration"] {
        let line = format!("keyward.{duration} is in seconds");
        assert!(described.contains(&line), "{described:?}");
    }
    for count in ["waiters", "held", "lost"] {
        let line = format!("keyward.{count} is in count");
        assert!(described.contains(&line), "{described:?}");
    }
}
