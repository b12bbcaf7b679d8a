//! Networks that fail: cut both ways, cut one way, slow, reset.

use futures::FutureExt;
use keyward::{ErrorKind, Lease, LeaseState, Locks, LossReason, Released};
use tokio::time::Instant;

use super::room::{
    SLACK, TELLING, connect, millis, must_be_held, must_be_lost, name, secs, soon, tcp_url,
    until_clean, until_state, until_waiters, url, within,
};
use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server},
};

at_once! { networks_that_fail:
    a_holder_that_is_cut_off_is_followed
    a_waiter_that_is_cut_off_is_passed_over
    a_grant_that_arrives_too_late_is_none
    a_network_that_recovers_in_time_loses_nothing
    a_reset_is_told_by_the_next_heartbeat_and_waits_go_on
    what_is_released_in_doubt_keeps_nothing_open
}

const OPTIONS: &str = "ttl=4&heartbeat=250ms&connect_timeout=2";

/// Locks over a network of their own, and others that are never cut off.
async fn apart(server: &Server) -> (Proxy, Locks, Locks) {
    let proxy = Proxy::start(Target::Port(server.port()));
    let cut = connect(tcp_url(proxy.port(), OPTIONS)).await;
    (proxy, cut, connect(url(server, OPTIONS)).await)
}

/// Told within its time, and only then followed.
async fn holder_is_followed(server: &Server, cut_off: fn(&Proxy), how: &str) {
    let (proxy, cut, other) = apart(server).await;
    let name = name("cut");
    let lease = cut.lock_named(name.as_str()).await.unwrap();
    let wait = tokio::spawn(other.lock_named(name.as_str()).into_future());
    until_waiters(server, &name, 1).await;
    let lost = lease.lost();
    let told = tokio::spawn(async move { (lost.await, Instant::now()) });
    tokio::time::sleep(millis(300)).await;
    cut_off(&proxy);
    let since = Instant::now();
    until_state(&lease, LeaseState::Suspended, millis(2250) + SLACK).await;
    assert!(!told.is_finished() && !wait.is_finished(), "{how}: only in doubt");
    let until = lease.valid_until().unwrap();
    let (reason, told) = soon(how, told).await.unwrap();
    assert_eq!(reason, LossReason::Expired, "{how}");
    assert!(told >= until && told <= until + TELLING, "{how}: {:?}", told - until);
    let next = soon(how, wait).await.unwrap().unwrap();
    assert!(Instant::now() >= until, "{how}: two holders");
    assert!(since.elapsed() < secs(4) + SLACK, "{how}: {:?}", since.elapsed());
    assert!(lease.fencing_token().unwrap() < next.fencing_token().unwrap(), "{how}");
    must_be_lost(lease, LossReason::Expired).await;
    // Nothing hangs while it lasts.
    let error = within(secs(9), how, cut.try_lock_named("free").into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{how}: {error:?}");
    proxy.heal();
    let busy = soon(how, cut.try_lock_named(name.as_str()).into_future()).await.unwrap_err();
    assert!(busy.is_would_block(), "{how}: {busy:?}");
    must_be_held(next).await;
    must_be_held(soon(how, cut.lock_named(name.as_str()).into_future()).await.unwrap()).await;
    until_clean(server, &[&name], secs(4) + SLACK).await;
}

async fn a_holder_that_is_cut_off_is_followed() {
    for kind in Kind::all() {
        let server = kind.shared();
        tokio::join!(
            holder_is_followed(server, Proxy::silence, "both ways"),
            holder_is_followed(server, Proxy::silence_to_server, "to the server"),
            deaf_holder_is_followed(server),
        );
    }
}

/// The server hears it all the time, so it keeps the lock until the connection is given up, and then as
/// long as the server takes to see it.
async fn deaf_holder_is_followed(server: &Server) {
    let (proxy, cut, other) = apart(server).await;
    let name = name("deaf");
    let lease = cut.lock_named(name.as_str()).await.unwrap();
    let lost = lease.lost();
    proxy.silence_to_client();
    let since = Instant::now();
    until_state(&lease, LeaseState::Suspended, millis(2250) + SLACK).await;
    let until = lease.valid_until().unwrap();
    assert_eq!(soon("the loss", lost).await, LossReason::Expired);
    assert!(Instant::now() >= until && until.elapsed() < TELLING, "{:?}", until.elapsed());
    let next = soon("the next", other.lock_named(name.as_str()).into_future()).await.unwrap();
    assert!(Instant::now() >= until && since.elapsed() < secs(8) + SLACK);
    must_be_lost(lease, LossReason::Expired).await;
    must_be_held(next).await;
    proxy.heal();
    must_be_held(soon("a lock", cut.lock_named(name.as_str()).into_future()).await.unwrap()).await;
}

/// A wait ends when its caller says, and what is left of it at the server when the server finds out.
async fn waiter_is_passed_over(server: &Server, cut_off: fn(&Proxy), how: &str) {
    let (proxy, cut, other) = apart(server).await;
    let name = name("blocked");
    let lease = other.lock_named(name.as_str()).await.unwrap();
    let begun = Instant::now();
    let wait = tokio::spawn(cut.lock_named(name.as_str()).timeout(secs(3)).into_future());
    until_waiters(server, &name, 1).await;
    cut_off(&proxy);
    let error = within(secs(3) + SLACK, how, wait).await.unwrap().unwrap_err();
    let waited = begun.elapsed();
    assert!(error.is_timed_out(), "{how}: {error:?}");
    assert!(waited >= secs(3) && waited < secs(5), "{how}: {waited:?}");
    // The server may believe that it is there, and grant it the lock; then until the ttl.
    must_be_held(lease).await;
    let next = within(secs(4) + SLACK, how, other.lock_named(name.as_str()).into_future()).await;
    must_be_held(next.unwrap()).await;
    proxy.heal();
    must_be_held(soon(how, cut.lock_named(name.as_str()).into_future()).await.unwrap()).await;
    until_clean(server, &[&name], secs(4) + SLACK).await;
}

async fn a_waiter_that_is_cut_off_is_passed_over() {
    for kind in Kind::all() {
        let server = kind.shared();
        tokio::join!(
            waiter_is_passed_over(server, Proxy::silence, "both ways"),
            waiter_is_passed_over(server, Proxy::silence_to_server, "to the server"),
            waiter_is_passed_over(server, Proxy::silence_to_client, "to the client"),
        );
    }
}

/// The grant is on its way for longer than the lease could last: it must not be taken for one.
async fn a_grant_that_arrives_too_late_is_none() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (proxy, cut, other) = apart(server).await;
        let name = name("late");
        let lease = other.lock_named(name.as_str()).await.unwrap();
        let wait = tokio::spawn(cut.lock_named(name.as_str()).into_future());
        until_waiters(server, &name, 1).await;
        proxy.stall_to_client();
        must_be_held(lease).await;
        let next = soon("the next", other.lock_named(name.as_str()).into_future()).await.unwrap();
        proxy.heal();
        until_waiters(server, &name, 1).await;
        tokio::time::sleep(millis(300)).await;
        assert!(!wait.is_finished(), "two holders");
        must_be_held(next).await;
        must_be_held(soon("its turn", wait).await.unwrap().unwrap()).await;
    }
}

