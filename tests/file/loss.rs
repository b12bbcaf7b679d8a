//! A lock file that is not the one its path names any more excludes nobody, and its holder is told.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    task::{Context, Wake},
    time::Duration,
};

use futures::FutureExt;
use keyward::{Lease, LeaseState, Locks, LossReason, Released};
use tokio::sync::Notify;

use crate::room::{Peer, Room, inside, kernel_locks, mount_tmpfs, soon, until, with_mounts};

async fn must_be_lost(lease: Lease, how: &str) {
    let token = lease.cancellation_token();
    assert_eq!(soon(how, lease.lost()).await, LossReason::Removed, "{how}");
    soon("the cancellation", token.cancelled()).await;
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Removed));
    let stopped = lease.run(std::future::pending::<()>()).await.unwrap_err();
    assert!(stopped.is_lost(), "{how}: {stopped}");
    let error = lease.ensure_held().await.unwrap_err();
    assert!(error.is_lost() && error.name() == Some(lease.name()), "{how}: {error}");
    assert_eq!(lease.release().await.unwrap(), Released::WasLost, "{how}");
}

#[tokio::test]
async fn whatever_is_done_to_the_path() {
    type Act = fn(&Room, &Path);
    let acts: [(&str, Act); 6] = [
        ("unlinked", |_, file| fs::remove_file(file).unwrap()),
        ("renamed away", |room, file| fs::rename(file, room.path().join("away")).unwrap()),
        ("renamed over", |room, file| {
            fs::write(room.path().join("new"), "").unwrap();
            fs::rename(room.path().join("new"), file).unwrap();
        }),
        ("its directory renamed", |room, _| {
            fs::rename(room.dir(), room.path().join("moved")).unwrap();
        }),
        ("its directory replaced", |room, _| {
            fs::rename(room.dir(), room.path().join("moved")).unwrap();
            fs::create_dir(room.dir()).unwrap();
        }),
        ("its directory removed", |room, _| fs::remove_dir_all(room.dir()).unwrap()),
    ];
    for (how, act) in acts {
        for room in Room::both() {
            let locks = room.locks().await;
            let unwatched = locks.lock_named("b").await.unwrap();
            let lease = locks.lock_named("a").await.unwrap();
            let mut lost = lease.lost();
            assert_eq!(lease.state(), LeaseState::Held);
            assert_eq!((&mut lost).now_or_never(), None);
            act(&room, &room.lock_file("a"));
            assert_eq!(soon(how, lost).await, LossReason::Removed);
            must_be_lost(lease, how).await;
            // Without anybody who listens it is found when somebody asks.
            if how.contains("directory") {
                assert!(unwatched.ensure_held().await.unwrap_err().is_lost(), "{how}");
                assert_eq!(unwatched.release().await.unwrap(), Released::WasLost);
            } else {
                unwatched.ensure_held().await.unwrap();
                assert_eq!(unwatched.release().await.unwrap(), Released::Released);
            }
            // And life goes on, at the path; a directory that is gone is not made again silently.
            if !room.dir().exists() {
                let error = locks.lock_named("a").await.unwrap_err();
                assert_eq!(error.kind(), keyward::ErrorKind::Unavailable, "{error}");
                fs::create_dir(room.dir()).unwrap();
            }
            let next = locks.lock_named("a").await.unwrap();
            next.ensure_held().await.unwrap();
            assert!(room.lock_file("a").exists());
        }
    }
}

#[test]
fn when_the_filesystem_goes_away() {
    inside(with_mounts, "loss::when_the_filesystem_goes_away", async {
        let room = Room::new();
        for how in ["unmounted", "mounted over"] {
            fs::create_dir_all(room.dir()).unwrap();
            mount_tmpfs(&room.dir(), "size=64k,mode=700");
            let locks = room.locks().await;
            let lease = locks.lock_named("a").await.unwrap();
            let lost = lease.lost();
            if how == "unmounted" {
                let mut umount = std::process::Command::new("umount");
                assert!(umount.arg("-l").arg(room.dir()).status().unwrap().success());
            } else {
                mount_tmpfs(&room.dir(), "size=64k,mode=700");
            }
            assert_eq!(soon(how, lost).await, LossReason::Removed, "{how}");
            must_be_lost(lease, how).await;
            drop(locks.lock_named("a").await.unwrap());
        }
    });
}

