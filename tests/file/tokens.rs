//! Fencing tokens increase, whatever happens to the file they are kept in.

use std::fs;

use keyward::{ErrorKind, Locks};

use crate::{
    record::{crc, long},
    room::{Peer, Room, inside, mount_tmpfs, with_mounts},
};

async fn token(locks: &Locks, name: &str) -> u64 {
    locks.lock_named(name).await.unwrap().fencing_token().unwrap().get()
}

#[tokio::test]
async fn over_handles_blocks_and_hand_overs() {
    for room in Room::both() {
        let (one, two) = (room.locks().await, room.locks().await);
        let mut last = 0;
        for round in 0..3_000 {
            let locks = if round % 100 < 60 { &one } else { &two };
            let next = token(locks, "a").await;
            assert!(next > last, "{round}: {next} after {last}");
            last = next;
        }
        // Within the process, from task to task.
        let first = one.lock_named("a").await.unwrap();
        let mut waits = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let wait = one.lock_named("a");
            waits.spawn(async move { wait.await.unwrap().fencing_token().unwrap().get() });
        }
        tokio::task::yield_now().await;
        drop(first);
        let mut tokens = waits.join_all().await;
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), 100, "a token was given twice");
        assert!(tokens[0] > last);
        assert!(token(&two, "a").await > tokens[99]);
    }
}

#[tokio::test]
async fn over_killed_processes() {
    let room = Room::new();
    let locks = room.locks().await;
    let mut last = token(&locks, "a").await;
    for _ in 0..10 {
        let mut peer = Peer::start(&room.url());
        let answer = peer.ask("lock a");
        let theirs: u64 = answer.strip_prefix("held ").unwrap().parse().unwrap();
        assert!(theirs > last);
        peer.kill();
        last = token(&locks, "a").await;
        assert!(last > theirs);
    }
}

/// Whatever is done to the file between two holds, also behind the back of a process that has it open.
#[tokio::test]
async fn over_a_file_that_loses_its_record() {
    let room = Room::new();
    let (locks, other) = (room.locks().await, room.locks().await);
    let path = room.lock_file("a");
    let mut last = token(&locks, "a").await;
    let damages: [(&str, &dyn Fn()); 6] = [
        ("truncated", &|| fs::write(&path, "").unwrap()),
        ("torn", &|| {
            let mut bytes = fs::read(&path).unwrap();
            bytes[8..24].fill(0xEE);
            fs::write(&path, bytes).unwrap();
        }),
        ("short", &|| fs::write(&path, &fs::read(&path).unwrap()[..40]).unwrap()),
        ("foreign", &|| fs::write(&path, [b'x'; 4096]).unwrap()),
        ("removed", &|| fs::remove_file(&path).unwrap()),
        ("replaced", &|| {
            fs::write(room.path().join("new"), "").unwrap();
            fs::rename(room.path().join("new"), &path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        for locks in [&locks, &other, &locks] {
            // Far ahead of the clock, as after a burst, but not by as much as a second.
            for _ in 0..500 {
                last = last.max(token(locks, "a").await);
            }
            damage();
            let next = token(locks, "a").await;
            assert!(next > last, "{what}: {next} after {last}");
            last = next;
        }
    }
}

/// Those who alternate waste most of what they reserve, thousands of times a second; what a lost
/// record leaves to the clock must be more than that.
#[tokio::test]
async fn over_a_lost_file_after_many_alternations() {
    let room = Room::new();
    let (one, two) = (room.locks().await, room.locks().await);
    let mut last = 0;
    for round in 0..100_000 {
        let next = token(if round % 2 == 0 { &one } else { &two }, "a").await;
        assert!(next > last, "{round}: {next} after {last}");
        last = next;
    }
    fs::remove_file(room.lock_file("a")).unwrap();
    let next = token(&one, "a").await;
    assert!(next > last, "{next} after {last}");
}

#[tokio::test]
async fn a_record_from_the_future_is_believed() {
    let room = Room::new();
    let locks = room.locks().await;
    drop(locks.lock_named("a").await.unwrap());
    let path = room.lock_file("a");
    let mut bytes = fs::read(&path).unwrap();
    let future = 1_u64 << 60;
    bytes[8..16].copy_from_slice(&future.to_le_bytes());
    let sum = crc(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_eq!(token(&room.locks().await, "a").await, future + 1);
}

#[tokio::test]
async fn durable_tokens_go_on_behind_what_the_disk_knows() {
    let room = Room::new();
    let locks = room.connect("?fencing=durable").await.unwrap();
    let before = token(&locks, "a").await;
    let path = room.lock_file("a");
    let mut bytes = fs::read(&path).unwrap();
    let durable = long(&bytes, 16);
    assert!(durable >= before + (1 << 20), "a whole block is synced");
    // As after a power failure: another boot, and a record that is older than the last tokens.
    bytes[40] ^= 1;
    let sum = crc(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let after = token(&room.connect("?fencing=durable").await.unwrap(), "a").await;
    assert!(after > durable, "{after} may have been given before: the disk knew of {durable}");
    // Without a reboot nothing is skipped, and nothing has to be synced again.
    let next = token(&room.connect("?fencing=durable").await.unwrap(), "a").await;
    let block = long(&fs::read(&path).unwrap(), 16);
    assert!(next < after + 1_000, "{next} after {after}");
    assert!(block > next);
}

#[test]
fn on_a_full_disk() {
    inside(with_mounts, "tokens::on_a_full_disk", async {
        let room = Room::new();
        fs::create_dir(room.dir()).unwrap();
        mount_tmpfs(&room.dir(), "size=64k,mode=700");
        let locks = room.locks().await;
        let old = token(&locks, "old").await;
        let filler = room.dir().join("filler");
        while fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&filler)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 4096]))
            .is_ok()
        {}
        let error = locks.lock_named("new").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        assert!(error.to_string().contains("fencing=off"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
        // Nothing is left held, what has its room goes on, and without tokens nothing is needed.
        assert!(!locks.inspect("new").await.unwrap().is_held());
        assert!(token(&locks, "old").await > old);
        let off = room.connect("?fencing=off").await.unwrap();
        drop(off.lock_named("new").await.unwrap());
        fs::remove_file(filler).unwrap();
        assert!(token(&locks, "new").await > 0);
        assert!(!locks.inspect("new").await.unwrap().is_held());
    });
}
