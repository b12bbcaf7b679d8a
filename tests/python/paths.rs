//! Where the lock file of a name is: asked from the Python library, looked up among the files that
//! keyward has open, and proved by exclusion both ways.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    peer::{EXCLUSIVE, Peer, TRY},
    protocol::{Request, quoted},
    room::{Place, Room},
};

const LONGEST: [u8; 255] = [b'n'; 255];
const TOO_LONG: [u8; 256] = [b'n'; 256];

/// Name and oslo's `lock_file_prefix`.
const OSLO: [(&[u8], &str); 22] = [
    (b"a", ""),
    (b"a", "nova"),
    (b"b", "nova-"),
    (b"a", "-"),
    (b"a/b/c", ""),
    (b"a/b/c", "x/y"),
    (b"a", "x//y"),
    (b"a", "./x/."),
    (b"/abs/name", "cinder-"),
    (b"..", "p"),
    (b".hidden", ""),
    (b"~tilde", ""),
    (b"groups", ""),
    (b"a b%20c", ""),
    (b"new\nline", ""),
    (b"*?[\\]'\"", "$HOME"),
    ("ünï".as_bytes(), "é"),
    (b"\xff\xfe", ""),
    (b"\xff/\xfe", "p"),
    (b"UPPER", "Upper"),
    (b"upper", "Upper"),
    (&LONGEST, ""),
];

/// What oslo puts outside of its directory, or cannot lock at all; and the empty name, which it can
/// lock under a prefix.
const OSLO_REFUSED: [(&[u8], &str); 9] = [
    (b"", "p"),
    (b"n", "/abs"),
    (b"n", "../up"),
    (b"n", "x/../../up"),
    (b"", ""),
    (b".", ""),
    (b"..", ""),
    (b"a\0b", ""),
    (&TOO_LONG, ""),
];

const TOOZ: [&[u8]; 13] = [
    b"a",
    b"b/c",
    b"b//d",
    b"b/./e",
    b"f/",
    b"cinder-x/y/z",
    b".hidden",
    b"~tilde",
    b"groups/x",
    b"a b%20c",
    "é".as_bytes(),
    b"UPPER",
    &LONGEST,
];

/// What tooz refuses, keeps for itself or puts outside of its directory; and `a/../b`, which leads out
/// of it and in again.
const TOOZ_REFUSED: [&[u8]; 10] = [
    b".",
    b"groups",
    b"tmp",
    b".driver_lock",
    b"/abs",
    b"../locks-sibling/x",
    b"..",
    b"a/../b",
    b"a\0b",
    &TOO_LONG,
];

/// Names that are safe file names, and so need no rule.
const NATIVE: [&[u8]; 7] =
    [b"vol-1", b"cinder-LIN", b"a b%20c", b"x.lock", "é".as_bytes(), b"-", &LONGEST];

/// Proves that both mean the same file.
fn meet(python: &mut Peer, keyward: &mut Peer, what: &str) -> PathBuf {
    let path: PathBuf = python.path.components().collect();
    assert!(python.acquire(TRY, EXCLUSIVE), "{what}");
    assert!(!keyward.could_acquire(TRY, EXCLUSIVE), "{what} held by Python");
    python.release();
    assert!(keyward.acquire(TRY, EXCLUSIVE), "{what}");
    assert!(keyward.has_open(&path), "{what}: keyward's file is not {}", path.display());
    assert!(!python.could_acquire(TRY, EXCLUSIVE), "{what} held by keyward");
    keyward.release();
    path
}

/// All lock files below a directory; neither keyward's queue nor what tooz makes when it starts.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.insert(path);
        } else if path.file_name() != Some(OsStr::new(".keyward-q")) {
            found.append(&mut files(&path));
        }
    }
    found
}

fn refuses(keyward: &mut Peer, what: &str) {
    let acquire = Request::new("acquire").with("wait", TRY).with("mode", EXCLUSIVE);
    let answer = keyward.ask(&acquire);
    assert!(answer.starts_with("error") && answer.contains("InvalidName"), "{what}: {answer}");
}

fn oslo_url(room: &Room, prefix: &str) -> String {
    room.url(&format!("names=oslo&prefix={}", quoted(prefix.as_bytes())))
}

#[test]
fn oslo_prefixes_and_names() {
    let room = Room::new(Place::Disk);
    let mut python = Peer::python("oslo", &room, "", "first");
    let mut keyward = Peer::keyward("names=oslo", &room, "", "first");
    let mut seen = BTreeSet::new();
    for (name, prefix) in OSLO {
        let what = format!("{:?} with prefix {prefix:?}", name.escape_ascii().to_string());
        python.open(prefix, name);
        keyward.open_url(&oslo_url(&room, prefix), name);
        let path = meet(&mut python, &mut keyward, &what);
        assert!(seen.insert(path), "{what} was there before");
        assert_eq!(files(&room.locks()), seen, "{what}");
    }
    for (name, prefix) in OSLO_REFUSED {
        keyward.open_url(&oslo_url(&room, prefix), name);
        refuses(&mut keyward, &format!("{:?} with prefix {prefix:?}", name.escape_ascii()));
    }
    assert_eq!(files(room.path()), seen, "nothing is left outside");
}

/// `a/b` and `a_b` are one lock in oslo, and so in keyward: also between two that spell it differently.
#[test]
fn oslo_spellings_of_one_file() {
    let room = Room::new(Place::Disk);
    let mut python = Peer::python("oslo", &room, "nova", "a/b");
    let mut keyward = Peer::keyward("names=oslo", &room, "", "first");
    keyward.open_url(&oslo_url(&room, "nova-"), "a_b");
    meet(&mut python, &mut keyward, "a/b and a_b");
}

#[test]
fn tooz_names() {
    let room = Room::new(Place::Disk);
    let mut python = Peer::python("tooz", &room, "", "first");
    let mut keyward = Peer::keyward("names=tooz", &room, "", "first");
    let mut seen = BTreeSet::new();
    for name in TOOZ {
        let what = name.escape_ascii().to_string();
        python.open("", name);
        keyward.open("", name);
        assert!(seen.insert(meet(&mut python, &mut keyward, &what)), "{what} was there before");
        assert_eq!(files(&room.locks()), seen, "{what}");
    }
    for name in TOOZ_REFUSED {
        keyward.open("", name);
        refuses(&mut keyward, &name.escape_ascii().to_string());
    }
    assert_eq!(files(room.path()), seen, "nothing is left outside");
}

/// Who may write to a lock file may lock it, so both have to make them alike.
#[test]
fn permissions_of_lock_files() {
    let room = Room::new(Place::Disk);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    let mut python = Peer::python("fasteners", &room, "", "python");
    let mut keyward = Peer::keyward("", &room, "", "keyward");
    assert!(python.acquire(TRY, EXCLUSIVE) && keyward.acquire(TRY, EXCLUSIVE));
    assert_eq!(mode(room.locks().join("python")), mode(room.locks().join("keyward")));
}

#[test]
fn native_names_that_are_file_names() {
    let room = Room::new(Place::Memory);
    for prefix in ["", "cinder-"] {
        let mut python = Peer::python("fasteners", &room, prefix, "first");
        let mut keyward = Peer::keyward("", &room, prefix, "first");
        for name in NATIVE {
            let name = &name[..name.len().min(LONGEST.len() - prefix.len())];
            python.open(prefix, name);
            keyward.open(prefix, name);
            let path = meet(&mut python, &mut keyward, &name.escape_ascii().to_string());
            let file = [prefix.as_bytes(), name].concat();
            assert_eq!(path, room.locks().join(OsStr::from_bytes(&file)));
        }
    }
}
