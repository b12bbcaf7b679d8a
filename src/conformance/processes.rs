//! Other processes: they hold, they wait, they are killed and stopped.

use std::{future::IntoFuture, time::Duration};

use tokio::time::timeout;

use super::{
    Fixture, NotApplicable, Verdict, busy, by_hand::ByHand, free, lock, named, peer::Peer, release,
    soon, two,
};
use crate::error::ErrorKind;

/// How long a name that must not be had is waited for.
const A_MOMENT: Duration = Duration::from_secs(1);

/// The bound on what a stopped process in the queue may cost the others.
const PASSED_OVER_WITHIN: Duration = Duration::from_secs(10);

/// What another process holds is refused here and waited for, and the other way round.
pub async fn processes_exclude(fixture: &impl Fixture) -> Verdict {
    let mut peer = Peer::start(fixture)?;
    let handles = two(fixture).await;
    let name = named(fixture, "theirs");
    peer.lock(&name).await;
    let mut waits = Vec::new();
    for locks in &handles {
        busy(locks, &name).await;
        let mut wait = ByHand::new(locks.lock_named(&name));
        wait.settle("a lock of a name that another process holds").await;
        waits.push(wait);
    }
    peer.tell("release");
    peer.expect("released").await;
    let both = waits.iter_mut().map(|wait| async {
        release(wait.finish("a lock of a released name").await.expect("it is free")).await;
    });
    soon("both handles", futures::future::join_all(both)).await;

    let lease = lock(&handles[0], &name).await;
    peer.tell(&format!("try {name}"));
    peer.expect("busy").await;
    peer.tell(&format!("try {}", named(fixture, "another")));
    peer.must_hold().await;
    peer.release().await;
    peer.queue(&name).await;
    release(lease).await;
    peer.must_hold().await;
    busy(&handles[0], &name).await;
    peer.release().await;
    free(&handles[0], &name).await;
    Ok(())
}

/// Readers of several processes hold a name together, and writers wait for them.
pub async fn processes_share(fixture: &impl Fixture) -> Verdict {
    let mut peer = Peer::start(fixture)?;
    let locks = fixture.connect().await;
    if !locks.capability().shared {
        return Err(NotApplicable::because("the backend has no shared mode"));
    }
    let name = named(fixture, "read");
    let lease = locks.lock_named(&name).shared().await.expect("it is free");
    peer.tell(&format!("shared {name}"));
    peer.must_hold().await;
    release(lease).await;
    busy(&locks, &name).await;
    let again = soon("a reader", locks.lock_named(&name).shared().into_future()).await;
    let again = again.expect("readers share");
    peer.release().await;
    peer.queue(&name).await;
    release(again).await;
    peer.must_hold().await;
    let refused = soon("a try", locks.try_lock_named(&name).shared().into_future()).await;
    assert!(refused.expect_err("another process writes").is_would_block());
    peer.release().await;
    Ok(())
}

/// The tokens of one name strictly increase from process to process.
pub async fn tokens_grow_over_processes(fixture: &impl Fixture) -> Verdict {
    let mut peers = [Peer::start(fixture)?, Peer::start(fixture)?];
    let (locks, name) = (fixture.connect().await, named(fixture, "fenced"));
    super::tokens::applicable(&locks, &name).await?;
    let mut last = None;
    for round in 0..9 {
        let token = match round % 3 {
            2 => {
                let lease = lock(&locks, &name).await;
                let token = lease.fencing_token();
                release(lease).await;
                token
            }
            n => {
                let token = peers[n].lock(&name).await;
                peers[n].release().await;
                token
            }
        };
        assert!(token.is_some() && token > last, "round {round}: {token:?} after {last:?}");
        last = token;
    }
    // Also past one that is killed while it holds.
    let token = peers[0].lock(&name).await;
    peers[0].kill();
    let lease = lock(&locks, &name).await;
    assert!(token > last && lease.fencing_token() > token, "a killed holder's token came again");
    release(lease).await;
    Ok(())
}

/// What a process holds is free once it is killed.
pub async fn a_killed_holder_frees(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "killed");
    for locks in &handles {
        let mut peer = Peer::start(fixture)?;
        peer.lock(&name).await;
        let mut wait = ByHand::new(locks.lock_named(&name));
        wait.settle("a lock of a name that another process holds").await;
        peer.kill();
        release(wait.finish("a lock of a killed process").await.expect("it is free")).await;
    }
    Ok(())
}

/// A process that is stopped keeps what it holds.
pub async fn a_stopped_holder_holds(fixture: &impl Fixture) -> Verdict {
    let mut peer = Peer::start(fixture)?;
    let (locks, name) = (fixture.connect().await, named(fixture, "stopped"));
    let lease = lock(&locks, &name).await;
    let until = lease.valid_until();
    release(lease).await;
    if until.is_some() {
        return Err(NotApplicable::because("a hold ends if its process is not heard of"));
    }
    peer.lock(&name).await;
    peer.stop()?;
    busy(&locks, &name).await;
    let wait = locks.lock_named(&name).timeout(A_MOMENT).into_future();
    let error = soon("a limit", wait).await.expect_err("a stopped process holds it");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let mut wait = ByHand::new(locks.lock_named(&name));
    wait.settle("a lock of a stopped process").await;
    peer.resume();
    peer.release().await;
    release(wait.finish("a lock of a released name").await.expect("it is free")).await;
    Ok(())
}

/// A process that is killed in the queue is not waited for.
pub async fn a_killed_waiter_is_passed_over(fixture: &impl Fixture) -> Verdict {
    let (mut killed, mut next) = (Peer::start(fixture)?, Peer::start(fixture)?);
    let handles = two(fixture).await;
    let name = named(fixture, "queue");
    let lease = lock(&handles[0], &name).await;
    killed.queue(&name).await;
    next.queue(&name).await;
    let mut last = ByHand::new(handles[1].lock_named(&name));
    last.settle("a lock of a held name").await;
    killed.kill();
    release(lease).await;
    served(&mut next, &mut last).await;
    // Not a try: if the dead one came last, the store may take a moment to find out.
    release(lock(&handles[0], &name).await).await;
    Ok(())
}

/// A process that is stopped in the queue is not waited for, for long; it gets its turn once it goes on.
pub async fn a_stopped_waiter_is_passed_over(fixture: &impl Fixture) -> Verdict {
    let (mut stopped, mut next) = (Peer::start(fixture)?, Peer::start(fixture)?);
    let handles = two(fixture).await;
    let name = named(fixture, "queue");
    let lease = lock(&handles[0], &name).await;
    stopped.queue(&name).await;
    stopped.stop()?;
    next.queue(&name).await;
    let mut last = ByHand::new(handles[1].lock_named(&name));
    last.settle("a lock of a held name").await;
    release(lease).await;
    let others = timeout(PASSED_OVER_WITHIN, served(&mut next, &mut last)).await;
    assert!(others.is_ok(), "a stopped process in the queue keeps the others waiting");
    stopped.resume();
    stopped.must_hold().await;
    busy(&handles[0], &name).await;
    stopped.release().await;
    // Not a try: those who have passed by may still be leaving the queue.
    release(lock(&handles[0], &name).await).await;
    Ok(())
}

/// Another process and a wait of ours, in either order.
async fn served(peer: &mut Peer, ours: &mut ByHand<crate::acquire::Acquiring>) {
    let theirs = async {
        peer.must_hold().await;
        peer.release().await;
    };
    let ours = async {
        release(ours.finish("a wait in the queue").await.expect("it is free")).await;
    };
    futures::future::join(theirs, ours).await;
}
