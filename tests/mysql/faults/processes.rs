//! Processes that die or freeze, while they hold and while they wait.

use tokio::time::Instant;

use super::{
    peer::{Peer, must_see_its_loss},
    room::{
        SLACK, connect, millis, must_be_held, name, secs, soon, until_clean, until_waiters, url,
        within,
    },
};
use crate::server::Kind;

at_once! { frozen_processes:
    a_frozen_holder_is_followed_after_the_ttl_and_knows_when_it_wakes
    a_frozen_holder_has_lost_it_even_if_nobody_wants_it
    a_short_freeze_is_no_loss
    a_waiter_that_is_granted_while_it_is_frozen_does_not_keep_it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_killed_is_followed() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("killed-holder"));
        let url = url(server, "ttl=30");
        let (mut holder, mut next) = (Peer::start(&url), Peer::start(&url));
        let first = holder.lock(&name).await;
        next.queue(&name).await;
        until_waiters(server, &name, 1).await;
        let locks = connect(&url).await;
        let last = tokio::spawn(locks.lock_named(name.as_str()).into_future());
        until_waiters(server, &name, 2).await;
        // Long before the ttl: the end of its connections is enough.
        holder.kill();
        let second = within(secs(10), "another process", next.holds()).await;
        next.kill();
        let lease = within(secs(10), "a task of ours", last).await.unwrap().unwrap();
        let third = lease.fencing_token().unwrap().get();
        assert!(first < second && second < third, "{first} {second} {third}");
        must_be_held(lease).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_is_killed_is_passed_over() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("killed-waiter"));
        let url = url(server, "ttl=30");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named(name.as_str()).await.unwrap();
        let mut dead = Peer::start(&url);
        dead.queue(&name).await;
        until_waiters(server, &name, 1).await;
        let wait = tokio::spawn(two.lock_named(name.as_str()).into_future());
        until_waiters(server, &name, 2).await;
        dead.kill();
        must_be_held(lease).await;
        // It was the first in the queue, and may still have been there.
        must_be_held(within(secs(10), "the next one", wait).await.unwrap().unwrap()).await;
        until_clean(server, &[&name], secs(10)).await;
    }
}

async fn a_frozen_holder_is_followed_after_the_ttl_and_knows_when_it_wakes() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("frozen-holder"));
        let url = url(server, "ttl=3&heartbeat=500ms");
        let mut holder = Peer::start(&url);
        let token = holder.lock(&name).await;
        let locks = connect(&url).await;
        let wait = tokio::spawn(locks.lock_named(name.as_str()).into_future());
        until_waiters(server, &name, 1).await;
        // A heartbeat after this look makes its end later, never earlier.
        let looked = Instant::now();
        let left = holder.ask("left").await.parse().unwrap();
        holder.freeze();
        let frozen = Instant::now();
        let lease = soon("the takeover", wait).await.unwrap().unwrap();
        let taken = Instant::now();
        assert!(taken >= looked + millis(left), "{left} ms were left {:?} ago", looked.elapsed());
        assert!(taken <= frozen + secs(3) + SLACK, "after {:?}", frozen.elapsed());
        assert!(token < lease.fencing_token().unwrap().get());
        holder.thaw();
        must_see_its_loss(&mut holder).await;
        // And what it does does not touch the new holder.
        must_be_held(lease).await;
        // It is not out of order for good.
        holder.lock(&name).await;
        assert_eq!(holder.ask("release").await, "Released");
    }
}

/// Nobody waits, so nobody takes it over: the holder has lost it all the same.
async fn a_frozen_holder_has_lost_it_even_if_nobody_wants_it() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("frozen-alone"));
        let mut holder = Peer::start(&url(server, "ttl=3&heartbeat=250ms"));
        holder.lock(&name).await;
        holder.freeze();
        until_clean(server, &[&name], secs(3) + SLACK).await;
        holder.thaw();
        must_see_its_loss(&mut holder).await;
    }
}

/// A freeze that is shorter than the ttl loses nothing.
async fn a_short_freeze_is_no_loss() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("short-freeze"));
        let mut holder = Peer::start(&url(server, "ttl=10&heartbeat=250ms"));
        holder.lock(&name).await;
        holder.freeze();
        tokio::time::sleep(secs(3)).await;
        holder.thaw();
        assert_eq!(holder.ask("look").await, "Held None Ok(())");
        assert_eq!(holder.ask("release").await, "Released");
    }
}

async fn a_waiter_that_is_granted_while_it_is_frozen_does_not_keep_it() {
    for kind in Kind::all() {
        let (server, name) = (kind.shared(), name("frozen-waiter"));
        let url = url(server, "ttl=3&heartbeat=250ms");
        let (one, two) = (connect(&url).await, connect(&url).await);
        let lease = one.lock_named(name.as_str()).await.unwrap();
        let mut frozen = Peer::start(&url);
        frozen.queue(&name).await;
        until_waiters(server, &name, 1).await;
        frozen.freeze();
        let wait = tokio::spawn(two.lock_named(name.as_str()).into_future());
        until_waiters(server, &name, 2).await;
        let released = Instant::now();
        must_be_held(lease).await;
        let lease = soon("the turn of the next one", wait).await.unwrap().unwrap();
        let waited = released.elapsed();
        assert!(waited >= millis(2900), "it was not granted before: {waited:?}");
        assert!(waited <= secs(3) + SLACK, "{waited:?}");
        // It hears of the grant only now, and must not take it for one.
        frozen.thaw();
        assert!(frozen.is_silent(secs(1)).await, "two holders");
        until_waiters(server, &name, 1).await;
        let token = lease.fencing_token().unwrap().get();
        must_be_held(lease).await;
        assert!(token < frozen.holds().await);
        assert_eq!(frozen.ask("release").await, "Released");
        until_clean(server, &[&name], secs(5)).await;
    }
}
