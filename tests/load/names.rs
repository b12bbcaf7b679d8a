//! Row 28: names that are meant to do harm, or to be taken for one another.
//!
//! Names are told apart by locking them all at once: `lock_all` takes each *lock* once, so it has as many
//! leases as there are locks.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    fs,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    time::Duration,
};

use keyward::{ErrorKind, LockName, LockRegistry, Locks};

use crate::{
    dice::Dice,
    sessions::{secs, within},
    stage::{Backend, Stage, Store},
};

/// Each of them is a lock of its own.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        // Paths, and what is special in a directory.
        ".",
        "..",
        "../escape",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "/",
        "//",
        "a/",
        "a",
        ".hidden",
        ".keyward-q",
        "~",
        "~a",
        "groups",
        "tmp",
        ".driver_lock",
        "a\0b",
        "\0",
        "a\\b",
        "C:\\x",
        "con",
        "a:b",
        "a\nb",
        "a\tb",
        "\r",
        " ",
        "  ",
        "a ",
        " a",
        "a.",
        "*",
        "?",
        "-rf",
        "--help",
        "$(reboot)",
        "`reboot`",
        "a;b",
        "a|b",
        "a&b",
        // Statements.
        "'",
        "\"",
        "''",
        "a'b",
        "'; DROP TABLE mysql.canary; --",
        "\\'",
        "%",
        "%s",
        "_",
        "a_b",
        "a%b",
        "X'41'",
        "0x41",
        "NULL",
        "1",
        "01",
        "1.0",
        "a`b",
        "/*",
        "*/",
        "#",
        "--",
        // Case, accents, spaces: pairs that some collation takes for one.
        "A",
        "vol-1",
        "Vol-1",
        "VOL-1",
        "e",
        "é",
        "e\u{301}",
        "E",
        "É",
        "ss",
        "ß",
        "ẞ",
        "i",
        "I",
        "ı",
        "İ",
        "vol-1 ",
        "vol-1\t",
        "vol-1\0",
        "ａ",
        "Å",
        "\u{212B}",
        "ﬁ",
        "fi",
        "ς",
        "σ",
        "Σ",
        // What is seen as nothing, or backwards.
        "\u{200B}",
        "\u{FEFF}",
        "\u{202E}a",
        "\u{AD}",
        "🔒",
        "👩‍🚀",
        "👩",
        "\u{10FFFF}",
        // Other stores' syntax.
        "{a}",
        "{a}b",
        "a{b}",
        "a:b:c",
        "[a]",
        "<a>",
        "&amp;",
        "%2e%2e%2f",
        "%00",
        "..%2f",
    ]
    .map(str::to_owned)
    .to_vec();
    // Around every limit that a store has, and two that differ behind it.
    for len in [34, 63, 64, 65, 191, 192, 193, 221, 222, 223, 254, 255, 256, 4096] {
        names.push("x".repeat(len));
        names.push(format!("{}y", "x".repeat(len)));
        names.push("X".repeat(len));
        names.push("é".repeat(len));
    }
    names.push("x".repeat(1 << 20));
    // What keyward itself would make of one of them.
    let encoded: Vec<_> = ["a/b", "A"]
        .iter()
        .flat_map(|it| [64, 255].map(|n| LockName::from(*it).encoded(n)))
        .collect();
    names.extend(encoded);
    let distinct: BTreeSet<_> = names.into_iter().collect();
    distinct.into_iter().collect()
}

