//! `kill -9` of either side, while it holds and while it waits.

use crate::{
    exclusion::{Way, for_each_way},
    peer::{EXCLUSIVE, FOREVER, Peer, TRY},
    room::{Place, Room},
};

for_each_way!(super::survives);

fn survives(way: Way, place: Place) {
    let room = Room::new(place);
    let python = || Peer::python(way.library, &room, "", "volume");
    let keyward = || Peer::keyward("", &room, "", "volume");

    // Python's holder dies, keyward gets the lock.
    let (mut holder, mut waiter) = (python(), keyward());
    assert!(holder.acquire(TRY, way.mode));
    begin(&mut waiter, EXCLUSIVE, &holder);
    holder.kill();
    assert!(waiter.is_acquired());

    // keyward's holder dies, Python gets it.
    let path = holder.path.clone();
    let (mut holder, mut waiter) = (waiter, python());
    waiter.send_acquire(FOREVER, way.mode);
    waiter.await_open(&path);
    waiter.assert_busy();
    holder.kill();
    assert!(waiter.is_acquired());

    // A waiter of keyward dies, and nobody waits for it: not in the queue, not for the lock.
    let mut holder = waiter;
    let (mut dead, mut heir) = (keyward(), keyward());
    begin(&mut dead, EXCLUSIVE, &holder);
    begin(&mut heir, EXCLUSIVE, &holder);
    dead.kill();
    heir.assert_busy();
    holder.release();
    assert!(heir.is_acquired());
    assert!(!holder.could_acquire(TRY, way.mode));

    // A waiter of Python's dies.
    let (mut dead, mut successor) = (holder, keyward());
    dead.send_acquire(FOREVER, way.mode);
    dead.await_open(&path);
    dead.kill();
    assert!(!successor.could_acquire(TRY, EXCLUSIVE));
    heir.release();
    assert!(successor.could_acquire(TRY, EXCLUSIVE));
    assert!(python().could_acquire(TRY, way.mode));
}

fn begin(waiter: &mut Peer, mode: &str, holder: &Peer) {
    waiter.send_acquire(FOREVER, mode);
    waiter.await_open(&holder.path);
    waiter.assert_busy();
}
