//! Two names never share a lock, and one name is always the same one.

use super::{Fixture, NotApplicable, Verdict, busy, free, named, release, soon, two};
use crate::{
    error::{Error, ErrorKind},
    lease::Lease,
    locks::Locks,
    name::LockName,
};

/// Names that a store may be tempted to take for each other, or for something else.
fn tempting() -> Vec<String> {
    let mut names: Vec<String> = [
        // case, white space, what is trimmed or folded
        "a",
        "A",
        "vol-1",
        "VOL-1",
        "Vol-1",
        "a ",
        " a",
        "a  ",
        "a\t",
        "\ta",
        " ",
        "  ",
        // paths
        "/",
        "//",
        "/a",
        "a/",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        ".",
        "..",
        "...",
        "./a",
        "../a",
        "../../a",
        ".a",
        "a.",
        "a..",
        "~",
        "~a",
        "~/a",
        "a\\b",
        "C:\\a",
        "CON",
        "nul",
        "lock",
        ".lock",
        "a.lock",
        // control characters
        "\0",
        "a\0",
        "\0a",
        "a\0b",
        "\n",
        "a\n",
        "a\nb",
        "a\r\n",
        "\u{7f}",
        "\u{1b}[2J",
        // what is quoted, escaped or expanded
        "'",
        "''",
        "\"",
        "`",
        "a'b",
        "a''b",
        "a\"b",
        "'; DROP TABLE locks; --",
        "%",
        "%s",
        "%00",
        "%2e%2e",
        "a%2fb",
        "a_b",
        "a%b",
        "*",
        "a*",
        "?",
        "[a]",
        "{a}",
        "$(a)",
        "${a}",
        "$HOME",
        "&",
        "&amp;",
        "|",
        ";",
        "<a>",
        "#",
        "-",
        "--",
        "-a",
        "+",
        "a+b",
        "=",
        ":",
        "a:b",
        "@",
        "!",
        ",",
        // unicode: composed and not, case without ASCII, what sorts or folds alike, no width, beyond 16 bits
        "ä",
        "a\u{308}",
        "Ä",
        "ß",
        "ss",
        "SS",
        "ſ",
        "s",
        "S",
        "ı",
        "i",
        "I",
        "İ",
        "K",
        "k",
        "\u{212a}",
        "é",
        "e",
        "ﬁ",
        "fi",
        "a\u{200b}",
        "a\u{feff}",
        "\u{feff}a",
        "a\u{a0}",
        "１",
        "1",
        "名前",
        "𝕒",
        "🔒",
        "🔓",
        "\u{10ffff}",
        "\u{fffd}",
        "а",
        // numbers
        "0",
        "00",
        "01",
        "1e0",
        "-1",
        "NULL",
        "null",
        "true",
    ]
    .map(String::from)
    .into();
    // Lengths about the limits of file names (255 bytes), MySQL (64 characters) and keys of an index;
    // pairs that differ at their ends only.
    for length in [63, 64, 65, 127, 128, 191, 254, 255, 256, 257, 1023, 4096, 65_536, 1 << 20] {
        for end in ["x", "y"] {
            names.push(["n".repeat(length - 1).as_str(), end].concat());
        }
    }
    names.push(["ä".repeat(127).as_str(), "x"].concat()); // 255 bytes, 128 characters
    names.push(["ä".repeat(127).as_str(), "y"].concat());
    // What an encoded name looks like is a name as well.
    for name in ["a/b", "A", "..", "\0"] {
        names.push(LockName::from(name).encoded(64));
        names.push(LockName::from(name).encoded(255));
    }
    names.push("../x".to_owned());
    names.sort();
    names.dedup();
    names
}

async fn try_lock(locks: &Locks, name: impl Into<LockName> + Send) -> Result<Lease, Error> {
    soon("a try", locks.try_lock_named(name).into_future()).await
}

fn shown(name: &str) -> String {
    let start: String = name.chars().take(40).collect();
    format!("{start:?} of {} bytes", name.len())
}

