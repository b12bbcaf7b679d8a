//! One holder at a time, and the next one after it.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::{JoinSet, yield_now};

use super::{
    Fixture, NotApplicable, Verdict, busy, by_hand::ByHand, free, lock, named, release, soon, two,
};
use crate::{
    contract::{Mode, Occupancy},
    error::ErrorKind,
};

/// Twenty tasks over two handles hold a name one at a time.
pub async fn excludes(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let (locks, name) = (handles[task % 2].clone(), named(fixture, "busy"));
        let inside = Arc::clone(&inside);
        tasks.spawn(async move {
            for round in 0..10 {
                let lease = lock(&locks, &name).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold one name");
                yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                if (task + round) % 3 == 0 {
                    drop(lease);
                } else {
                    release(lease).await;
                }
            }
        });
    }
    soon("20 tasks taking turns", tasks.join_all()).await;
    Ok(())
}

/// A held name is refused to everybody, by an error that says what it is about; other names are free.
pub async fn try_fails_while_held(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let (held, other) = (named(fixture, "held"), named(fixture, "other"));
    let lease = lock(&handles[0], &held).await;
    assert_eq!(lease.name().as_bytes(), held.as_bytes());
    for locks in &handles {
        let error = locks.try_lock_named(&held).await.expect_err("it is held");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(error.name(), Some(lease.name()));
        assert_eq!(error.backend(), Some(locks.capability().backend));
        free(locks, &other).await;
    }
    soon("to ask whether it is held", lease.ensure_held()).await.expect("it is held");
    release(lease).await;
    for locks in &handles {
        free(locks, &held).await;
    }
    Ok(())
}

/// Who holds a name and asks for it again waits, like everybody else.
pub async fn is_not_reentrant(fixture: &impl Fixture) -> Verdict {
    let (locks, name) = (fixture.connect().await, named(fixture, "twice"));
    let lease = lock(&locks, &name).await;
    busy(&locks, &name).await;
    let mut again = ByHand::new(locks.lock_named(&name));
    again.settle("a second lock of a held name").await;
    release(lease).await;
    release(again.finish("the second lock").await.expect("it is free")).await;
    Ok(())
}

/// A name that was released is to be had, at once, by everybody.
pub async fn a_release_frees(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "again");
    for round in 0..10 {
        let lease = handles[round % 2].try_lock_named(&name).await;
        release(lease.unwrap_or_else(|e| panic!("round {round}: {e}"))).await;
    }
    Ok(())
}

/// A name whose lease was dropped is to be had soon, also by those who wait for it already.
pub async fn a_drop_frees(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "dropped");
    let mut lease = lock(&handles[0], &name).await;
    for round in 0..10 {
        let mut next = ByHand::new(handles[round % 2].lock_named(&name));
        next.settle("a lock of a held name").await;
        drop(lease);
        lease = next.finish("a lock of a dropped name").await.expect("it is free");
    }
    drop(lease);
    release(lock(&handles[1], &name).await).await;
    Ok(())
}

/// Leases and waits may be dropped where there is no runtime, as destructors of a program drop them: it
/// does not panic, and it frees.
pub async fn a_drop_needs_no_runtime(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "outside");
    for round in 0..3 {
        let lease = lock(&handles[0], &name).await;
        let mut waits = Vec::new();
        for locks in &handles {
            let mut wait = ByHand::new(locks.lock_named(&name));
            wait.settle("a lock of a held name").await;
            waits.push(wait);
        }
        let last = waits.pop().expect("it is the one of the other handle");
        match round {
            0 => outside_of_a_runtime((waits, last, lease)).await,
            1 => outside_of_a_runtime((lease, last, waits)).await,
            _ => {
                outside_of_a_runtime((lease, waits)).await;
                let mut last = last;
                let last = last.finish("a lock of a dropped name").await.expect("it is free");
                outside_of_a_runtime(last).await;
            }
        }
        for locks in &handles {
            release(lock(locks, &name).await).await;
        }
    }
    Ok(())
}

/// Drops it on a thread that knows no runtime.
async fn outside_of_a_runtime(what: impl Send + 'static) {
    let (dropped, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        drop(what);
        let _ = dropped.send(()); // or nobody waits any more
    });
    let end = soon("a drop outside of a runtime", end).await;
    assert!(end.is_ok(), "a drop outside of a runtime panicked");
}

/// A name that goes from task to task inside of one handle is free for the others in the end, also if
/// the last one in the queue leaves it.
pub async fn a_hand_over_frees_in_the_end(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "passed on");
    let mut lease = lock(&locks, &name).await;
    for _ in 0..5 {
        let mut next = ByHand::new(locks.lock_named(&name));
        next.must_wait("a lock of a held name");
        release(lease).await;
        lease = next.finish("a lock that is handed over").await.expect("it is free");
        busy(&other, &name).await;
    }
    let mut last = ByHand::new(locks.lock_named(&name));
    last.must_wait("a lock of a held name");
    release(lease).await;
    soon("the hand-over", last.woken()).await;
    drop(last);
    release(lock(&other, &name).await).await;
    Ok(())
}

/// A lease is good without the [`Locks`](crate::Locks) that it came from, on other tasks too.
pub async fn a_lease_outlives_its_locks(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "orphan");
    let lease = lock(&locks, &name).await;
    drop(locks);
    busy(&other, &name).await;
    let holder = tokio::spawn(async move {
        soon("to ask whether it is held", lease.ensure_held()).await.expect("it is held");
        release(lease).await;
    });
    holder.await.expect("the holder panicked");
    free(&other, &name).await;
    Ok(())
}

/// The tasks of one handle are served in the order of their first polls.
pub async fn local_waiters_are_served_in_order(fixture: &impl Fixture) -> Verdict {
    let (locks, name) = (fixture.connect().await, named(fixture, "queue"));
    let mut lease = lock(&locks, &name).await;
    let wait = |_| {
        let mut wait = ByHand::new(locks.lock_named(&name).into_future());
        wait.must_wait("a lock of a held name");
        wait
    };
    let mut waits: std::collections::VecDeque<_> = (0..6).map(wait).collect();
    while let Some(mut first) = waits.pop_front() {
        release(lease).await;
        // Had it gone to a later one, nobody would poll that one, and this would wait in vain.
        lease = first.finish("the first in the queue").await.expect("it is free");
        for later in &mut waits {
            later.must_wait("a later one in the queue");
        }
    }
    release(lease).await;
    Ok(())
}

/// [`inspect`](crate::Locks::inspect) tells held from free.
pub async fn inspect_tells(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "seen");
    match soon("a look", handles[0].inspect(&name)).await {
        Ok(status) => assert!(!status.is_held(), "nobody has locked {status:?}"),
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            return Err(NotApplicable::because("the backend does not tell who holds a name"));
        }
        Err(e) => panic!("a look failed: {e}"),
    }
    let lease = lock(&handles[0], &name).await;
    for locks in &handles {
        let status = soon("a look", locks.inspect(&name)).await.expect("it looks");
        let exclusive = matches!(status.occupancy, Occupancy::Held { mode: Mode::Exclusive, .. });
        assert!(exclusive, "{status:?} is held exclusively");
        assert_eq!(status.name, *lease.name());
    }
    busy(&handles[1], &name).await; // looking has taken nothing away
    release(lease).await;
    for locks in &handles {
        let status = soon("a look", locks.inspect(&name)).await.expect("it looks");
        assert!(!status.is_held(), "{status:?} was released");
        free(locks, &name).await;
    }
    Ok(())
}