#[tokio::test]
async fn truncation_and_chmod_are_no_loss() {
    use std::os::unix::fs::PermissionsExt;

    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    let mut lost = lease.lost();
    fs::write(room.lock_file("a"), "").unwrap();
    fs::set_permissions(room.lock_file("a"), fs::Permissions::from_mode(0o600)).unwrap();
    lease.ensure_held().await.unwrap();
    // Another file's removal is looked at, and is not ours.
    drop(locks.lock_named("b").await.unwrap());
    fs::remove_file(room.lock_file("b")).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1_200), &mut lost).await.is_err());
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    assert_eq!(lost.now_or_never(), None, "a release is no loss");
}

#[tokio::test]
async fn a_release_is_no_loss_even_if_the_file_goes_after_it() {
    let room = Room::new();
    let locks = room.locks().await;
    for round in 0..50 {
        let lease = locks.lock_named("a").await.unwrap();
        let mut lost = lease.lost();
        drop(lease);
        fs::remove_file(room.lock_file("a")).unwrap();
        tokio::task::yield_now().await;
        assert_eq!((&mut lost).now_or_never(), None, "round {round}");
        if round == 49 {
            assert!(tokio::time::timeout(Duration::from_millis(1_200), lost).await.is_err());
        }
    }
}

/// Who waits on a file that is removed must not end up with a lock that nobody else can see.
#[tokio::test]
async fn waiters_move_on_to_the_file_that_the_path_names() {
    let room = Room::new();
    let (one, two) = (room.locks().await, room.locks().await);
    let lease = one.lock_named("a").await.unwrap();
    let inode = room.inode("a");
    let wait = tokio::spawn(two.lock_named("a").into_future());
    until("the wait", || kernel_locks(&inode, true) == 1).await;
    fs::remove_file(room.lock_file("a")).unwrap();
    let mut peer = Peer::start(&room.url());
    assert!(peer.ask("lock a").starts_with("held"), "it is another file");
    drop(lease); // now the waiter is granted the old one
    assert!(!wait.is_finished());
    peer.tell("release");
    let lease = soon("the turn of the waiter", wait).await.unwrap().unwrap();
    lease.ensure_held().await.unwrap();
    assert!(one.try_lock_named("a").await.unwrap_err().is_would_block());
}

/// A waker may do anything, also drop the lease whose loss it is told of, on the thread that tells it.
#[tokio::test]
async fn a_waker_may_drop_the_lease() {
    struct Dropper(Mutex<Option<Lease>>, Notify);
    impl Wake for Dropper {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
            self.1.notify_one();
        }
    }
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    let mut lost = lease.lost();
    let dropper = Arc::new(Dropper(Mutex::new(Some(lease)), Notify::new()));
    let waker = Arc::clone(&dropper).into();
    assert!(lost.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    fs::remove_file(room.lock_file("a")).unwrap();
    soon("the wake", dropper.1.notified()).await;
    drop(locks.try_lock_named("a").await.unwrap());
}

/// The hold of one task is handed to the next; the loss is told to the one who has it.
#[tokio::test]
async fn after_a_hand_over_the_new_holder_is_told() {
    let room = Room::new();
    let locks: Locks = room.locks().await;
    let first = locks.lock_named("a").await.unwrap();
    let lost_first = first.lost();
    let mut wait = Box::pin(locks.lock_named("a").into_future());
    assert!((&mut wait).now_or_never().is_none());
    drop(first);
    let second = wait.await.unwrap();
    let lost_second = second.lost();
    fs::remove_file(room.lock_file("a")).unwrap();
    assert_eq!(soon("the loss", lost_second).await, LossReason::Removed);
    assert_eq!(lost_first.now_or_never(), None, "the first had released it");
}

