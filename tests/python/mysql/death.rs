//! Holders and waiters that die, sessions that are killed, and a keyward that does not move.

use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::{HEARTBEAT, LIBRARIES, NEW, POLL, SLACK, Site, TTL, timed};
use crate::{
    load::report,
    peer::{EXCLUSIVE, FOREVER, LATE, TRY},
    protocol::Request,
};

const NAME: &str = "volume";

/// A server that has seen the end of a session frees its names at once. Who is told of that by the end
/// of a lease only is later.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn holders_that_are_killed() {
    for site in Site::each() {
        for library in LIBRARIES {
            // tooz's holder dies, keyward gets the lock.
            let mut holder = site.python(library, "", NAME);
            let mut waiter = site.keyward("", "", NAME);
            assert!(holder.acquire(TRY, EXCLUSIVE));
            waiter.send_acquire(FOREVER, EXCLUSIVE);
            site.await_blocked(NAME, 1);
            holder.kill();
            let (took, acquired) = timed(|| waiter.is_acquired());
            report(&format!("keyward has a killed tooz's lock after {took:.1?}"));
            assert!(acquired && took < AT_ONCE, "{took:?}");

            // keyward's holder dies, tooz gets it.
            let (mut holder, mut waiter) = (waiter, site.python(library, "", NAME));
            site.begin_to_poll(&mut waiter);
            holder.kill();
            let (took, acquired) = timed(|| waiter.is_acquired());
            report(&format!("tooz has a killed keyward's lock after {took:.1?}"));
            assert!(acquired && took < AT_ONCE + POLL, "{took:?}");
        }
    }
}

#[test]
fn waiters_that_are_killed() {
    for site in Site::each() {
        // Of keyward's: nobody waits for it.
        let mut holder = site.python(NEW, "", NAME);
        let (mut dead, mut heir) = (site.keyward("", "", NAME), site.keyward("", "", NAME));
        assert!(holder.acquire(TRY, EXCLUSIVE));
        dead.send_acquire(FOREVER, EXCLUSIVE);
        site.await_blocked(NAME, 1);
        heir.send_acquire(FOREVER, EXCLUSIVE);
        site.await_blocked(NAME, 2);
        dead.kill();
        heir.assert_busy();
        holder.release();
        let (took, acquired) = timed(|| heir.is_acquired());
        assert!(acquired && took < AT_ONCE, "{took:?}");

        // Of tooz's, which waits at the server when it has a time limit.
        let (mut dead, mut successor) = (holder, site.keyward("", "", NAME));
        dead.send_acquire(LATE, EXCLUSIVE);
        site.await_blocked(NAME, 1);
        dead.kill();
        assert!(!successor.could_acquire(TRY, EXCLUSIVE));
        heir.release();
        let (took, acquired) = timed(|| successor.acquire(FOREVER, EXCLUSIVE));
        assert!(acquired && took < AT_ONCE, "{took:?}");
    }
}

/// keyward gets what tooz holds no more, without knowing it.
#[test]
fn the_session_of_a_tooz_that_holds() {
    for site in Site::each() {
        let mut holder = site.python(NEW, "", NAME);
        let mut waiter = site.keyward("", "", NAME);
        assert!(holder.acquire(TRY, EXCLUSIVE));
        waiter.send_acquire(FOREVER, EXCLUSIVE);
        site.await_blocked(NAME, 1);
        site.kill_holder(NAME);
        let (took, acquired) = timed(|| waiter.is_acquired());
        assert!(acquired && took < AT_ONCE, "{took:?}");
        let answer = holder.ask(&Request::new("release"));
        assert!(answer.starts_with("error ToozError"), "{answer}");
        // Nor has that released what keyward holds.
        assert!(!holder.could_acquire(TRY, EXCLUSIVE));
        waiter.release();
        assert!(holder.could_acquire(TRY, EXCLUSIVE));
    }
}

/// keyward knows, and tooz gets it.
#[test]
fn the_session_of_a_keyward_that_holds() {
    for site in Site::each() {
        let mut holder = site.keyward("", "", NAME);
        let mut waiter = site.python(NEW, "", NAME);
        assert!(holder.acquire(TRY, EXCLUSIVE));
        site.begin_to_poll(&mut waiter);
        site.kill_holder(NAME);
        let (took, reason) = timed(|| holder.await_loss());
        report(&format!("keyward is told that its session was killed after {took:.1?}: {reason}"));
        assert!(took < HEARTBEAT + SLACK, "{took:?}");
        assert_eq!(reason, "Closed");
        assert!(waiter.is_acquired());
        assert!(!holder.could_acquire(TRY, EXCLUSIVE));
        waiter.release();
        assert!(holder.could_acquire(TRY, EXCLUSIVE)); // by a new session
    }
}

/// The server lets nobody wait for a keyward that does not move for longer than its lease.
#[test]
fn a_keyward_that_is_stopped() {
    for site in Site::each() {
        let mut holder = site.keyward("", "", NAME);
        let mut waiter = site.python(NEW, "", NAME);
        assert!(holder.acquire(TRY, EXCLUSIVE));
        site.begin_to_poll(&mut waiter);
        kill_process(holder.pid(), Signal::STOP).unwrap();
        let (took, acquired) = timed(|| waiter.is_acquired());
        report(&format!("tooz has a stopped keyward's lock after {took:.1?} of {TTL:?}"));
        assert!(acquired && took < TTL + POLL + SLACK, "{took:?}");
        kill_process(holder.pid(), Signal::CONT).unwrap();
        let (took, reason) = timed(|| holder.await_loss());
        report(&format!("keyward is told {took:.1?} after it moves again: {reason}"));
        assert!(took < SLACK, "{took:?}");
        assert!(!holder.could_acquire(TRY, EXCLUSIVE));
        waiter.release();
        assert!(holder.could_acquire(TRY, EXCLUSIVE));
    }
}
