//! Rows 16 to 18: disks that are full, directories that are not ours to use, lock files that go away.
#![allow(unsafe_code, reason = "changing the user of this process")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{Error, ErrorKind, LeaseState, Locks, LossReason};

use crate::{
    room::{Room, mount_tmpfs},
    sessions::{SLACK, millis, name, soon},
    stage::{Section, Stage, Store, is_free},
    worker::Worker,
};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A directory of so little room, as the kernel gives it out.
fn small(stage: &Stage, options: &str) -> Store {
    let dir = stage.path().join("locks");
    fs::create_dir(&dir).unwrap();
    mount_tmpfs(&dir, options);
    Store::File(dir)
}

/// A name that is new there is refused, as what it is; what has its room goes on; and nothing is left.
async fn full(stage: &Stage, store: &Store, fill: fn(&Path), hint: &str) {
    let Store::File(dir) = store else { unreachable!("it is one") };
    let files = open_files();
    let locks = store.connect("").await;
    Section::lock(stage, &locks, "old").await.release().await;
    let filler = dir.join("filler");
    let run = async |i| {
        fill(&filler);
        let begun = Instant::now();
        let error = soon("a refusal", locks.lock_named(format!("new-{i}")).into_future()).await;
        stage.took_at_most("refused", begun.elapsed(), SLACK);
        let error = error.map(drop);
        let is_typed = error.as_ref().is_err_and(|e| {
            e.kind() == ErrorKind::StorageFull && e.to_string().contains(hint) && e.name().is_some()
        });
        stage.check(is_typed, || format!("{error:?}"));
        let left = dir.join(format!("new-{i}"));
        stage.check(is_free(&left), || "what was refused is held".to_owned());
        Section::lock(stage, &locks, "old").await.release().await;
        drop(fs::remove_file(&filler));
        drop(fs::remove_dir_all(dir.join("many")));
        let room = Instant::now();
        Section::lock(stage, &locks, &format!("new-{i}")).await.release().await;
        stage.took_at_most("a lock, when there is room", room.elapsed(), SLACK);
        // The next run finds it as it was, but for the idle files that are kept open.
        drop(fs::remove_file(left));
    };
    for i in 0..stage.runs {
        run(i).await;
        stage.ran();
    }
    locks.close().await;
    drop(locks);
    // Idle lock files and the queue's were theirs; a thread may be on its way out.
    let begun = Instant::now();
    while open_files() > files && begun.elapsed() < SLACK {
        tokio::time::sleep(millis(5)).await;
    }
    let left = open_files().saturating_sub(files);
    stage.check(left == 0, || format!("{left} files are left open"));
    stage.judge(2 * stage.runs, None);
}

pub(crate) async fn no_block(stage: Arc<Stage>) {
    // Idle lock files are kept open, and have their block also when they are removed.
    let store = small(&stage, "size=2m,mode=700");
    let fill = |filler: &Path| {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    };
    full(&stage, &store, fill, "fencing=off").await;
}

pub(crate) async fn no_inode(stage: Arc<Stage>) {
    let store = small(&stage, "size=4m,nr_inodes=300,mode=700");
    let fill = |filler: &Path| {
        let many = filler.with_file_name("many");
        fs::create_dir(&many).unwrap();
        for i in 0.. {
            if fs::write(many.join(i.to_string()), "").is_err() {
                return;
            }
        }
    };
    full(&stage, &store, fill, "").await;
}

async fn connect(dir: &Path, options: &str) -> Result<(), Error> {
    Locks::connect(format!("file://{}{options}", dir.display())).await.map(drop)
}

