//! What Cinder locks: a coordinator on a directory, `cinder-` before each name.

use std::fs;

use crate::{
    peer::{EXCLUSIVE, FOREVER, Peer, SHARED, TRY},
    room::{Place, Room},
};

const PREFIX: &str = "cinder-";

const VOLUME: &str = "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11";

/// Names that Cinder's services and drivers render.
const NAMES: [&str; 7] = [
    "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11",
    "6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11-delete_volume",
    "0d0b8f0e-8b0c-4f4e-8f5f-0c8c6a2f3b77-delete_snapshot",
    "LIN",
    "attachment_update-6c5b0b5e-3f0a-4f8e-9a53-0d2f4c1c8a11-compute-01.example.org",
    "NFSDriver-mount_/srv/nfs",
    "é-volume",
];

/// By its options, keyward's spelling of what tooz's coordinator locks.
fn agree(options: &str, names: &[&str]) {
    let room = Room::new(Place::Disk);
    let mut cinder = Peer::python("tooz", &room, PREFIX, VOLUME);
    let mut keyward = Peer::keyward(options, &room, PREFIX, VOLUME);
    for name in names {
        cinder.open(PREFIX, name);
        keyward.open(PREFIX, name);
        assert_eq!(cinder.path, room.locks().join(format!("{PREFIX}{name}")));
        for mode in [EXCLUSIVE, SHARED] {
            assert!(keyward.acquire(TRY, mode));
            assert!(!cinder.could_acquire(TRY, EXCLUSIVE), "{name} for keyward, {mode}");
            keyward.release();
            assert!(cinder.acquire(TRY, EXCLUSIVE));
            assert!(!keyward.could_acquire(TRY, mode), "{name} for Cinder");
            cinder.release();
        }
    }
}

#[test]
fn every_name_by_tooz_rules() {
    agree("names=tooz", &NAMES);
}

/// Those that are safe file names need no option.
#[test]
fn plain_names_without_an_option() {
    let plain: Vec<_> = NAMES.into_iter().filter(|name| !name.contains('/')).collect();
    assert!(plain.len() > 4);
    agree("", &plain);
}

/// One volume's locks are different locks.
#[test]
fn locks_of_one_volume_do_not_exclude_each_other() {
    let room = Room::new(Place::Disk);
    let mut cinder = Peer::python("tooz", &room, PREFIX, VOLUME);
    let mut keyward = Peer::keyward("", &room, PREFIX, format!("{VOLUME}-delete_volume"));
    assert!(cinder.acquire(TRY, EXCLUSIVE));
    assert!(keyward.could_acquire(TRY, EXCLUSIVE));
    cinder.release();
    cinder.open(PREFIX, format!("{VOLUME}-delete_volume"));
    assert!(keyward.acquire(TRY, EXCLUSIVE));
    assert!(!cinder.could_acquire(TRY, EXCLUSIVE));
}

/// Cinder removes the lock files of a volume that it has deleted, whoever waits for them. Who gets a
/// lock on a file that is gone has not got the lock.
#[test]
fn lock_files_that_are_removed_while_keyward_waits() {
    let room = Room::new(Place::Disk);
    let mut cinder = Peer::python("tooz", &room, PREFIX, VOLUME);
    let mut keyward = Peer::keyward("", &room, PREFIX, VOLUME);
    assert!(cinder.acquire(TRY, EXCLUSIVE));
    keyward.send_acquire(FOREVER, EXCLUSIVE);
    keyward.await_open(&cinder.path);
    fs::remove_file(&cinder.path).unwrap();
    cinder.release();
    assert!(keyward.is_acquired());
    assert!(!cinder.could_acquire(TRY, EXCLUSIVE));
    keyward.release();

    // Also one that keyward has open still, from the last time.
    fs::remove_file(&cinder.path).unwrap();
    assert!(cinder.acquire(TRY, EXCLUSIVE));
    assert!(!keyward.could_acquire(TRY, EXCLUSIVE));
    cinder.release();
    assert!(keyward.could_acquire(TRY, EXCLUSIVE));
}
