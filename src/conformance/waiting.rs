//! Waits that end: at their limit, by being dropped, by closing.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};

use super::{
    Fixture, NotApplicable, Verdict, busy,
    by_hand::{ByHand, drop_at_every_await},
    free, lock, named, release, soon, two,
};
use crate::error::ErrorKind;

/// Without blocking, a held name is [`WouldBlock`](ErrorKind::WouldBlock) whatever the limit, and a
/// free one is locked.
pub async fn without_blocking_a_held_name_is_an_error(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "busy");
    let lease = lock(&handles[0], &name).await;
    for locks in &handles {
        for limit in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX] {
            let wait = locks.lock_named(&name).timeout(limit).blocking(false);
            let error = soon("a try", wait.into_future()).await.expect_err("it is held");
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{limit:?}");
        }
    }
    release(lease).await;
    for locks in &handles {
        let wait = locks.lock_named(&name).timeout(Duration::ZERO).blocking(false);
        release(soon("a try", wait.into_future()).await.expect("it is free")).await;
    }
    Ok(())
}

/// A free name is locked also with a limit of nothing.
pub async fn a_free_name_is_locked_whatever_the_limit(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "free");
    for limit in [Duration::ZERO, Duration::from_secs(30), Duration::MAX] {
        for locks in &handles {
            let wait = locks.lock_named(&name).timeout(limit);
            let lease = soon("a lock of a free name", wait.into_future()).await;
            release(lease.unwrap_or_else(|e| panic!("a free name within {limit:?}: {e}"))).await;
        }
    }
    let past = handles[0].lock_named(&name).deadline(Instant::now());
    release(soon("a lock of a free name", past.into_future()).await.expect("it is free")).await;
    Ok(())
}

/// A wait is [`TimedOut`](ErrorKind::TimedOut) at its limit and not before, in the queue of its own
/// handle and at the store; without an end it has none.
pub async fn waits_end_at_the_limit(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "busy");
    let lease = lock(&handles[0], &name).await;
    for limit in [0, 1, 300_000, 1_000_000, 200_000_000].map(Duration::from_nanos) {
        for locks in &handles {
            let start = Instant::now();
            let wait = locks.lock_named(&name).timeout(limit);
            let error = soon("a limit", wait.into_future()).await.expect_err("it is held");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{limit:?}");
            assert!(start.elapsed() >= limit, "{limit:?}: given up after {:?}", start.elapsed());
        }
    }
    for locks in &handles {
        let late = locks.lock_named(&name).deadline(Instant::now());
        let error = soon("a limit", late.into_future()).await.expect_err("it is held");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let endless = |n: usize| ByHand::new(handles[n].lock_named(&name).timeout(Duration::MAX));
    let (mut near, mut far) = (endless(0), endless(1));
    near.settle("a wait without end").await;
    far.settle("a wait without end").await;
    drop(lease);
    // Whoever comes first; each lets the other in.
    let both = async {
        tokio::join!(
            async { release(near.finish("a wait").await.expect("it is free")).await },
            async { release(far.finish("a wait").await.expect("it is free")).await },
        )
    };
    soon("waits without end", both).await;
    Ok(())
}

/// A wait at the store leaves nothing held and nothing queued wherever it is dropped, also just after
/// it was granted.
pub async fn a_cancelled_wait_leaves_nothing(fixture: &impl Fixture) -> Verdict {
    let [holder, locks] = two(fixture).await;
    let name = named(fixture, "cancelled");
    let wait = || locks.lock_named(&name).into_future();
    drop_at_every_await(&holder, std::slice::from_ref(&name), wait).await;
    free(&locks, &name).await;
    Ok(())
}

/// The same in the queue of its own handle, where the hold may just have been handed over.
pub async fn a_cancelled_wait_in_the_queue_leaves_nothing(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "cancelled");
    let wait = || locks.lock_named(&name).into_future();
    drop_at_every_await(&locks, std::slice::from_ref(&name), wait).await;
    free(&other, &name).await;
    Ok(())
}

/// The same in shared mode.
pub async fn a_cancelled_reader_leaves_nothing(fixture: &impl Fixture) -> Verdict {
    let [holder, locks] = two(fixture).await;
    if !locks.capability().shared {
        return Err(NotApplicable::because("the backend has no shared mode"));
    }
    let name = named(fixture, "cancelled");
    let wait = || locks.lock_named(&name).shared().into_future();
    drop_at_every_await(&holder, std::slice::from_ref(&name), wait).await;
    drop_at_every_await(&locks, std::slice::from_ref(&name), wait).await;
    free(&holder, &name).await;
    Ok(())
}

/// The same with several names, some of them held already.
pub async fn a_cancelled_lock_all_leaves_nothing(fixture: &impl Fixture) -> Verdict {
    let [holder, locks] = two(fixture).await;
    let names = ["a", "b", "c"].map(|part| named(fixture, part));
    drop_at_every_await(&holder, &names, || locks.lock_all(&names).into_future()).await;
    for name in &names {
        free(&locks, name).await;
    }
    Ok(())
}

/// Many waits that end at a bad moment never let two in, and leave the name free.
pub async fn a_storm_of_timeouts_leaves_nothing(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..12_u64 {
        let locks = handles[usize::from(task % 2 == 0)].clone();
        let (name, inside) = (named(fixture, "storm"), Arc::clone(&inside));
        tasks.spawn(async move {
            for round in 0..30_u64 {
                let limit = Duration::from_micros((task * 31 + round * 97) % 3000);
                match locks.lock_named(&name).timeout(limit).await {
                    Ok(lease) => {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold one name");
                        yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                    Err(e) => assert!(e.is_timed_out(), "{e}"),
                }
            }
        });
    }
    soon("a storm", tasks.join_all()).await;
    for locks in &handles {
        release(lock(locks, &named(fixture, "storm")).await).await;
    }
    Ok(())
}

/// [`close`](crate::Locks::close) ends the waits of its own handle, takes no lease away, and returns
/// when the last one is released.
pub async fn closing_ends_waits_and_waits_for_leases(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let (ours, theirs) = (named(fixture, "ours"), named(fixture, "theirs"));
    let (lease, elsewhere) = (lock(&locks, &ours).await, lock(&other, &theirs).await);
    let mut queued = ByHand::new(locks.lock_named(&ours));
    let mut asking = ByHand::new(locks.lock_named(&theirs));
    queued.settle("a lock of a held name").await;
    asking.settle("a lock of a held name").await;

    let mut closing = ByHand::new(locks.close());
    closing.must_wait("closing with a lease out");
    for wait in [&mut queued, &mut asking] {
        let error = wait.finish("a wait of closed locks").await.expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    let error = locks.lock_named(named(fixture, "new")).await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    closing.settle("closing with a lease out").await;
    soon("to ask whether it is held", lease.ensure_held()).await.expect("it is held");
    busy(&other, &ours).await;

    release(lease).await;
    closing.finish("closing without leases").await;
    free(&other, &ours).await;
    release(elsewhere).await;
    free(&other, &theirs).await;
    soon("closing again", locks.close()).await;
    Ok(())
}
