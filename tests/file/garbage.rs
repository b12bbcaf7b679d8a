//! Old lock files are removed, and never under anybody.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::room::{Peer, Room, again, is_inner, kernel_locks, soon, until};

#[tokio::test]
async fn what_is_unused_goes_and_what_is_not_stays() {
    for room in Room::both() {
        let locks = room.locks().await;
        for name in ["free", "held", "shared", "open", "waited"] {
            drop(locks.lock_named(name).await.unwrap());
        }
        fs::write(room.lock_file("python"), "").unwrap();
        fs::write(room.lock_file("not-a-lock"), "precious data").unwrap();
        fs::write(
            room.lock_file("longer"),
            [&fs::read(room.lock_file("free")).unwrap()[..], &[0; 64]].concat(),
        )
        .unwrap();
        fs::create_dir(room.lock_file("dir")).unwrap();
        assert_eq!(locks.collect_garbage(Duration::from_secs(3600)).await.unwrap(), 0, "too young");
        let _held = locks.lock_named("held").await.unwrap();
        let _shared = locks.lock_named("shared").shared().await.unwrap();
        let _open = fs::File::open(room.lock_file("open")).unwrap();
        let _waited = locks.lock_named("waited").await.unwrap();
        let mut peer = Peer::start(&room.url());
        assert_eq!(peer.ask("lock waited"), "waiting");

        assert_eq!(locks.collect_garbage(Duration::ZERO).await.unwrap(), 1);
        for stays in ["held", "shared", "open", "waited", "python", "not-a-lock", "longer", "dir"] {
            assert!(room.lock_file(stays).exists(), "{stays} was removed");
        }
        assert!(!room.lock_file("free").exists());
        // A lock whose file is gone is made anew, with a larger token.
        drop(locks.lock_named("free").await.unwrap());
    }
}

#[tokio::test]
async fn tokens_increase_over_it_or_it_is_left_alone() {
    let room = Room::new();
    let locks = room.locks().await;
    let before = locks.lock_named("a").await.unwrap().fencing_token();
    assert_eq!(locks.collect_garbage(Duration::ZERO).await.unwrap(), 1);
    assert!(locks.lock_named("a").await.unwrap().fencing_token() > before);

    let durable = room.connect("?fencing=durable").await.unwrap();
    drop(durable.lock_named("d").await.unwrap());
    assert_eq!(durable.collect_garbage(Duration::ZERO).await.unwrap(), 0);
    assert!(room.lock_file("d").exists(), "its tokens are nowhere else");

    let off = room.connect("?fencing=off").await.unwrap();
    drop(off.lock_named("empty").await.unwrap());
    assert_eq!(off.collect_garbage(Duration::ZERO).await.unwrap(), 1);
    assert!(!room.lock_file("empty").exists());
}

/// Collecting at full speed under those who lock at full speed: there is never a second holder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_never_makes_two_holders() {
    let room = Room::new();
    let (inside, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let locks = room.locks().await;
        let (inside, done) = (Arc::clone(&inside), Arc::clone(&done));
        tasks.spawn(async move {
            let mut acquired = 0_u64;
            while !done.load(SeqCst) {
                let lease = locks.lock_named("a").await.unwrap();
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two holders");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, SeqCst);
                drop(lease);
                acquired += 1;
                if acquired.is_multiple_of(7) {
                    // Let go of the file, so that there is something to collect.
                    locks.collect_garbage(Duration::from_secs(3600)).await.unwrap();
                }
            }
            acquired
        });
    }
    let collector = room.locks().await;
    let removed = soon("a removal", async {
        let (mut rounds, mut removed) = (0, 0);
        while rounds < 2_000 || removed == 0 {
            removed += collector.collect_garbage(Duration::ZERO).await.unwrap();
            rounds += 1;
        }
        removed
    })
    .await;
    done.store(true, SeqCst);
    let acquired: u64 = tasks.join_all().await.into_iter().sum();
    println!("{acquired} locks, {removed} files removed");
    assert!(acquired > 100 && removed > 0, "{acquired} locks, {removed} files removed");
    drop(collector.lock_named("a").await.unwrap());
    let inode = room.inode("a");
    until("the end", || kernel_locks(&inode, true) == 0).await;
}

/// Who opens a file while it is being collected waits for that; he does not fail.
#[test]
#[allow(unsafe_code, reason = "a lease")]
fn a_lease_on_the_file_holds_up_and_does_not_fail() {
    if !is_inner() {
        return again("garbage::a_lease_on_the_file_holds_up_and_does_not_fail", |binary| {
            std::process::Command::new(binary)
        });
    }
    let room = Room::new();
    fs::create_dir(room.dir()).unwrap();
    let leased = fs::File::create(room.lock_file("a")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&leased);
    // SAFETY: the descriptor is open; the signal that asks for the lease's end is ignored.
    unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        assert_eq!(libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK), 0);
    }
    let locks = keyward::Locks::blocking_connect(room.url()).unwrap();
    let collector = std::thread::spawn(move || {
        // SAFETY: the descriptor is open.
        while unsafe { libc::fcntl(fd, libc::F_GETLEASE) } == libc::F_WRLCK {
            std::thread::yield_now(); // nobody has asked for its end
        }
        drop(leased);
    });
    drop(locks.blocking_try_lock_named("a").unwrap());
    collector.join().unwrap();
}
