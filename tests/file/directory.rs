//! The lock directory and the files in it: who may change them, and what is not followed.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use keyward::ErrorKind;

use crate::room::{Room, again, inside, is_inner, mount_tmpfs, soon, with_mounts};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn refused(room: &Room, options: &str) -> (ErrorKind, String) {
    let error = room.connect(options).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn it_is_made_for_us_alone_unless_told_otherwise() {
    let room = Room::new();
    let _locks = room.locks().await;
    assert_eq!(mode(&room.dir()), 0o700);

    let room = Room::new();
    let locks = room.connect("?mode=2770").await.unwrap();
    let _lease = locks.lock_named("a").await.unwrap();
    assert_eq!(mode(&room.dir()), 0o2770, "whatever the umask, with the group for its files");
    assert_eq!(mode(&room.lock_file("a")), 0o666 & !umask());
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[tokio::test]
async fn missing_parents_are_made_and_relative_paths_are_known() {
    let room = Room::new();
    let deep = room.path().join("a/b/c");
    let url = format!("file://localhost{}", deep.display());
    keyward::Locks::connect(url).await.unwrap();
    assert!(deep.is_dir());
    let relative = Path::new("target/tmp").join(format!("keyward-relative-{}", std::process::id()));
    keyward::Locks::connect(format!("file:{}", relative.display())).await.unwrap();
    assert!(relative.is_dir());
    fs::remove_dir_all(relative).unwrap();
}

#[tokio::test]
async fn a_directory_that_others_can_change_is_refused() {
    let room = Room::new();
    fs::create_dir(room.dir()).unwrap();
    fs::set_permissions(room.dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (kind, message) = refused(&room, "").await;
    assert_eq!(kind, ErrorKind::Untrusted);
    assert!(message.contains("everybody") && message.contains("allow=shared-dir"), "{message}");
    let locks = room.connect("?allow=shared-dir").await.unwrap();
    locks.lock_named("a").await.unwrap().release().await.map(drop).unwrap();

    fs::set_permissions(room.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(room.dir(), Some(12345), None)
        .expect("giving a file away takes root: run the tests as root");
    let (kind, message) = refused(&room, "").await;
    assert_eq!(kind, ErrorKind::Untrusted);
    assert!(message.contains("another user"), "{message}");
    room.connect("?allow=shared-dir").await.unwrap();
}

/// Nor is it followed later, when the path names another directory.
#[tokio::test]
async fn a_directory_that_others_can_change_is_not_followed() {
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("held").await.unwrap();
    drop(locks.lock_named("a").await.unwrap());
    fs::rename(room.dir(), room.path().join("moved")).unwrap();
    fs::create_dir(room.dir()).unwrap();
    fs::set_permissions(room.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    // A look at the directory's path is good for 0.1 s.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    for name in ["a", "b"] {
        let error = locks.try_lock_named(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
        assert!(error.to_string().contains("everybody"), "{error}");
    }
    fs::set_permissions(room.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(locks.try_lock_named("a").await.unwrap());
    drop(lease);
}

#[tokio::test]
async fn what_is_no_directory_is_refused() {
    let room = Room::new();
    fs::write(room.dir(), "a file").unwrap();
    let (kind, message) = refused(&room, "").await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(message.contains("not a directory"), "{message}");
    assert!(message.contains(room.dir().to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn a_symbolic_link_is_not_followed() {
    let room = Room::new();
    let locks = room.locks().await;
    let outside = room.path().join("outside");
    symlink(&outside, room.lock_file("a")).unwrap();
    let error = locks.lock_named("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert!(std::error::Error::source(&error).is_some());
    assert!(!outside.exists(), "it was followed");

    let locks = room.connect("?names=tooz").await.unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, room.lock_file("sub")).unwrap();
    let error = locks.lock_named("sub/b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "it was followed");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_without_a_wait() {
    let room = Room::new();
    let locks = room.locks().await;
    fs::create_dir(room.lock_file("dir")).unwrap();
    let error = locks.lock_named("dir").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    let made = Command::new("mkfifo").arg(room.lock_file("pipe")).status().unwrap();
    assert!(made.success());
    let error = soon("the error", locks.lock_named("pipe").into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn without_permission() {
    const TEST: &str = "directory::without_permission";
    if is_inner() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = std::env::var("KEYWARD_TEST_URL").unwrap();
            let error = keyward::Locks::connect(&url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let error = keyward::Locks::connect(format!("{url}/sub")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        });
        return;
    }
    // The binary, where a user without rights can read it.
    let public = std::env::temp_dir().join(format!("keyward-nobody-{}", std::process::id()));
    fs::create_dir(&public).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, dir) = (public.join("test"), public.join("locks"));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let done = std::panic::catch_unwind(|| {
        again(TEST, |_| {
            let mut command = Command::new(&binary);
            command.uid(65534).gid(65534).current_dir("/");
            command.env("KEYWARD_TEST_URL", format!("file://{}", dir.display()));
            command
        });
    });
    fs::remove_dir_all(&public).unwrap();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn on_a_read_only_filesystem() {
    inside(with_mounts, "directory::on_a_read_only_filesystem", async {
        let room = Room::new();
        fs::create_dir(room.dir()).unwrap();
        mount_tmpfs(&room.dir(), "size=64k,mode=700,ro");
        let (kind, message) = refused(&room, "").await;
        assert_eq!(kind, ErrorKind::ReadOnly, "{message}");
    });
}

/// Two paths of one file, as hard links are: two names, and still one lock.
#[tokio::test]
async fn hard_links_exclude_each_other() {
    let room = Room::new();
    let locks = room.locks().await;
    let lease = locks.lock_named("a").await.unwrap();
    fs::hard_link(room.lock_file("a"), room.lock_file("b")).unwrap();
    assert!(locks.try_lock_named("b").await.unwrap_err().is_would_block());
    assert_eq!(fs::metadata(room.lock_file("a")).unwrap().nlink(), 2);
    drop(lease);
    drop(locks.try_lock_named("b").await.unwrap());
}
