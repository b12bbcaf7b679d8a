//! Waiting in the kernel, its threads and its limits; and waiting by polling.

use std::{fs, time::Duration};

use futures::FutureExt;
use keyward::{Lease, Locks};

use crate::room::{Peer, Room, alone, inside, kernel_locks, soon, until};

fn waiting_threads() -> usize {
    let named = |entry: std::io::Result<fs::DirEntry>| {
        let comm = fs::read_to_string(entry.unwrap().path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == "keyward-wait")
    };
    fs::read_dir("/proc/self/task").unwrap().filter_map(|e| named(e).then_some(())).count()
}

#[test]
fn a_thousand_tasks_wait_on_one_thread() {
    inside(alone, "waiting::a_thousand_tasks_wait_on_one_thread", async {
        let room = Room::new();
        let mut peer = Peer::start(&room.url());
        assert!(peer.ask("lock a").starts_with("held"));
        let locks = room.locks().await;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..1_000 {
            let wait = locks.lock_named("a");
            let wait = if task % 5 == 0 { wait.shared() } else { wait };
            tasks.spawn(async { drop(wait.await.unwrap()) });
        }
        let inode = room.inode("a");
        until("the wait", || kernel_locks(&inode, true) == 1).await;
        soon("the queue", async {
            while locks.inspect("a").await.unwrap().waiters < 999 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(waiting_threads(), 1);
        peer.tell("release");
        soon("all of them", tasks.join_all()).await;
        assert_eq!(waiting_threads(), 1, "it stays for a while, alone");
    });
}

#[test]
fn more_contended_names_than_threads() {
    inside(alone, "waiting::more_contended_names_than_threads", async {
        let room = Room::new();
        let (one, two) = (room.locks().await, room.locks().await);
        let names: Vec<_> = (0..300).map(|name| format!("vol-{name}")).collect();
        let mut held = Vec::new();
        for name in &names {
            held.push(one.lock_named(name).await.unwrap());
        }
        let mut tasks = tokio::task::JoinSet::new();
        for name in &names {
            tasks.spawn(two.lock_named(name).into_future());
        }
        until("the threads", || waiting_threads() == 256).await;
        drop(held);
        let got: Vec<Lease> =
            soon("all", tasks.join_all()).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(got.len(), 300);
        assert_eq!(waiting_threads(), 256);
        drop((got, one, two));
        until("the end of the threads", || waiting_threads() == 0).await;
    });
}

async fn excludes(one: &Locks, two: &Locks) {
    let lease = one.lock_named("a").await.unwrap();
    let mut wait = Box::pin(two.lock_named("a").into_future());
    assert!((&mut wait).now_or_never().is_none());
    let late = two.lock_named("b").timeout(Duration::from_millis(5)).await;
    drop(late.unwrap());
    let again = two.lock_named("a").timeout(Duration::from_millis(30)).await.unwrap_err();
    assert!(again.is_timed_out(), "{again}");
    drop(lease);
    let lease = soon("the lock", wait).await.unwrap();
    assert!(one.try_lock_named("a").await.is_err());
    drop(lease);
}

#[tokio::test]
async fn by_polling() {
    let room = Room::new();
    let polling = room.connect("?wait=poll").await.unwrap();
    let (usual, other) = (room.locks().await, room.connect("?wait=poll").await.unwrap());
    excludes(&polling, &other).await;
    excludes(&usual, &polling).await;
    excludes(&polling, &usual).await;
}

#[tokio::test]
async fn without_a_queue_folder() {
    let room = Room::new();
    fs::create_dir_all(room.dir()).unwrap();
    fs::write(room.dir().join(".keyward-q"), "in the way").unwrap();
    let (one, two) = (room.locks().await, room.locks().await);
    excludes(&one, &two).await;
}

/// A signal handler of somebody else is left alone, and one that was asked for is used.
#[test]
fn with_a_signal_of_the_callers_choice() {
    inside(alone, "waiting::with_a_signal_of_the_callers_choice", async {
        let room = Room::new();
        let signal = libc::SIGRTMIN() + 3;
        let one = room.connect(&format!("?signal={signal}")).await.unwrap();
        let two = room.connect("").await.unwrap();
        excludes(&one, &two).await;
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        assert_ne!(caught & 1 << (signal - 1), 0, "it is not the one that was asked for");
        // It is one for the process: a second wish is not granted silently.
        let other = room.connect(&format!("?signal={}", signal + 1)).await.unwrap();
        assert!(!other.capability().event_driven);
        assert!(other.capability().warnings[0].contains("signal"));
    });
}

/// The race that loses one cancel in 60,000 without the poison, as often as a test can afford.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cancel_is_lost() {
    let room = Room::new();
    let (one, two) = (room.locks().await, room.locks().await);
    let lease = one.lock_named("a").await.unwrap();
    for round in 0..5_000_u32 {
        let mut wait = Box::pin(two.lock_named("a").into_future());
        assert!((&mut wait).now_or_never().is_none());
        for _ in 0..round % 200 * 20 {
            std::hint::spin_loop();
        }
        drop(wait);
    }
    let inode = room.inode("a");
    until("the last cancel", || kernel_locks(&inode, true) == 0).await;
    drop(lease);
    drop(soon("the lock", one.lock_named("a").into_future()).await.unwrap());
}

/// Cancels that meet grants: whoever wins, the lock is not left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_that_meet_grants_leave_nothing_held() {
    let room = Room::new();
    let (one, two) = (room.locks().await, room.locks().await);
    for round in 0..2_000_u32 {
        let lease = one.lock_named("a").await.unwrap();
        let mut wait = Box::pin(two.lock_named("a").into_future());
        assert!((&mut wait).now_or_never().is_none());
        let release = tokio::task::spawn_blocking(move || drop(lease));
        for _ in 0..round % 100 * 100 {
            std::hint::spin_loop();
        }
        drop(wait);
        release.await.unwrap();
        let free = soon("the lock", one.lock_named("a").into_future()).await;
        drop(free.unwrap());
    }
}

#[test]
fn callers_that_are_not_async() {
    let room = Room::new();
    let locks = Locks::blocking_connect(room.url()).unwrap();
    let lease = locks.blocking_lock_named("a").unwrap();
    assert!(locks.blocking_try_lock_named("a").unwrap_err().is_would_block());
    let late = locks.lock_named("a").timeout(Duration::from_millis(20)).blocking_wait();
    assert!(late.unwrap_err().is_timed_out());
    let other = Locks::blocking_connect(room.url()).unwrap();
    let wait =
        std::thread::spawn(move || other.blocking_lock_named("a").unwrap().blocking_release());
    drop(lease);
    assert_eq!(wait.join().unwrap().unwrap(), keyward::Released::Released);
}
