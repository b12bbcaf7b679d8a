//! What a fuzzer runs, and what the test suite runs on the inputs that a fuzzer has found: pure code that
//! reads what others have written. `fuzz/` has the fuzzer; this is in no build of a user's.
//!
//! * **Z1** No input makes anything panic.
//! * **Z2** Two names never share a lock, but where the store's own rule says so; and a name becomes
//!   nothing but a file below the directory, and nothing but a literal of a statement.
//! * **Z3** No password of a URL is shown, by what is made of it or by the error.
//! * **Z4** What is written is read back as it was, and nothing else is taken for it.
//! * **Z5** Tokens grow, whatever stands in the file.
#![forbid(unsafe_code)]

use std::{error, fmt::Write};

use super::file::fuzzed as file;
use super::memory::MemoryBackend;
use super::mysql::fuzzed as mysql;
use crate::{
    error::{Error, ErrorKind},
    inputs::{Injective, parts},
    name::LockName,
    url::BackendUrl,
};

/// [`LockName::encoded`], for any length that there is room for.
fn encoded(data: &[u8]) {
    static KEYS: [Injective; 2] = [Injective::new(), Injective::new()];
    let Some((first, [name])) = parts(data) else { return };
    let longest = 34 + usize::from(first);
    let name = LockName::exact(name);
    let key = name.encoded(longest);
    assert!(key.starts_with('~') && key.len() <= longest.min(66), "{key}");
    assert!(
        key[1..]
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
    );
    KEYS[usize::from(longest >= 66)].check(name.as_bytes(), &key.as_bytes()[key.len() - 32..]);
    assert_eq!(name.encoded(longest), key);
    assert!(LockName::is_like_encoded(key.as_bytes()));
}

/// A secret that is a word or a port, and so may go through where a number is expected.
const SECRETS: [&str; 2] = ["hunter2hunter2", "40961"];

/// A URL as it comes, or one with a password in it, encoded or not.
fn urls(data: &[u8]) {
    let Some((first, parts)) = parts::<4>(data) else { return };
    let [a, b, c, d] = parts.map(|part| String::from_utf8_lossy(part));
    let secret = SECRETS[usize::from(first & 1)];
    if first & 2 == 0 {
        let url = data[1..].iter().map(|&b| char::from(b & 0x7f)).collect::<String>();
        shown(&url);
        shown(&String::from_utf8_lossy(&data[1..]));
        return;
    }
    // Whatever the password is, with its part that we know: it is between the first colon of the login and
    // the last `@`, however the url is read.
    let user: String = a.chars().filter(|c| !matches!(c, ':' | '@' | '/' | '?')).collect();
    let url = format!("mysql://{user}:{b}{secret}{c}@{d}");
    if url.matches(secret).count() == 1 {
        let shown = shown(&url);
        assert!(!shown.contains(secret), "{url:?} is told of in {shown}");
    }
    mysql::round_trip(&user, &b, &c, &d);
}

/// All that can be seen of what a URL becomes, without touching a store.
fn shown(url: &str) -> String {
    let mut shown = String::new();
    let error = match BackendUrl::parse(url) {
        Ok(url) => {
            write!(shown, "{url:?}").unwrap();
            match url.scheme() {
                "memory" => MemoryBackend::from_url(url).map(|backend| format!("{backend:?}")),
                "file" => file::shown(url),
                "mysql" => mysql::shown(url),
                _ => return shown,
            }
        }
        Err(error) => Err(error),
    };
    match error {
        Ok(backend) => shown.push_str(&backend),
        Err(error) => {
            let expected = [ErrorKind::InvalidUrl, ErrorKind::FeatureDisabled];
            assert!(expected.contains(&error.kind()), "{error:?}");
            all_of(&error, &mut shown);
        }
    }
    shown
}

fn all_of(error: &Error, shown: &mut String) {
    write!(shown, "{error} {error:?} {error:#?}").unwrap();
    let mut source = error::Error::source(error);
    while let Some(error) = source {
        write!(shown, "{error} {error:?}").unwrap();
        source = error.source();
    }
}

/// A name, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// The targets, by the names of their corpora.
pub const TARGETS: [Target; 7] = [
    ("encoded", encoded),
    ("urls", urls),
    ("paths", file::paths),
    ("records", file::records),
    ("tokens", file::tokens),
    ("keys", mysql::keys),
    ("answers", mysql::answers),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// What fuzzers have found once is tried in each run.
    #[test]
    fn corpora() {
        for (name, target) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
            let entries =
                fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            let mut inputs = 0;
            for entry in entries {
                target(&fs::read(entry.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs > 3, "{name} has no corpus");
        }
    }
}