async fn stall_is_no_loss(server: &Server, stall: fn(&Proxy), how: &str) {
    let proxy = Proxy::start(Target::Port(server.port()));
    let locks = connect(tcp_url(proxy.port(), "ttl=10&heartbeat=250ms")).await;
    let name = name("stall");
    let lease = locks.lock_named(name.as_str()).await.unwrap();
    let mut lost = lease.lost();
    for time in [secs(1), secs(4)] {
        stall(&proxy);
        tokio::time::sleep(time).await;
        let is_long = time > secs(3);
        assert_eq!(lease.state() == LeaseState::Suspended, is_long, "{how}: {:?}", lease.state());
        proxy.heal();
        until_state(&lease, LeaseState::Held, SLACK).await;
        soon(how, lease.ensure_held()).await.unwrap();
    }
    assert_eq!((&mut lost).now_or_never(), None, "{how}");
    must_be_held(lease).await;
    until_clean(server, &[&name], SLACK).await;
}

async fn a_network_that_recovers_in_time_loses_nothing() {
    for kind in Kind::all() {
        let server = kind.shared();
        tokio::join!(
            stall_is_no_loss(server, Proxy::stall, "both ways"),
            stall_is_no_loss(server, Proxy::stall_to_server, "to the server"),
            stall_is_no_loss(server, Proxy::stall_to_client, "to the client"),
        );
    }
}

async fn a_reset_is_told_by_the_next_heartbeat_and_waits_go_on() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (proxy, cut, other) = apart(server).await;
        let (held, wanted) = (name("reset"), name("reset"));
        let lease = cut.lock_named(held.as_str()).await.unwrap();
        let kept = other.lock_named(wanted.as_str()).await.unwrap();
        let wait = tokio::spawn(cut.lock_named(wanted.as_str()).into_future());
        until_waiters(server, &wanted, 1).await;
        let lost = lease.lost();
        proxy.reset();
        let told = within(millis(250) + SLACK, "the loss", lost).await;
        assert_eq!(told, LossReason::Closed);
        must_be_lost(lease, LossReason::Closed).await;
        tokio::time::sleep(secs(1)).await; // the server has dropped the first wait
        until_waiters(server, &wanted, 1).await;
        must_be_held(kept).await;
        must_be_held(soon("the wait", wait).await.unwrap().unwrap()).await;
        must_be_held(cut.lock_named(held.as_str()).await.unwrap()).await;
        until_clean(server, &[&held, &wanted], secs(5)).await;
    }
}

/// A lease that is given up in doubt: nothing waits for the server's word on it for ever.
async fn what_is_released_in_doubt_keeps_nothing_open() {
    for kind in Kind::all() {
        let server = kind.shared();
        let (proxy, cut, other) = apart(server).await;
        let (dropped, released) = (name("doubt"), name("doubt"));
        let leases: [Lease; 2] = [
            cut.lock_named(dropped.as_str()).await.unwrap(),
            cut.lock_named(released.as_str()).await.unwrap(),
        ];
        proxy.silence();
        until_state(&leases[0], LeaseState::Suspended, millis(2250) + SLACK).await;
        let [first, second] = leases;
        drop(first);
        match within(secs(2) + SLACK, "a release", second.release()).await {
            Ok(found) => assert_eq!(found, Released::WasLost),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}"),
        }
        within(secs(4) + SLACK, "closing", cut.close()).await;
        until_clean(server, &[&dropped, &released], secs(4) + SLACK).await;
        must_be_held(other.try_lock_named(dropped.as_str()).await.unwrap()).await;
    }
}