/// Each is an error that says which, and nothing is made where it must not be.
pub(crate) async fn refused(stage: Arc<Stage>) {
    let expect = |got: Result<(), Error>, kind: ErrorKind, how: &str| {
        let is_so = got.as_ref().is_err_and(|e| e.kind() == kind);
        stage.check(is_so, || format!("{how}: {got:?} and not {kind:?}"));
    };
    let read_only = stage.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    mount_tmpfs(&read_only, "size=64k,mode=700,ro");
    let run = async |i| {
        let begun = Instant::now();
        expect(connect(&read_only, "").await, ErrorKind::ReadOnly, "read-only");
        expect(connect(&read_only.join("sub"), "").await, ErrorKind::ReadOnly, "below read-only");

        let missing = stage.path().join(format!("missing-{i}/a/b"));
        let made = connect(&missing, "").await;
        stage.check(made.is_ok(), || format!("missing: {made:?}"));
        let mode = fs::metadata(&missing).unwrap().permissions().mode() & 0o7777;
        stage.check(mode == 0o700, || format!("made with mode {mode:o}"));
        let locks = Locks::connect(format!("file://{}", missing.display())).await.unwrap();
        fs::remove_dir_all(&missing).unwrap();
        let gone = locks.lock_named("a").await.map(drop);
        expect(gone, ErrorKind::Unavailable, "removed meanwhile");
        stage.check(!missing.exists(), || "it was made again in silence".to_owned());

        let dir = stage.path().join(format!("dir-{i}"));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
        expect(connect(&dir, "").await, ErrorKind::Untrusted, "for everybody");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&dir, Some(12345), None).unwrap();
        expect(connect(&dir, "").await, ErrorKind::Untrusted, "of another user");
        std::os::unix::fs::chown(&dir, Some(0), None).unwrap();

        let outside = stage.path().join(format!("outside-{i}"));
        symlink(&outside, dir.join("link")).unwrap();
        let locks = Locks::connect(format!("file://{}", dir.display())).await.unwrap();
        expect(locks.lock_named("link").await.map(drop), ErrorKind::Untrusted, "a link");
        stage.check(!outside.exists(), || "a link was followed".to_owned());

        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        as_user(65_534);
        let forbidden = connect(&dir, "").await;
        let below = connect(&dir.join("sub"), "").await;
        as_user(0);
        expect(forbidden, ErrorKind::PermissionDenied, "forbidden");
        expect(below, ErrorKind::PermissionDenied, "below forbidden");
        stage.took_at_most("all of them", begun.elapsed(), SLACK);
    };
    stage.each(1, run).await;
}

/// From now on, this process is that user's as far as files and limits go.
pub(crate) fn as_user(id: libc::uid_t) {
    // SAFETY: has no preconditions; the C library does it for all threads. The saved user stays root.
    assert_eq!(unsafe { libc::setresuid(id, id, 0) }, 0, "run the tests as root");
}

/// Processes that lock one name as fast as they can, each of which may spoil the lock file when its
/// section is over: no two are ever inside.
pub(crate) async fn replaced_while_waited_for(stage: Arc<Stage>) {
    const WORKERS: usize = 4;
    let rooms = Room::both();
    let rounds = stage.runs.div_ceil(WORKERS * rooms.len());
    let mut acts = 0;
    for (i, room) in rooms.iter().enumerate() {
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(Worker::start(&stage, &room.url()).await);
        }
        for worker in &mut workers {
            worker.tell(&format!("loop spoiled-{i} {rounds} {}", room.dir().display()));
        }
        for worker in &mut workers {
            let answer = tokio::time::timeout(Duration::from_secs(900), async {
                loop {
                    if let Some(answer) = worker.done().await {
                        return answer;
                    }
                }
            });
            let answer = answer.await.expect("the loops end");
            let done = answer.strip_prefix("done ").and_then(|acts| acts.parse::<u64>().ok());
            stage.check(done.is_some(), || answer.clone());
            acts += done.unwrap_or(0);
        }
    }
    stage.check(acts as usize > stage.runs / 4, || format!("only {acts} acts"));
    stage.note(format!("{acts} times removed, renamed or replaced"));
    stage.note(format!("{WORKERS} processes, on two filesystems"));
    let (holds, waits) = stage.judge(stage.runs, None);
    stage.outcome().runs += holds;
    for wait in waits {
        stage.took("from asking to having", wait);
    }
}

/// Its holder is told, and the others go on with the new file.
pub(crate) async fn replaced_while_held(stage: Arc<Stage>) {
    type Act = fn(&Path, &Path);
    let acts: [Act; 3] = [
        |file, _| fs::remove_file(file).unwrap(),
        |file, away| fs::rename(file, away).unwrap(),
        |file, away| {
            fs::write(away, "").unwrap();
            fs::rename(away, file).unwrap();
        },
    ];
    let rooms = Room::both();
    let run = async |i: usize| {
        let room = &rooms[i % 2];
        let (one, two) = (room.locks().await, room.locks().await);
        let name = name("held");
        let section = Section::lock(&stage, &one, &name).await;
        let told = section.told();
        let wait = Section::spawn(&stage, &two, &name);
        Store::File(room.dir()).until_waiters(&name, 1).await;
        let acted = Instant::now();
        acts[i % 3](&room.lock_file(&name), &room.path().join("away"));
        let told = soon("the loss", told).await.unwrap();
        stage.took_at_most("told", told - acted, SLACK);
        let state = section.lease.state();
        stage.check(state == LeaseState::Lost(LossReason::Removed), || format!("{state:?}"));
        section.bury(&stage).await;
        let next = soon("the turn", wait).await.unwrap().unwrap();
        let is_named = next.lease.ensure_held().await;
        stage.check(is_named.is_ok(), || format!("{is_named:?}"));
        stage.check(!is_free(&room.lock_file(&name)), || "the new file is not locked".to_owned());
        next.release().await;
        Store::File(room.dir()).until_clean(&name, millis(5000)).await;
    };
    stage.each(1, run).await;
    stage.judge(2 * stage.runs, Some(SLACK));
}
