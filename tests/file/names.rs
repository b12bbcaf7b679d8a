//! Which file a name is: the wire format that Python peers and other versions rely on.

use std::fs;

use keyward::{ErrorKind, LockName};

use crate::room::Room;

/// The lock file that a name has made, relative to the directory.
async fn file_of(options: &str, name: impl Into<LockName>) -> Result<String, ErrorKind> {
    let room = Room::new();
    let locks = room.connect(options).await.unwrap();
    let lease = locks.lock_named(name).await.map_err(|e| e.kind())?;
    let mut files = Vec::new();
    walk(&room.dir(), "", &mut files);
    drop(lease);
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1, "something left the directory");
    Ok(files.remove(0))
}

fn walk(dir: &std::path::Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if name != ".keyward-q" {
                walk(&entry.path(), &format!("{name}/"), files);
            }
        } else {
            files.push(name);
        }
    }
}

#[tokio::test]
async fn native_names_stand_as_they_are() {
    let longest = "x".repeat(255);
    for name in ["vol-42", "cinder-LIN", "A", "a b", "-", "a~", "é", "a.lock", "a\nb", &longest] {
        assert_eq!(file_of("", name).await.as_deref(), Ok(name));
    }
}

#[tokio::test]
async fn other_native_names_are_encoded() {
    // Golden values: sha256, its first 160 bits, base32, made by other tools.
    for (name, file) in [
        ("pool/vol 42", "~pool_vol_42.dt5qdhgvv6iu5t2xlxqgqgdh2ruiavj5"),
        ("../x", "~.._x.224wvf6ri7nkvze6xb5fzj57xqua46kv"),
        (".", "~..zw2o4kxknhggvaztdo7jnxbmvkncthjb"),
        ("groups", "~groups.j3jxtvayxodcscqbcf7jz2yn5p74junx"),
    ] {
        let found = file_of("", name).await.unwrap();
        assert_eq!(found, file, "{name}");
    }
    let mut files = Vec::new();
    let long = "x".repeat(256);
    let huge = "x".repeat(1 << 20);
    for name in [
        "/etc/passwd",
        "..",
        ".hidden",
        "~tilde",
        "tmp",
        ".driver_lock",
        "a\0b",
        "a/b",
        &long,
        &huge,
    ] {
        let file = file_of("", name).await.unwrap();
        assert!(file.starts_with('~') && file.len() <= 255, "{name}: {file}");
        files.push(file);
    }
    files.sort();
    files.dedup();
    assert_eq!(files.len(), 10, "two names are one file");
}

#[tokio::test]
async fn exact_names_stand_as_they_are_or_are_refused() {
    assert_eq!(file_of("", LockName::exact("cinder-LIN")).await.as_deref(), Ok("cinder-LIN"));
    for bytes in [&b"a/b"[..], b"..", b".", b".x", b"~x", b"a\0b", &[b'x'; 256]] {
        let refused = file_of("", LockName::exact(bytes)).await;
        assert_eq!(refused, Err(ErrorKind::InvalidName), "{bytes:?}");
    }
    let room = Room::new();
    let locks = room.locks().await;
    let latin = locks.lock_named(LockName::exact(b"caf\xe9")).await.unwrap();
    assert_eq!(latin.name().to_string(), r"caf\xe9", "bytes are taken that are not utf-8");
}

#[tokio::test]
async fn oslo_names() {
    for (prefix, name, file) in [
        ("", "a", "a"),
        ("", "a/b", "a_b"),
        ("", ".x", ".x"),
        ("", "~x", "~x"),
        ("nova", "a", "nova-a"),
        ("nova-", "a", "nova-a"),
        ("cinder-", "/abs/name", "cinder-_abs_name"),
        ("x/y", "a/b/c", "x/y-a_b_c"),
        ("-", "a/b", "-a_b"),
    ] {
        let found = file_of(&format!("?names=oslo&prefix={prefix}"), name).await;
        assert_eq!(found.as_deref(), Ok(file), "{prefix:?} {name:?}");
    }
    for (prefix, name) in
        [("", ".."), ("", "."), ("", "a\0"), ("/abs", "n"), ("../up", "n"), ("a/../..", "n")]
    {
        let refused = file_of(&format!("?names=oslo&prefix={prefix}"), name).await;
        assert_eq!(refused, Err(ErrorKind::InvalidName), "{prefix:?} {name:?}");
    }
}

#[tokio::test]
async fn tooz_names() {
    for (name, file) in
        [("a", "a"), ("a/b", "a/b"), ("a//b/./c", "a/b/c"), (".x", ".x"), ("groups/x", "groups/x")]
    {
        assert_eq!(file_of("?names=tooz", name).await.as_deref(), Ok(file), "{name:?}");
    }
    for name in
        ["..", "../dir-evil/x", "/etc/x", "a/../../x", ".", "/", "groups", "tmp", ".driver_lock"]
    {
        assert_eq!(file_of("?names=tooz", name).await, Err(ErrorKind::InvalidName), "{name:?}");
    }
}

/// One name never maps to two locks, and what is one lock is taken once.
#[tokio::test]
async fn spellings_of_one_lock_do_not_deadlock() {
    let room = Room::new();
    let locks = room.connect("?names=oslo").await.unwrap();
    let both = locks.lock_all(["a/b", "a_b"]).blocking(false).await.unwrap();
    assert_eq!(both.len(), 1);
}

/// The order of locking is that of the locks, not of their spellings: `a/b` is before `a0`, and `a_b`
/// is after it, and they are one lock.
#[tokio::test]
async fn spellings_of_one_lock_are_taken_in_one_order() {
    let room = Room::new();
    let locks = room.connect("?names=oslo").await.unwrap();
    for spelling in ["a/b", "a_b"] {
        let both = locks.lock_all(["a0", spelling]).blocking(false).await.unwrap();
        let names: Vec<_> = both.iter().map(|lease| lease.name().to_string()).collect();
        assert_eq!(names, ["a0", spelling]);
    }
}