/// Bytes that are no text.
const BYTES: [&[u8]; 7] =
    [b"\xff", b"\xff\xfe", b"a\x80", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x94", b"a\xff/../b"];

/// A row of names that differ in little, the same each time.
struct Makes(Dice);

impl Makes {
    fn roll(&mut self, below: usize) -> usize {
        self.0.roll(below as u64) as usize
    }

    fn name(&mut self) -> String {
        const PARTS: [&str; 24] = [
            "a",
            "A",
            "b",
            "á",
            "/",
            "..",
            "%",
            "'",
            "_",
            "-",
            " ",
            "\0",
            "~",
            ".",
            "\\",
            "{",
            "0",
            "é",
            "e\u{301}",
            "ß",
            "ss",
            "🔒",
            "\n",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ];
        let len = 1 + self.roll(9);
        (0..len).map(|_| PARTS[self.roll(PARTS.len())]).collect()
    }
}

/// All that lies below a directory, and beside it.
fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The registry takes every key as it is.
async fn keys(stage: &Stage) {
    let names = hostile();
    let registry = LockRegistry::<String>::new();
    let all = registry.lock_all(names.iter().map(String::as_str)).await;
    stage.check(all.len() == names.len(), || format!("{} of {}", all.len(), names.len()));
    for name in &names {
        let is_busy = registry.try_lock_named(name).is_err();
        stage.check(is_busy, || format!("{:?} is not held", head(name)));
    }
    let empty = registry.try_lock_named("");
    stage.check(empty.is_ok(), || "the empty name is a name like any other".to_owned());
    drop((all, empty));
    stage.check(registry.is_empty(), || format!("{} are left", registry.len()));
    let bytes = LockRegistry::<Vec<u8>>::new();
    let all = bytes.lock_all(BYTES).await;
    stage.check(all.len() == BYTES.len(), || format!("{} of {}", all.len(), BYTES.len()));
    drop(all);
    let mut makes = Makes(Dice(28));
    let (mut made, mut held) = (HashSet::new(), Vec::new());
    for i in 0..stage.runs {
        let name = makes.name();
        match registry.try_lock_named(&name) {
            Ok(guard) => {
                let is_new = made.insert(name.clone());
                stage.check(is_new, || format!("{name:?} twice"));
                held.push(guard);
            }
            Err(_) => {
                stage.check(made.contains(&name), || format!("{name:?} meets another one"));
            }
        }
        if i % 1000 == 999 {
            held.clear();
            made.clear();
        }
        stage.ran();
    }
    drop(held);
    stage.check(registry.is_empty(), || format!("{} are left", registry.len()));
    stage.note(format!("{} hostile names, and {} that were made", names.len(), stage.runs));
}

fn head(name: &str) -> String {
    name.chars().take(40).collect()
}

/// Names that the store has to tell apart, at once; false if it does not.
async fn apart(locks: &Locks, stage: &Stage, names: &BTreeSet<String>) {
    match locks.lock_all(names.iter().map(String::as_str)).timeout(secs(60)).await {
        Err(e) => stage.violation(format!("{} names: {e}", names.len())),
        Ok(leases) => {
            let different = leases.len();
            stage.check(different == names.len(), || {
                format!("{} names are {different} locks", names.len())
            });
            drop(leases.release().await);
        }
    }
}

pub(crate) async fn hostile_names(stage: Arc<Stage>) {
    if matches!(stage.backend, Backend::Registry) {
        return keys(&stage).await;
    }
    // All of some names at once, on few sessions.
    let url = stage.url("ttl=30");
    let (locks, other) = (Locks::connect(&*url).await.unwrap(), Locks::connect(url).await.unwrap());
    let names = hostile();
    if let Backend::MySql(kind) = stage.backend {
        kind.shared().query("CREATE TABLE mysql.canary (alive INT) ENGINE = MyISAM").await;
    }
    let beside = entries(stage.path());
    for name in &names {
        let lease = within(secs(30), "a name", locks.lock_named(name).into_future()).await;
        match lease {
            Err(e) => stage.violation(format!("{:?}: {e}", head(name))),
            Ok(lease) => {
                let refused = other.try_lock_named(name).await.map(drop);
                let is_busy = refused.as_ref().is_err_and(keyward::Error::is_would_block);
                stage.check(is_busy, || format!("{:?} while it is held: {refused:?}", head(name)));
                let is_same = lease.name().as_bytes() == name.as_bytes();
                stage.check(is_same, || format!("{:?} is {:?}", head(name), lease.name()));
                let status = other.inspect(name).await;
                let is_held = status.as_ref().is_ok_and(keyward::Status::is_held);
                stage.check(is_held, || format!("{:?}: {status:?}", head(name)));
                drop(lease.release().await);
            }
        }
    }
    apart(&locks, &stage, &names.iter().cloned().collect()).await;
    let empty = locks.lock_named("").await.map(drop);
    let is_typed = empty.as_ref().is_err_and(|e| e.kind() == ErrorKind::InvalidName);
    stage.check(is_typed, || format!("the empty name: {empty:?}"));
    let mut refused = 0;
    for bytes in BYTES {
        let name = LockName::exact(bytes);
        match locks.lock_named(name.clone()).await {
            Ok(lease) => {
                let busy = other.try_lock_named(name).await.map(drop);
                let is_busy = busy.as_ref().is_err_and(keyward::Error::is_would_block);
                stage.check(is_busy, || format!("{bytes:?} while it is held: {busy:?}"));
                drop(lease.release().await);
            }
            Err(e) => {
                stage.check(e.kind() == ErrorKind::InvalidName, || format!("{bytes:?}: {e:?}"));
                refused += 1;
            }
        }
    }
    // So many that differ in little, some at a time.
    let (mut makes, mut made) = (Makes(Dice(28)), 0);
    while made < stage.runs {
        let some: BTreeSet<_> = (0..100.min(stage.runs - made)).map(|_| makes.name()).collect();
        made += 100.min(stage.runs - made);
        apart(&locks, &stage, &some).await;
        if made % 10_000 == 0 {
            // Of files: room for the next ones.
            drop(locks.collect_garbage(Duration::ZERO).await);
        }
    }
    (0..stage.runs).for_each(|_| stage.ran());
    // Nothing was written where it does not belong, nothing ran that was not to run.
    match (&stage.backend, matches!(stage.backend, Backend::File).then(|| stage.store())) {
        (_, Some(Store::File(dir))) => {
            let after = entries(stage.path());
            stage.check(after.len() == beside.len(), || format!("{beside:?} and then {after:?}"));
            let parent = entries(Path::new("/")).iter().any(|name| name == "escape");
            let near = stage.path().parent().unwrap().join("escape").exists();
            stage.check(!parent && !near, || "a lock file beside its directory".to_owned());
            let folders = fs::read_dir(&dir).unwrap().flatten();
            let folders = folders.filter(|it| it.file_type().unwrap().is_dir()).count();
            stage.check(folders <= 1, || format!("{folders} folders in the lock directory"));
        }
        (Backend::MySql(kind), _) => {
            let alive: Option<u64> =
                kind.shared().scalar("SELECT COUNT(*) FROM mysql.canary").await;
            stage.check(alive == Some(0), || "the canary is gone".to_owned());
        }
        _ => {}
    }
    futures::join!(locks.close(), other.close());
    stage.note(format!(
        "{} hostile names, {} without text of which {refused} are refused, and {} that were made",
        names.len(),
        BYTES.len(),
        stage.runs
    ));
}

/// Names are told apart before they reach a store, too: by what they are encoded to.
pub(crate) async fn encoded(stage: Arc<Stage>) {
    let (mut makes, mut seen) = (Makes(Dice(7)), HashMap::new());
    // Of ten million names, what has room: the first 124 bits of a digest, of which two are not to be
    // alike either, and a name's hash.
    let hasher = RandomState::new();
    let mut different = 0;
    for i in 0..stage.runs {
        // Of three kinds: odd ones, long ones that differ at the end, and in case only.
        let name = match i % 3 {
            0 => makes.name(),
            1 => format!("{}{i}", "x".repeat(300)),
            _ => format!("Volume-{i:x}").chars().rev().collect(),
        };
        let encoded = LockName::from(&name).encoded(64);
        stage.check(encoded.len() <= 64 && encoded.is_ascii(), || encoded.clone());
        let digest = encoded.rsplit_once('.').unwrap().1;
        let digest = u128::from_str_radix(&digest[..24], 36).unwrap();
        match seen.entry(digest) {
            Entry::Vacant(place) => {
                place.insert(hasher.hash_one(&name));
                different += 1;
            }
            Entry::Occupied(place) => {
                let same = *place.get() == hasher.hash_one(&name);
                stage.check(same, || format!("{name:?} and another one: {encoded}"));
            }
        }
        stage.ran();
    }
    stage.note(format!("{different} different names of {}, 0 encoded alike", stage.runs));
}
