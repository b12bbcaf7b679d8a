//! Fencing tokens tell who came later.

use super::{Fixture, NotApplicable, Verdict, by_hand::ByHand, lock, named, release, two};
use crate::{contract::Fencing, lease::Lease, locks::Locks, token::FencingToken};

/// Without tokens there must be none, rather than some that mean nothing.
pub(super) async fn applicable(locks: &Locks, name: &str) -> Verdict {
    if locks.capability().fencing != Fencing::Off {
        return Ok(());
    }
    let lease = lock(locks, name).await;
    assert_eq!(lease.fencing_token(), None, "the backend says that it has no tokens");
    release(lease).await;
    Err(NotApplicable::because("the backend has no fencing tokens"))
}

fn grown(last: &mut Option<FencingToken>, lease: &Lease, how: &str) {
    let token = lease.fencing_token();
    assert!(token.is_some(), "{how}: no token");
    assert_eq!(token, lease.fencing_token(), "{how}: a lease keeps its token");
    assert!(token > *last, "{how}: token {token:?} after {last:?}");
    *last = token;
}

/// The tokens of one name strictly increase: over releases and drops, over handles, over hand-overs
/// inside of one handle, and over new connections.
pub async fn tokens_grow(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let name = named(fixture, "fenced");
    applicable(&handles[0], &name).await?;
    let mut last = None;
    for round in 0..12 {
        let lease = lock(&handles[(round / 2) % 2], &name).await;
        grown(&mut last, &lease, "another lock");
        if round % 3 == 0 { drop(lease) } else { release(lease).await }
    }
    let mut lease = lock(&handles[0], &name).await;
    grown(&mut last, &lease, "another lock");
    for round in 0..12 {
        let mut next = ByHand::new(handles[0].lock_named(&name));
        next.must_wait("a lock of a held name");
        if round % 3 == 0 {
            drop(lease)
        } else {
            release(lease).await
        }
        lease = next.finish("a lock that is handed over").await.expect("it is free");
        grown(&mut last, &lease, "a hand-over");
    }
    release(lease).await;
    for _ in 0..3 {
        let locks = fixture.connect().await;
        let lease = lock(&locks, &name).await;
        grown(&mut last, &lease, "a new connection");
        release(lease).await;
        locks.close().await;
    }
    for locks in &handles {
        let lease = lock(locks, &name).await;
        grown(&mut last, &lease, "an old connection");
        release(lease).await;
    }
    Ok(())
}

/// A shared hold has no token: there is no order to tell.
pub async fn readers_have_no_token(fixture: &impl Fixture) -> Verdict {
    let locks = fixture.connect().await;
    if !locks.capability().shared {
        return Err(NotApplicable::because("the backend has no shared mode"));
    }
    let lease = locks.lock_named(named(fixture, "read")).shared().await.expect("it is free");
    assert_eq!(lease.fencing_token(), None);
    release(lease).await;
    Ok(())
}
