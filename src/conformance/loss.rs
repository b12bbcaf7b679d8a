//! A loss is told, in time, and a release is none.

use std::{
    future::{IntoFuture, pending},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Fixture, NotApplicable, Verdict, busy, by_hand::ByHand, chain, lock, named, release, soon, two,
};
use crate::{
    contract::Fencing,
    lease::{Lease, Released},
    watch::LeaseState,
};

/// A lease that is vouched for longer than this is not waited for.
const A_LONG_LEASE: Duration = Duration::from_secs(30);

/// How long a handle that has been cut off is left alone between two questions.
const A_PAUSE: Duration = Duration::from_millis(50);

/// [`lost`](Lease::lost) is silent when the lease is released or dropped, and when others take the
/// name, lose it or release it afterwards.
pub async fn a_release_is_no_loss(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "released");
    let mut listeners = Vec::new();
    let mut listen = |lease: &Lease| {
        assert_eq!(lease.state(), LeaseState::Held);
        let mut lost = ByHand::new(lease.lost());
        lost.must_wait("a loss");
        listeners.push((lost, lease.cancellation_token()));
    };
    let lease = lock(&locks, &name).await;
    listen(&lease);
    release(lease).await;
    let lease = lock(&other, &name).await;
    listen(&lease);
    drop(lease);
    let lease = lock(&locks, &name).await;
    listen(&lease);
    let mut next = ByHand::new(locks.lock_named(&name));
    next.must_wait("a lock of a held name");
    release(lease).await;
    let lease = next.finish("a lock that is handed over").await.expect("it is free");
    listen(&lease);
    let done = soon("work under a lease", lease.run(async { 7 })).await;
    assert_eq!(done.expect("the lease is held"), 7);
    release(lease).await;
    release(lock(&other, &name).await).await;

    let within = locks.capability().loss_told_within.unwrap_or_default();
    let while_listening = (within * 2).min(Duration::from_secs(5));
    let told = join_all(listeners.iter().map(|(lost, _)| lost.woken()));
    drop(timeout(while_listening, told).await);
    for (lost, token) in &mut listeners {
        lost.must_wait("a loss of a lease that was released");
        assert!(!token.is_cancelled(), "a release cancels nothing");
    }
    Ok(())
}

/// Who holds a lease that is taken away learns of it in every way there is, and the name goes on
/// with a larger token.
pub async fn a_severed_lease_is_lost(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "severed");
    let lease = lock(&locks, &name).await;
    let token = lease.fencing_token();
    assert_eq!(lease.state(), LeaseState::Held);
    let mut lost = ByHand::new(lease.lost());
    let mut work = ByHand::new(lease.run(pending::<()>()));
    lost.must_wait("a loss");
    work.must_wait("endless work");
    fixture.sever(&lease).await?;

    let reason = lost.finish("lost() of a severed lease").await;
    let error = work.finish("run() under a severed lease").await.expect_err("it is lost");
    assert!(error.is_lost(), "{error}");
    drop(work);
    assert_eq!(lease.state(), LeaseState::Lost(reason));
    assert!(lease.cancellation_token().is_cancelled(), "a token of a lost lease is cancelled");
    let error = soon("to ask whether it is held", lease.ensure_held()).await;
    let error = error.expect_err("it is lost");
    assert!(error.is_lost(), "{error}");
    assert_eq!(error.name(), Some(lease.name()));
    let late = lease.run(async {}).await.expect_err("nothing is begun under a lost lease");
    assert!(late.is_lost(), "{late}");

    let next = lock(&other, &name).await;
    if locks.capability().fencing != Fencing::Off {
        assert!(next.fencing_token() > token, "the token of a lost lease is not the largest");
    }
    match soon("the release of a lost lease", lease.release()).await {
        Ok(released) => assert_eq!(released, Released::WasLost),
        Err(e) => panic!("the release of a lost lease failed: {e}"),
    }
    soon("to ask whether it is held", next.ensure_held()).await.expect("this one is not lost");
    release(next).await;
    release(lock(&locks, &name).await).await;

    // Somebody who has not listened is told when he asks.
    let lease = lock(&locks, &name).await;
    fixture.sever(&lease).await?;
    let error = soon("to ask whether it is held", lease.ensure_held()).await;
    assert!(error.expect_err("it is lost").is_lost());
    let released = soon("the release of a lost lease", lease.release()).await;
    assert_eq!(released.expect("the store answers"), Released::WasLost);
    release(lock(&other, &name).await).await;
    Ok(())
}

