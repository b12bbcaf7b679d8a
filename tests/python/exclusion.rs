//! Who excludes whom: each way to lock in Python against keyward, both ways round.

use crate::{
    peer::{EXCLUSIVE, FOREVER, LATE, Peer, SHARED, SOON, TRY},
    room::{Place, Room},
};

/// A way to lock in Python.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) library: &'static str,
    pub(crate) mode: &'static str,
    /// Whether others may share what it holds: what tooz calls shared is so inside one process only.
    pub(crate) shares: bool,
}

pub(crate) const FASTENERS: Way = Way::exclusive("fasteners");
pub(crate) const FASTENERS_WRITE: Way = Way::exclusive("rw");
pub(crate) const FASTENERS_READ: Way = Way { library: "rw", mode: SHARED, shares: true };
pub(crate) const OSLO: Way = Way::exclusive("oslo");
pub(crate) const TOOZ: Way = Way::exclusive("tooz");
pub(crate) const TOOZ_SHARED: Way = Way { library: "tooz", mode: SHARED, shares: false };

impl Way {
    const fn exclusive(library: &'static str) -> Self {
        Self { library, mode: EXCLUSIVE, shares: false }
    }
}

/// Runs a function for each way to lock and each place, as a test of its own.
macro_rules! for_each_way {
    ($check:path) => {
        $crate::exclusion::for_each_way! { $check,
            fasteners: FASTENERS,
            fasteners_write: FASTENERS_WRITE,
            fasteners_read: FASTENERS_READ,
            oslo: OSLO,
            tooz: TOOZ,
            tooz_shared: TOOZ_SHARED,
        }
    };
    ($check:path, $($name:ident: $way:ident,)*) => {
        $(mod $name {
            use crate::{exclusion::$way, room::Place};

            #[test]
            fn on_disk() {
                $check($way, Place::Disk);
            }

            #[test]
            fn in_memory() {
                $check($way, Place::Memory);
            }
        })*
    };
}
pub(crate) use for_each_way;

for_each_way!(super::excludes);

fn excludes(way: Way, place: Place) {
    let room = Room::new(place);
    let mut python = Peer::python(way.library, &room, "", "volume");
    let mut keyward = Peer::keyward("", &room, "", "volume");
    refuses_keyward(way, &mut python, &mut keyward);
    refuses_python(way, &mut python, &mut keyward);
    lets_keyward_wait(way, &mut python, &mut keyward);
    lets_python_wait(way, &mut python, &mut keyward);
}

fn refuses_keyward(way: Way, python: &mut Peer, keyward: &mut Peer) {
    assert!(python.acquire(TRY, way.mode));
    for wait in [TRY, SOON] {
        assert!(!keyward.could_acquire(wait, EXCLUSIVE));
        assert_eq!(keyward.could_acquire(wait, SHARED), way.shares);
    }
    python.release();
    for mode in [EXCLUSIVE, SHARED] {
        // In this order: what was given up above may take a moment to leave the queue.
        assert!(keyward.could_acquire(SOON, mode));
        assert!(keyward.could_acquire(TRY, mode));
    }
}

fn refuses_python(way: Way, python: &mut Peer, keyward: &mut Peer) {
    for (mode, together) in [(EXCLUSIVE, false), (SHARED, way.shares)] {
        assert!(keyward.acquire(TRY, mode));
        for wait in [TRY, SOON] {
            assert_eq!(python.could_acquire(wait, way.mode), together, "keyward's {mode}");
        }
        keyward.release();
        assert!(python.could_acquire(TRY, way.mode));
    }
}

fn lets_keyward_wait(way: Way, python: &mut Peer, keyward: &mut Peer) {
    let modes: &[_] = if way.shares { &[EXCLUSIVE] } else { &[EXCLUSIVE, SHARED] };
    for mode in modes {
        for wait in [FOREVER, LATE] {
            assert!(python.acquire(TRY, way.mode));
            keyward.send_acquire(wait, mode);
            keyward.await_open(&python.path);
            keyward.assert_busy();
            python.release();
            assert!(keyward.is_acquired());
            assert_eq!(python.could_acquire(TRY, way.mode), way.shares && *mode == SHARED);
            keyward.release();
        }
    }
}

fn lets_python_wait(way: Way, python: &mut Peer, keyward: &mut Peer) {
    for wait in [FOREVER, LATE] {
        assert!(keyward.acquire(TRY, EXCLUSIVE));
        python.send_acquire(wait, way.mode);
        python.await_open(&python.path);
        python.assert_busy();
        keyward.release();
        assert!(python.is_acquired());
        assert!(!keyward.could_acquire(TRY, EXCLUSIVE));
        python.release();
    }
}
