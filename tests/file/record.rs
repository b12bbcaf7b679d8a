//! What stands in a lock file, byte for byte: a wire format.

use std::fs;

use crate::room::Room;

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The CRC-32 of zip and PNG, bit by bit: independent of the library that writes it.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[tokio::test]
async fn an_exclusive_holder_leaves_its_record() {
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    let bytes = fs::read(room.lock_file("a")).unwrap();
    assert_eq!(bytes.len(), 64);
    assert_eq!((&bytes[..4], word(&bytes, 4)), (&b"KWRD"[..], 1));
    let token = lease.fencing_token().unwrap().get();
    assert!(long(&bytes, 8) >= token, "the token is not reserved");
    assert_eq!(long(&bytes, 16), 0, "nothing is durable here");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    assert!((now - 60_000_000..=now).contains(&long(&bytes, 24)), "since");
    assert_eq!(word(&bytes, 32), std::process::id());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim_end().as_bytes();
    assert!(bytes[44..60].starts_with(&host[..host.len().min(16)]));
    assert_eq!(word(&bytes, 60), crc(&bytes[..60]));
    drop(lease);
    assert_eq!(fs::read(room.lock_file("a")).unwrap(), bytes, "a release writes nothing");
}

#[tokio::test]
async fn others_leave_nothing() {
    let room = Room::new();
    let locks = room.locks().await;
    let shared = locks.lock_named("s").shared().await.unwrap();
    assert_eq!(shared.fencing_token(), None);
    let off = room.connect("?fencing=off").await.unwrap();
    let lease = off.lock_named("o").await.unwrap();
    assert_eq!(lease.fencing_token(), None);
    for name in ["s", "o"] {
        assert_eq!(fs::metadata(room.lock_file(name)).unwrap().len(), 0);
    }
}

#[tokio::test]
async fn contents_of_others_are_kept_behind_it() {
    let room = Room::new();
    let locks = room.locks().await;
    fs::write(room.lock_file("a"), [b'x'; 100]).unwrap();
    drop(locks.lock_named("a").await.unwrap());
    let bytes = fs::read(room.lock_file("a")).unwrap();
    assert_eq!((&bytes[..4], &bytes[64..]), (&b"KWRD"[..], &[b'x'; 36][..]));
}

#[tokio::test]
async fn inspect_shows_the_owner_as_long_as_it_lives() {
    use keyward::{Mode, Occupancy};

    let room = Room::new();
    let locks = room.locks().await;
    assert_eq!(locks.inspect("a").await.unwrap().occupancy, Occupancy::Free, "no file at all");
    let lease = locks.lock_named("a").await.unwrap();
    let Occupancy::Held { mode: Mode::Exclusive, owner: Some(owner) } =
        locks.inspect("a").await.unwrap().occupancy
    else {
        panic!("the owner is not shown");
    };
    assert_eq!(owner.pid, Some(std::process::id()));
    assert!(owner.since.unwrap().elapsed().unwrap().as_secs() < 60);
    assert!(owner.token >= lease.fencing_token());
    drop(lease);
    assert_eq!(locks.inspect("a").await.unwrap().occupancy, Occupancy::Free);

    // A record of a process that is gone says nothing about who holds the file now.
    let mut bytes = fs::read(room.lock_file("a")).unwrap();
    bytes[36] ^= 1; // another start time
    let sum = crc(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    fs::write(room.lock_file("a"), &bytes).unwrap();
    let off = room.connect("?fencing=off").await.unwrap();
    let _lease = off.lock_named("a").await.unwrap();
    let held = Occupancy::Held { mode: Mode::Exclusive, owner: None };
    assert_eq!(locks.inspect("a").await.unwrap().occupancy, held);
    let shared = locks.lock_named("s").shared().await.unwrap();
    let held = Occupancy::Held { mode: Mode::Shared, owner: None };
    assert_eq!(locks.inspect("s").await.unwrap().occupancy, held);
    drop(shared);
}