/// A try looks at the path as well, not only who waits.
#[tokio::test]
async fn a_try_is_not_kept_from_a_new_file_by_who_holds_the_old_one() {
    let room = Room::new();
    let (one, two) = (room.locks().await, room.locks().await);
    let lease = one.lock_named("a").await.unwrap();
    assert!(two.try_lock_named("a").await.unwrap_err().is_would_block());
    fs::remove_file(room.lock_file("a")).unwrap();
    drop(two.try_lock_named("a").await.unwrap());
    assert!(lease.ensure_held().await.unwrap_err().is_lost());
}

/// Readers of one process share a hold; whoever has released hears no more of it.
#[tokio::test]
async fn a_reader_who_has_released_is_not_told() {
    let room = Room::new();
    let locks = room.locks().await;
    let first = locks.lock_named("a").shared().await.unwrap();
    let second = locks.lock_named("a").shared().await.unwrap();
    let (lost_first, lost_second) = (first.lost(), second.lost());
    let cancelled_first = first.cancellation_token();
    assert_eq!(first.release().await.unwrap(), Released::Released);
    fs::remove_file(room.lock_file("a")).unwrap();
    assert_eq!(soon("the loss", lost_second).await, LossReason::Removed);
    assert_eq!(lost_first.now_or_never(), None);
    assert!(!cancelled_first.is_cancelled());
    assert_eq!(second.release().await.unwrap(), Released::WasLost);
}

/// A loss is final, also if the file comes back: the hold does not go on to the next task.
/// Nobody listens: whoever asks is told, also if others go on reading.
#[tokio::test]
async fn each_reader_has_the_paths_word_at_its_release() {
    for room in Room::both() {
        let (locks, others) = (room.locks().await, room.locks().await);
        let shared = async || locks.lock_named("a").shared().await.unwrap();
        let (one, two, last) = (shared().await, shared().await, shared().await);
        assert_eq!(one.release().await.unwrap(), Released::Released);
        fs::remove_file(room.lock_file("a")).unwrap();
        let writer = soon("the new file", others.lock_named("a").into_future()).await.unwrap();
        assert_eq!(two.release().await.unwrap(), Released::WasLost);
        assert_eq!(last.release().await.unwrap(), Released::WasLost);
        assert_eq!(writer.release().await.unwrap(), Released::Released);
    }
}

/// What becomes of a lock after it was handed over is the next holder's to hear.
#[tokio::test]
async fn who_has_handed_over_is_not_told() {
    for room in Room::both() {
        let locks = room.locks().await;
        let lease = locks.lock_named("a").await.unwrap();
        let mut lost = lease.lost();
        let next = tokio::spawn(locks.lock_named("a").into_future());
        while locks.inspect("a").await.unwrap().waiters == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        let next = soon("the next", next).await.unwrap().unwrap();
        fs::remove_file(room.lock_file("a")).unwrap();
        must_be_lost(next, "removed").await;
        assert_eq!((&mut lost).now_or_never(), None);
    }
}

#[tokio::test]
async fn a_hold_that_was_lost_is_not_handed_over() {
    let room = Room::new();
    let locks = room.locks().await;
    let first = locks.lock_named("a").await.unwrap();
    let lost = first.lost();
    let mut wait = Box::pin(locks.lock_named("a").into_future());
    assert!((&mut wait).now_or_never().is_none());
    fs::rename(room.lock_file("a"), room.path().join("away")).unwrap();
    assert_eq!(soon("the loss", lost).await, LossReason::Removed);
    fs::rename(room.path().join("away"), room.lock_file("a")).unwrap();
    drop(first);
    let second = soon("the turn", wait).await.unwrap();
    assert_eq!(second.state(), LeaseState::Held);
    assert_eq!(second.release().await.unwrap(), Released::Released);
}