/// A hold that is known to be lost is not handed to the next task in the queue.
pub async fn a_severed_lease_is_not_passed_on(fixture: &impl Fixture) -> Verdict {
    let locks = fixture.connect().await;
    let name = named(fixture, "severed");
    for listening in [true, false] {
        let lease = lock(&locks, &name).await;
        let lost = lease.lost();
        let mut next = ByHand::new(locks.lock_named(&name));
        next.must_wait("a lock of a held name");
        fixture.sever(&lease).await?;
        if listening {
            soon("lost() of a severed lease", lost).await;
        }
        drop(lease);
        let next = next.finish("the next one").await.expect("it is free");
        match soon("to ask whether it is held", next.ensure_held()).await {
            Ok(()) => release(next).await,
            // Where nobody knew, it may have gone on; then who has it is told, and it ends there.
            Err(e) => {
                assert!(!listening, "what was known to be lost was handed over: {e}");
                assert!(e.is_lost(), "{e}");
                drop(next);
                let fresh = lock(&locks, &name).await;
                soon("to ask whether it is held", fresh.ensure_held()).await.expect("it is fresh");
                release(fresh).await;
            }
        }
    }
    Ok(())
}

/// A holder that is cut off from the store has been told of its loss when another one has the name, and
/// what it had under way takes nothing away from that one once the network has healed.
pub async fn a_cut_off_holder_is_told_first(fixture: &impl Fixture) -> Verdict {
    let (locks, network) = fixture.connect_through_a_network().await?;
    let other = fixture.connect().await;
    let (name, another) = (named(fixture, "cut off"), named(fixture, "another"));
    let lease = lock(&locks, &name).await;
    let mut lost = ByHand::new(lease.lost());
    lost.must_wait("a loss");
    network.cut();
    let next = lock(&other, &name).await;
    assert!(lost.is_woken(), "another one has the name, and its holder has not been told");
    let reason = lost.finish("lost() of a holder that is cut off").await;
    assert_eq!(lease.state(), LeaseState::Lost(reason));

    network.heal();
    // What it had sent before is behind us once it is heard of.
    soon("a lock through a network that has healed", async {
        while let Err(e) = locks.lock_named(&another).await {
            assert!(e.is_retryable(), "a network that has healed: {}", chain(&e));
            sleep(A_PAUSE).await;
        }
    })
    .await;
    soon("to ask whether it is held", next.ensure_held()).await.expect("this one is not lost");
    assert!(lease.ensure_held().await.expect_err("it is lost").is_lost());
    match soon("the release of a lost lease", lease.release()).await {
        Ok(released) => assert_eq!(released, Released::WasLost),
        Err(e) => assert!(e.is_retryable(), "the release of a lost lease: {}", chain(&e)),
    }
    busy(&locks, &name).await;
    soon("to ask whether it is held", next.ensure_held()).await.expect("this one is not lost");
    release(next).await;
    release(lock(&locks, &name).await).await;
    Ok(())
}

/// A wait may take longer than the store vouches for anybody without hearing of him; what comes of it is
/// a lease like any other.
pub async fn a_wait_may_outlast_a_lease(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let name = named(fixture, "long");
    let lease = lock(&locks, &name).await;
    let Some(until) = lease.valid_until() else {
        return Err(NotApplicable::because("a lease has no end"));
    };
    let length = until.saturating_duration_since(Instant::now());
    if length > A_LONG_LEASE {
        return Err(NotApplicable::because("a lease is longer than a test should take"));
    }
    let wait = tokio::spawn(other.lock_named(&name).into_future());
    sleep(length + length / 2).await;
    assert!(!wait.is_finished(), "a lock of a held name does not wait");
    soon("to ask whether it is held", lease.ensure_held()).await.expect("it is held");
    release(lease).await;
    let lease = soon("a long wait", wait).await.expect("it does not panic").expect("it is free");
    let held = soon("to ask whether it is held", lease.ensure_held()).await;
    held.unwrap_or_else(|e| panic!("what was waited for so long is not held: {}", chain(&e)));
    busy(&locks, &name).await;
    release(lease).await;
    Ok(())
}
