//! Who excludes whom: tooz against keyward, both ways round.

use std::thread;

use keyward::{Locks, Occupancy, Released};

use super::{NEW, POLL, REUSED, Site, TTL};
use crate::peer::{EXCLUSIVE, FOREVER, LATE, Peer, SOON, TRY};

const NAME: &str = "volume";

#[test]
fn a_new_lock_for_each_acquisition() {
    excludes(NEW);
}

#[test]
fn one_lock_for_all_acquisitions() {
    excludes(REUSED);
}

/// Renewed in time, and tooz asks all the while.
#[test]
fn a_lease_that_is_held_for_longer_than_its_ttl() {
    for site in Site::each() {
        let mut python = site.python(NEW, "", NAME);
        let mut keyward = site.keyward("", "", NAME);
        assert!(keyward.acquire(TRY, EXCLUSIVE));
        site.begin_to_poll(&mut python);
        thread::sleep(TTL + 2 * POLL);
        python.assert_busy();
        keyward.release(); // which says whether it was held until now
        assert!(python.is_acquired());
    }
}

/// All names or none: what tooz holds keeps keyward from holding the other ones.
#[test]
fn several_names_at_once() {
    for site in Site::each() {
        let (mut first, mut second) = (site.python(NEW, "", "a"), site.python(NEW, "", "b"));
        site.runtime.block_on(async {
            let locks = Locks::connect(site.keyward_url("")).await.unwrap();
            assert!(second.acquire(TRY, EXCLUSIVE));
            let refused = locks.lock_all(["a", "b"]).timeout(POLL).await.unwrap_err();
            assert!(refused.is_timed_out(), "{refused:?}");
            // Given back behind the caller's back.
            assert!(first.could_acquire(SOON, EXCLUSIVE));
            second.release();
            let leases = locks.lock_all(["a", "b"]).await.unwrap();
            assert!(!first.could_acquire(TRY, EXCLUSIVE));
            assert!(!second.could_acquire(TRY, EXCLUSIVE));
            assert_eq!(leases.release().await.unwrap(), Released::Released);
            assert!(first.could_acquire(TRY, EXCLUSIVE));
            assert!(second.could_acquire(TRY, EXCLUSIVE));
        });
    }
}

/// keyward says whose session holds a name, also if it is tooz's.
#[test]
fn who_holds_it() {
    for site in Site::each() {
        let mut python = site.python(NEW, "", NAME);
        assert!(python.acquire(TRY, EXCLUSIVE));
        let session = site.holder(NAME);
        assert!(session.is_some());
        site.runtime.block_on(async {
            let locks = Locks::connect(site.keyward_url("")).await.unwrap();
            let Occupancy::Held { owner: Some(owner), .. } =
                locks.inspect(NAME).await.unwrap().occupancy
            else {
                panic!("it is held by tooz");
            };
            assert_eq!((owner.session, owner.user.as_deref()), (session, Some("root")));
            python.release();
            assert_eq!(locks.inspect(NAME).await.unwrap().occupancy, Occupancy::Free);
        });
    }
}

fn excludes(library: &str) {
    for site in Site::each() {
        let mut python = site.python(library, "", NAME);
        let mut keyward = site.keyward("", "", NAME);
        refuses_keyward(&mut python, &mut keyward);
        refuses_python(&mut python, &mut keyward);
        lets_keyward_wait(&site, &mut python, &mut keyward);
        lets_python_wait(&site, &mut python, &mut keyward);
    }
}

fn refuses_keyward(python: &mut Peer, keyward: &mut Peer) {
    assert!(python.acquire(TRY, EXCLUSIVE));
    for wait in [TRY, SOON] {
        assert!(!keyward.could_acquire(wait, EXCLUSIVE));
    }
    python.release();
    for wait in [TRY, SOON] {
        assert!(keyward.could_acquire(wait, EXCLUSIVE));
    }
}

fn refuses_python(python: &mut Peer, keyward: &mut Peer) {
    assert!(keyward.acquire(TRY, EXCLUSIVE));
    for wait in [TRY, SOON, "1.5"] {
        assert!(!python.could_acquire(wait, EXCLUSIVE));
    }
    keyward.release();
    for wait in [TRY, SOON] {
        assert!(python.could_acquire(wait, EXCLUSIVE));
    }
}

fn lets_keyward_wait(site: &Site, python: &mut Peer, keyward: &mut Peer) {
    for wait in [FOREVER, LATE] {
        assert!(python.acquire(TRY, EXCLUSIVE));
        keyward.send_acquire(wait, EXCLUSIVE);
        site.await_blocked(NAME, 1);
        keyward.assert_busy();
        python.release();
        assert!(keyward.is_acquired());
        assert!(!python.could_acquire(TRY, EXCLUSIVE));
        keyward.release();
    }
}

fn lets_python_wait(site: &Site, python: &mut Peer, keyward: &mut Peer) {
    for wait in [FOREVER, LATE] {
        assert!(keyward.acquire(TRY, EXCLUSIVE));
        if wait == FOREVER {
            site.begin_to_poll(python);
        } else {
            python.send_acquire(wait, EXCLUSIVE);
            site.await_blocked(NAME, 1);
        }
        keyward.release();
        assert!(python.is_acquired());
        assert!(!keyward.could_acquire(TRY, EXCLUSIVE));
        python.release();
    }
}
