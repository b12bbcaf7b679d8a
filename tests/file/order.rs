//! Who comes first is served first, between processes too; and nobody waits for those who are
//! stopped.

use std::time::Duration;

use rustix::process::Signal;

use crate::room::{Peer, Room, soon};

/// The queue's folder has one lock for each ticket; no more than these lines of `/proc/locks` change.
fn tickets(room: &Room) -> usize {
    use std::os::unix::fs::MetadataExt;

    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let queue = std::fs::read_dir(room.dir().join(".keyward-q")).unwrap();
    let inodes: Vec<String> =
        queue.map(|file| format!(":{} ", file.unwrap().metadata().unwrap().ino())).collect();
    let ours = |line: &&str| {
        !line.contains("->") && line.contains("WRITE") && inodes.iter().any(|i| line.contains(i))
    };
    locks.lines().filter(ours).count()
}

async fn until_tickets(room: &Room, count: usize) {
    crate::room::until("the ticket", || tickets(room) == count).await;
}

#[tokio::test]
async fn processes_are_served_in_the_order_of_asking() {
    for room in Room::both() {
        let locks = room.locks().await;
        let lease = locks.lock_named("a").await.unwrap();
        let mut peers = Vec::new();
        for count in 1..=6 {
            let mut peer = Peer::start(&room.url());
            assert_eq!(peer.ask(if count == 3 { "shared a" } else { "lock a" }), "waiting");
            until_tickets(&room, count).await;
            peers.push(peer);
        }
        drop(lease);
        // Not even this process comes in between, once its time for barging is over.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mine = tokio::spawn(locks.lock_named("a").into_future());
        for peer in &mut peers {
            assert!(peer.answer().starts_with("held"));
            assert!(!mine.is_finished(), "it has overtaken");
            peer.tell("release");
        }
        drop(soon("the last turn", mine).await.unwrap().unwrap());
        until_tickets(&room, 0).await;
    }
}

#[tokio::test]
async fn who_waits_is_asked_before_a_try_or_a_reader_overtakes() {
    let room = Room::new();
    let locks = room.locks().await;
    let reader = locks.lock_named("a").shared().await.unwrap();
    let mut writer = Peer::start(&room.url());
    assert_eq!(writer.ask("lock a"), "waiting");
    until_tickets(&room, 1).await;
    let mut second = Peer::start(&room.url());
    assert_eq!(second.ask("lock a"), "waiting");
    until_tickets(&room, 2).await;
    assert!(locks.lock_named("a").shared().blocking(false).await.unwrap_err().is_would_block());
    drop(reader);
    assert!(writer.answer().starts_with("held"));
}

/// So many processes that wait for "a", in this order.
async fn queue_of(many: usize, room: &Room) -> Vec<Peer> {
    let mut peers: Vec<_> = (0..many).map(|_| Peer::start(&room.url())).collect();
    for (count, peer) in peers.iter_mut().enumerate() {
        assert_eq!(peer.ask("lock a"), "waiting");
        until_tickets(room, count + 1).await;
    }
    peers
}

/// A stopped process keeps its place in the queue: the others see after a second that it does not
/// move, and pass it by.
#[tokio::test]
async fn a_stopped_waiter_holds_up_nobody_for_long() {
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    let mut peers = queue_of(4, &room).await;
    peers[0].signal(Signal::STOP);
    peers[1].signal(Signal::STOP);
    drop(lease);
    // Who sees first that the queue stands still is first.
    let mut moving: Vec<_> = peers[2..].iter_mut().collect();
    while !moving.is_empty() {
        let mut first = None;
        crate::room::until("the next turn", || {
            first = moving.iter().enumerate().find_map(|(i, peer)| Some((i, peer.answered()?)));
            first.is_some()
        })
        .await;
        let (first, answer) = first.unwrap();
        assert!(answer.starts_with("held"));
        assert_eq!(moving.remove(first).ask("release"), "released");
    }
    drop(soon("our turn", locks.lock_named("a").into_future()).await.unwrap());
    for peer in &mut peers[..2] {
        peer.signal(Signal::CONT);
        assert!(peer.answer().starts_with("held"), "its turn comes when it goes on");
        assert_eq!(peer.ask("release"), "released");
    }
}

/// A killed one leaves no place behind.
#[tokio::test]
async fn killed_waiters_are_gone_at_once() {
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    let mut peers = queue_of(4, &room).await;
    peers[0].kill();
    peers[2].kill();
    drop(lease);
    assert!(peers[1].answer().starts_with("held"));
    peers[1].tell("release");
    assert!(peers[3].answer().starts_with("held"));
    peers[3].kill(); // while it holds
    drop(soon("our turn", locks.lock_named("a").into_future()).await.unwrap());
    until_tickets(&room, 0).await;
}