/// Holds all of them at once, and finds each of them held, and by itself, from another handle.
async fn pairwise_distinct(fixture: &impl Fixture, names: Vec<String>) {
    let [locks, other] = two(fixture).await;
    let mut leases = Vec::new();
    for name in &names {
        match try_lock(&locks, name).await {
            Ok(lease) => leases.push(lease),
            Err(e) if e.is_would_block() => {
                panic!("{} is one lock with a name that is held", shown(name))
            }
            Err(e) => panic!("{} is refused: {e:.200}", shown(name)),
        }
    }
    for name in &names {
        match try_lock(&other, name).await {
            Ok(_) => panic!("{} is another lock in another handle", shown(name)),
            Err(e) => assert!(e.is_would_block(), "{}: {e:.200}", shown(name)),
        }
    }
    // Free every other one: those, and no others, are to be had.
    let mut held = Vec::new();
    for (at, lease) in leases.into_iter().enumerate() {
        match at % 2 {
            0 => held.push(lease),
            _ => release(lease).await,
        }
    }
    for (at, name) in names.iter().enumerate() {
        match (at % 2, try_lock(&other, name).await) {
            (0, Err(e)) if e.is_would_block() => {}
            (0, _) => panic!("{} was freed by another name", shown(name)),
            (_, Ok(lease)) => release(lease).await,
            (_, Err(e)) => panic!("{} was not freed: {e:.200}", shown(name)),
        }
    }
    for lease in held {
        release(lease).await;
    }
}

/// Unicode, case, slashes, control characters, quotes, blanks, 1 to 1048576 bytes: all are names, and
/// no two of them are one lock.
pub async fn names_are_exact(fixture: &impl Fixture) -> Verdict {
    let names = tempting().iter().map(|name| named(fixture, name)).collect();
    pairwise_distinct(fixture, names).await;
    Ok(())
}

/// The same without a prefix, so that `..` is not hidden behind one.
pub async fn raw_names_are_exact(fixture: &impl Fixture) -> Verdict {
    if !fixture.is_private() {
        return Err(NotApplicable::because("the store may be in use by others"));
    }
    pairwise_distinct(fixture, tempting()).await;
    Ok(())
}

/// [`LockName::exact`] is the bytes it says, and the same lock for everybody, or refused.
pub async fn exact_names_are_exact(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let mut held: Vec<(Vec<u8>, Lease)> = Vec::new();
    let mut asked: Vec<Vec<u8>> = tempting().into_iter().map(String::into_bytes).collect();
    asked.extend([b"\xff".to_vec(), b"a\xff".to_vec(), b"\xc3".to_vec()]);
    for part in asked.into_iter().filter(|part| part.len() < 512) {
        let bytes = [fixture.prefix().as_bytes(), &part].concat();
        match try_lock(&locks, LockName::exact(&bytes)).await {
            Ok(lease) => {
                assert_eq!(lease.name().as_bytes(), bytes);
                held.push((bytes, lease));
            }
            // A store that takes no notice of case does not for those either who do not know us.
            Err(e) if e.is_would_block() => {
                let lower = |bytes: &[u8]| -> String {
                    let letters = String::from_utf8_lossy(bytes);
                    letters.chars().flat_map(|c| c.to_lowercase().next()).collect()
                };
                let same = held.iter().any(|(other, _)| lower(other) == lower(&bytes));
                assert!(same, "nobody holds {}", bytes.escape_ascii());
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::InvalidName, "{e}"),
        }
    }
    for (bytes, _) in &held {
        let error = try_lock(&other, LockName::exact(bytes)).await.expect_err("it is held");
        assert!(error.is_would_block(), "{error}");
    }
    // As text, such a name is the same lock, or one that nobody holds exactly: it is never refused.
    for (bytes, _) in &held {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        match try_lock(&other, text).await {
            Ok(lease) => release(lease).await,
            Err(e) => assert!(e.is_would_block(), "{e}"),
        }
    }
    for (_, lease) in held {
        release(lease).await;
    }
    Ok(())
}

/// The empty name is [`InvalidName`](ErrorKind::InvalidName), however it is asked for.
pub async fn empty_names_are_refused(fixture: &impl Fixture) -> Verdict {
    let locks = fixture.connect().await;
    let name = named(fixture, "other");
    let refused = [
        locks.lock_named("").await.map(drop),
        locks.try_lock_named("").await.map(drop),
        locks.lock_named(LockName::exact("")).await.map(drop),
        locks.lock_all([name.as_str(), ""]).await.map(drop),
        locks.inspect("").await.map(drop),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        let error = refused.expect_err("the empty name is none");
        assert_eq!(error.kind(), ErrorKind::InvalidName, "way {at}: {error}");
    }
    free(&locks, &name).await;
    let lease = locks.with_prefix(&name).lock_named("").await.expect("a prefix alone is a name");
    busy(&locks, &name).await;
    release(lease).await;
    Ok(())
}
