//! Wire formats between keyward's processes besides the owner's record: the politeness record, and
//! where tickets stand in the queue files.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use crate::{
    record::{crc, long, word},
    room::{Peer, Room, until},
};

#[tokio::test]
async fn the_politeness_record() {
    let room = Room::new();
    let locks = room.connect("?polite=120ms&fencing=off").await.unwrap();
    drop(locks.lock_named("a").await.unwrap());
    let bytes = fs::read(room.lock_file("a")).unwrap();
    assert_eq!(bytes.len(), 104);
    assert_eq!(bytes[..64], [0; 64], "there is no owner's record");
    let (usage, boot) = (&bytes[64..], fs::read("/proc/sys/kernel/random/boot_id").unwrap());
    assert_eq!(&usage[..4], b"KWPO");
    assert_eq!(word(usage, 4), crc(boot.trim_ascii()));
    let (since, last, gap_until) = (long(usage, 8), long(usage, 16), long(usage, 24));
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let uptime = Duration::from_secs_f64(uptime).as_micros() as u64;
    assert!(since <= last && last <= uptime + 20_000 && uptime.saturating_sub(since) < 60_000_000);
    assert_eq!((gap_until, word(usage, 32)), (0, 0));
    assert_eq!(word(usage, 36), crc(&usage[..36]));

    // Once it was in use for as long as a gap is.
    let lease = locks.lock_named("a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(130)).await;
    drop(lease);
    let bytes = fs::read(room.lock_file("a")).unwrap();
    assert_eq!(long(&bytes[64..], 24), long(&bytes[64..], 16) + 120_000);
}

#[tokio::test]
async fn tickets() {
    let room = Room::new();
    let locks = room.locks().await;
    let _lease = locks.lock_named("a").await.unwrap();
    let mut peer = Peer::start(&room.url());
    assert_eq!(peer.ask("lock a"), "waiting");

    let file = fs::metadata(room.lock_file("a")).unwrap();
    let key = (file.ino() ^ file.dev().rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let queue = room.dir().join(".keyward-q").join(format!("{:02x}", key >> 58));
    let part = (key >> 16 & ((1 << 28) - 1)) << 34;
    let mut ticket = 0;
    until("the ticket", || {
        let Ok(queue) = fs::metadata(&queue) else { return false };
        let inode = format!(":{}", queue.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|line| line.iter().any(|word| word.ends_with(&inode)));
        line.is_some_and(|line| {
            assert_eq!((line[1], line[3]), ("OFDLCK", "WRITE"), "{line:?}");
            let [first, last] = [line.len() - 2, line.len() - 1].map(|i| line[i].parse().unwrap());
            assert_eq!(first, last, "a ticket is one byte");
            ticket = first;
            true
        })
    })
    .await;
    let time = ticket - part;
    assert_eq!(time % 2, 1, "tickets are odd");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = (now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000) % (1 << 33);
    let age = (now + (1 << 33) - time / 2) % (1 << 33);
    assert!(age < 60_000_000, "made {age} µs ago");
    assert_eq!(fs::metadata(queue).unwrap().len(), 0, "nothing is written");
}
