//! Of what a fuzzer runs, the part that is this backend's: see `backend/fuzzed.rs`.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::AsFd,
    time::Instant,
};

use super::{
    BackendUrl, Error, FileBackend, LockName, Names,
    path::QUEUE,
    polite::Usage,
    record::{self, LEN, Process, Record, beginning},
    tokens::Tokens,
};
use crate::{
    contract::Fencing,
    inputs::{Injective, parts},
};

pub(crate) fn shown(url: BackendUrl) -> Result<String, Error> {
    let (path, options, polite) = FileBackend::read_url(url)?;
    let checked = options.check();
    Ok(format!("{path:?} {options:?} {polite:?} {checked:?}"))
}

/// Names to paths, by each rule.
pub(crate) fn paths(data: &[u8]) {
    static KEYS: Injective = Injective::new();
    let Some((_, [prefix, name])) = parts(data) else { return };
    let prefix = String::from_utf8_lossy(prefix);
    let (exact, text) = (LockName::exact(name), String::from_utf8_lossy(name));
    let flat: Vec<u8> = name.iter().map(|&b| if b == b'/' { b'_' } else { b }).collect();

    if let Ok(path) = Names::Native.path("", &exact) {
        assert_eq!(&*path, name);
        stays_inside(&path);
        is_file_name(&path);
        KEYS.check(name, &path);
    }
    let mapped = LockName::from(&*text);
    let path = Names::Native.path("", &mapped);
    match path {
        Ok(path) => {
            stays_inside(&path);
            is_file_name(&path);
            assert!(*path == *text.as_bytes() || path[0] == b'~');
            KEYS.check(text.as_bytes(), &path);
        }
        Err(e) => panic!("{text:?} is no name: {e}"),
    }
    if let Ok(path) = Names::Oslo.path("", &exact) {
        stays_inside(&path);
        assert_eq!(&*path, flat);
    }
    if let Ok(path) = Names::Oslo.path(&prefix, &exact)
        && !prefix.is_empty()
    {
        stays_inside(&path);
        // As Python's os.path.join and open have it, and so no two names are one.
        let dash = if prefix.ends_with('-') { "" } else { "-" };
        let whole = [prefix.as_bytes(), dash.as_bytes(), &flat].concat();
        assert_eq!(&*path, plain(&whole));
        assert!(path.ends_with(&[b"-", &*flat].concat()));
    }
    if let Ok(path) = Names::Tooz.path("", &exact) {
        stays_inside(&path);
        assert_eq!(&*path, plain(name));
    }
}

/// A path without what changes nothing in it.
fn plain(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    parts.join(&b'/')
}

fn stays_inside(path: &[u8]) {
    let shown = path.escape_ascii();
    assert!(!path.is_empty() && !path.contains(&0), "{shown}");
    for part in path.split(|&b| b == b'/') {
        assert!(!matches!(part, b"" | b"." | b".."), "{shown}");
        assert!(part.len() <= 255 && part != QUEUE.as_bytes(), "{shown}");
    }
}

/// That nobody else has: tooz's own, keyward's own, and hidden files.
fn is_file_name(path: &[u8]) {
    assert!(!path.contains(&b'/') && path[0] != b'.', "{}", path.escape_ascii());
    assert!(!matches!(path, b"groups" | b"tmp"), "{}", path.escape_ascii());
}

/// What stands in a lock file, and what the kernel says of a process.
pub(crate) fn records(data: &[u8]) {
    let Some((first, [rest])) = parts::<1>(data) else { return };
    let boot = u32::from(first);
    // As it comes: nobody has written it, or it is what we would have written.
    if let Some(record) = Record::decode(rest) {
        assert_eq!(record.encode(), rest[..LEN]);
        owner(record);
    }
    if let Some(usage) = Usage::decode(rest, boot) {
        assert_eq!(usage.encode(boot), rest);
    }
    let _: Option<u32> = beginning(rest);

    // Of these numbers, and torn.
    let number = |at: usize| {
        let byte = |i| rest.get(at * 8 + i).copied().unwrap_or_default();
        u64::from_le_bytes(std::array::from_fn(byte))
    };
    let mut host = [0; 16];
    host.iter_mut().zip(rest.iter().skip(32)).for_each(|(to, from)| *to = *from);
    let half = |number: u64| (number as u32, (number >> 32) as u32);
    let (pid, started) = half(number(3));
    let process = Process { pid, started, boot, host };
    let record = Record { token: number(0), durable: number(1), since: number(2), process };
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes), Some(record));
    owner(record);
    for torn in [&bytes[..LEN - 1], &[]] {
        assert_eq!(Record::decode(torn), None);
    }
    let mut bytes = bytes;
    bytes[usize::from(first) % LEN] ^= 1 << (first >> 5 & 7).min(7);
    assert_eq!(Record::decode(&bytes), None);

    let usage = Usage { since: number(0), last: number(1), gap_until: number(2) };
    let mut bytes = usage.encode(boot);
    assert_eq!(Usage::decode(&bytes, boot), Some(usage));
    assert_eq!(Usage::decode(&bytes, boot + 1), None);
    let (now, gap) = (number(3), number(4));
    if let Some(left) = usage.left(now, gap) {
        assert!(left.as_micros() <= u128::from(gap), "longer than a gap");
    }
    bytes[usize::from(first) % bytes.len()] ^= 1;
    assert_eq!(Usage::decode(&bytes, boot), None);
}

fn owner(record: Record) {
    if let Some(owner) = record.owner() {
        assert_eq!(owner.token.map(|token| token.get()), Some(record.token));
        assert!(owner.host.is_some_and(|host| host.chars().count() <= 16));
    }
}

/// Tokens of one file, into which others write in between.
pub(crate) fn tokens(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let fencing = if first & 1 == 0 { Fencing::Clock } else { Fencing::Durable };
    let memory = rustix::fs::memfd_create("keyward", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memory);
    let mut known = [Tokens::default(), Tokens::default()];
    let mut last = 0;
    // Whose the lock is: it may go on to another task.
    let mut holder = None;
    for _ in 0..16 {
        let Some((&what, after)) = rest.split_first() else { return };
        rest = after;
        let this = usize::from(what & 1);
        let tokens = &mut known[this];
        let token = match what >> 1 & 3 {
            0 if holder == Some(this) => tokens.next_holder(),
            0..=2 => {
                let stat = rustix::fs::fstat(&file).unwrap();
                let token = tokens.first(file.as_fd(), &stat, fencing, Instant::now());
                let is_out = last >= u64::MAX - (1 << 22);
                assert!(token.is_ok() || is_out, "no token after {last}: {token:?}");
                holder = token.is_ok().then_some(this);
                token.ok()
            }
            // Somebody who has had a greater token: another keyward, or one that was.
            _ => {
                let mut number = [0; 8];
                number.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                rest = rest.get(8..).unwrap_or_default();
                let token = u64::from_le_bytes(number).max(last);
                let durable = if what & 8 == 0 { token } else { 0 };
                let boot = if what & 16 == 0 { Process::this_boot() } else { 1 };
                let process = Process { boot, ..Process::this() };
                let record = Record { token, durable, since: record::now(), process };
                file.rewind().unwrap();
                file.write_all(&record.encode()).unwrap();
                last = token;
                holder = None;
                None
            }
        };
        if let Some(token) = token {
            assert!(token > last, "{token} after {last}");
            last = token;
        }
    }
}
