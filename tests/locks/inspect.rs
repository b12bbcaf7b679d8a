//! Looking at who holds a name.

use std::time::Duration;

use futures::FutureExt;
use keyward::{ErrorKind, Locks, Mode, Occupancy, Status};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok};

use crate::{by_hand, memory, now, paused};

fn look(locks: &Locks) -> Status {
    locks.inspect("a").now_or_never().unwrap().unwrap()
}

fn longest(locks: &Locks) -> Option<u64> {
    look(locks).longest_wait.map(|wait| wait.as_secs())
}

fn mode(status: &Status) -> Option<Mode> {
    match status.occupancy {
        Occupancy::Held { mode, .. } => Some(mode),
        _ => None,
    }
}

#[test]
fn it_tells_how_a_name_is_held_and_who_waits() {
    let runtime = paused();
    let _inside = runtime.enter();
    let locks = memory();
    assert_eq!((mode(&look(&locks)), look(&locks).waiters), (None, 0));
    let readers = [(); 2].map(|()| now(locks.lock_named("a").shared()).unwrap());
    assert_eq!(mode(&look(&locks)), Some(Mode::Shared));
    let [first, second] = readers;
    drop(second);
    assert_eq!(mode(&look(&locks)), Some(Mode::Shared));

    // The writer asks the store; those behind it wait for their turn.
    let mut writer = by_hand(locks.lock_named("a"));
    assert_pending!(writer.poll());
    assert_eq!((mode(&look(&locks)), look(&locks).waiters), (Some(Mode::Shared), 1));
    runtime.block_on(advance(Duration::from_secs(3)));
    let mut behind = by_hand(locks.lock_named("a"));
    assert_pending!(behind.poll());
    runtime.block_on(advance(Duration::from_secs(2)));
    assert_eq!((look(&locks).waiters, longest(&locks)), (2, Some(5)));
    drop(first);
    let writer = assert_ready_ok!(writer.poll());
    assert_eq!((mode(&look(&locks)), look(&locks).waiters), (Some(Mode::Exclusive), 1));
    assert_eq!(longest(&locks), Some(2), "of those who are left");
    drop(behind);
    assert_eq!((look(&locks).waiters, longest(&locks)), (0, None));
    drop(writer);
    assert!(!look(&locks).is_held());
}

#[test]
fn a_store_in_memory_tells_since_when_and_with_which_token() {
    let owner = |locks: &Locks| match look(locks).occupancy {
        Occupancy::Held { owner: Some(owner), .. } => owner,
        other => panic!("{other:?}"),
    };
    let locks = memory();
    let before = std::time::SystemTime::now();
    let lease = now(locks.lock_named("a")).unwrap();
    let since = owner(&locks).since.unwrap();
    assert!(before <= since && since <= std::time::SystemTime::now());
    assert_eq!(owner(&locks).token, lease.fencing_token());
    assert_eq!(owner(&locks).pid, Some(std::process::id()));
    assert_eq!(owner(&locks).since, Some(since), "it stays");
    drop(lease);
    assert!(!look(&locks).is_held());

    // Of readers the first, and no token; and nothing of those before.
    let first = now(locks.lock_named("a").shared()).unwrap();
    let since = owner(&locks).since.unwrap();
    let second = now(locks.lock_named("a").shared()).unwrap();
    assert_eq!((owner(&locks).since, owner(&locks).token), (Some(since), None));
    let runtime = paused();
    let _inside = runtime.enter();
    let mut writer = by_hand(locks.lock_named("a"));
    assert_pending!(writer.poll());
    drop((first, second));
    let writer = assert_ready_ok!(writer.poll());
    assert_eq!(owner(&locks).token, writer.fencing_token());
    assert!(owner(&locks).since.unwrap() >= since);
    let mut next = by_hand(locks.lock_named("a"));
    assert_pending!(next.poll());
    drop(writer);
    let next = assert_ready_ok!(next.poll());
    assert_eq!(owner(&locks).token, next.fencing_token());
}

#[test]
fn it_holds_nothing() {
    let locks = memory();
    for _ in 0..3 {
        assert!(!look(&locks).is_held());
        drop(now(locks.try_lock_named("a")).unwrap());
    }
}

#[test]
fn a_backend_that_does_not_tell_is_unsupported() {
    #[derive(Debug)]
    struct Mute;
    impl keyward::contract::Backend for Mute {
        type Hold = keyward::memory::MemoryHold;
        async fn acquire(
            &self,
            _: &keyward::LockName,
            _: keyward::contract::Request,
        ) -> Result<Option<Self::Hold>, keyward::Error> {
            Ok(None)
        }
        fn capability(&self) -> keyward::Capability {
            keyward::Capability::new("mute")
        }
    }
    let locks = Locks::builder().backend(Mute);
    let error = locks.inspect("a").now_or_never().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Unsupported, Some("mute")));
    assert!(now(locks.lock_named("a")).unwrap_err().is_timed_out());
    assert_eq!(locks.collect_garbage(Duration::ZERO).now_or_never().unwrap().unwrap(), 0);
}
