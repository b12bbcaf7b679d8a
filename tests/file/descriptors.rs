//! What is open, and that it does not grow.

use std::{fs, os::fd::AsRawFd, time::Duration};

use futures::FutureExt;
use keyward::ErrorKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::room::{Room, alone, inside, kernel_locks, soon, until};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn many_names_keep_few_files_open() {
    inside(alone, "descriptors::many_names_keep_few_files_open", async {
        let room = Room::new();
        let locks = room.locks().await;
        let before = open_files();
        for name in 0..2_000 {
            drop(locks.lock_named(format!("vol-{name}")).await.unwrap());
        }
        // 128 idle lock files, 64 queue files.
        assert!(open_files() <= before + 192, "{} files are open", open_files());
        locks.close().await;
        assert!(open_files() <= before + 64, "{} files are open", open_files());
        drop(locks);
        assert!(open_files() < before, "{} files are open", open_files());
    });
}

#[test]
fn cancelled_waits_leave_nothing_open() {
    inside(alone, "descriptors::cancelled_waits_leave_nothing_open", async {
        let room = Room::new();
        let (one, two) = (room.locks().await, room.locks().await);
        let lease = one.lock_named("a").await.unwrap();
        let mut before = 0;
        for round in 0..300 {
            let mut wait = Box::pin(two.lock_named("a").into_future());
            assert!((&mut wait).now_or_never().is_none());
            if round % 3 == 0 {
                tokio::time::sleep(Duration::from_micros(round)).await;
            }
            drop(wait);
            if round == 20 {
                until("the last cancel", || crate::room::kernel_locks(&room.inode("a"), true) == 0)
                    .await;
                before = open_files();
            }
        }
        let inode = room.inode("a");
        until("the last cancel", || crate::room::kernel_locks(&inode, true) == 0).await;
        until("the files", || open_files() <= before).await;
        drop(lease);
        drop(soon("the lock", two.lock_named("a").into_future()).await.unwrap());
    });
}

#[test]
fn at_the_limit_of_open_files() {
    inside(alone, "descriptors::at_the_limit_of_open_files", async {
        let room = Room::new();
        let locks = room.locks().await;
        drop(locks.lock_named("a").await.unwrap());
        let held = locks.lock_named("held").await.unwrap();
        let usual = getrlimit(Resource::Nofile);
        // The lowest number that is free is one too many.
        let next = fs::File::open("/dev/null").unwrap().as_raw_fd();
        let limit = Rlimit { current: Some(next as u64), maximum: usual.maximum };
        setrlimit(Resource::Nofile, limit).unwrap();
        let error = locks.lock_named("b").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error}");
        assert!(error.to_string().contains("open files"), "{error}");
        assert!(error.is_retryable());
        let error = room.connect("").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceLimit, "{error}");
        // What is open works.
        drop(locks.lock_named("a").await.unwrap());
        held.ensure_held().await.unwrap();
        setrlimit(Resource::Nofile, usual).unwrap();
        drop(locks.lock_named("b").await.unwrap());
    });
}

/// The look at a queue that stands still needs a file; the wait does not depend on it.
#[test]
fn a_wait_goes_on_at_the_limit_of_open_files() {
    inside(alone, "descriptors::a_wait_goes_on_at_the_limit_of_open_files", async {
        let room = Room::new();
        let (one, two) = (room.locks().await, room.locks().await);
        let lease = one.lock_named("a").await.unwrap();
        let wait = two.lock_named("a").timeout(std::time::Duration::from_millis(1_500));
        let wait = tokio::spawn(wait.into_future());
        let inode = room.inode("a");
        until("the wait", || kernel_locks(&inode, true) == 1).await;
        let usual = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: usual.maximum }).unwrap();
        let error = wait.await.unwrap().unwrap_err();
        setrlimit(Resource::Nofile, usual).unwrap();
        assert!(error.is_timed_out(), "{error}");
        drop(lease);
    });
}

/// The lowest of our descriptors that are that, and its number.
fn lowest(what: &str) -> Option<i32> {
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let are = all.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|path| path.to_string_lossy().contains(what))
    });
    are.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).min()
}

/// The kernel takes its time to free what notices losses, and frees the higher numbers first: the locks
/// of a killed process are not to wait for that.
#[test]
fn what_notices_losses_was_there_before_the_locks() {
    inside(alone, "descriptors::what_notices_losses_was_there_before_the_locks", async {
        let room = Room::new();
        let locks = room.locks().await;
        let leases = [locks.lock_named("a").await.unwrap(), locks.lock_named("b").await.unwrap()];
        for (name, lease) in ["a", "b"].into_iter().zip(leases) {
            let file = room.lock_file(name);
            assert_eq!(lowest("inotify"), None, "nobody listens");
            let lost = lease.lost();
            let notices = lowest("inotify").unwrap();
            assert!(notices < lowest(file.to_str().unwrap()).unwrap());
            drop((lost, lease));
            until("nobody listens", || lowest("inotify").is_none()).await;
            // Its place is kept a moment after it is gone; who comes in between has another one.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
}

#[test]
fn children_do_not_inherit_them() {
    inside(alone, "descriptors::children_do_not_inherit_them", async {
        let room = Room::new();
        let locks = room.locks().await;
        let _lease = locks.lock_named("a").await.unwrap();
        let list = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let list = String::from_utf8_lossy(&list.stdout);
        assert!(list.contains("/proc/"), "{list}");
        assert!(!list.contains(room.path().to_str().unwrap()), "{list}");
    });
}
