//! Names to paths: pure, and a **wire format** (golden values: `tests/file/names.rs`).
//!
//! A path here is relative to the lock directory. Whatever the name, it stays inside: no component of
//! it is empty, `.` or `..`, none has a NUL or more than 255 bytes, and it does not start with `/`.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::{
    error::{Error, ErrorKind},
    name::LockName,
};

/// The longest name of a file that the kernel takes, in bytes.
const LONGEST: usize = 255;

/// What keyward and tooz keep in the directory besides lock files.
pub(super) const QUEUE: &str = ".keyward-q";
const TOOZ_RESERVED: [&[u8]; 3] = [b"groups", b"tmp", b".driver_lock"];

/// By which rule a name becomes the path of its lock file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Names {
    /// A name that is a safe file name stands for that file; every other name is
    /// [encoded](LockName::encoded).
    ///
    /// Safe is what has at most 255 bytes, no `/` and no NUL, does not start with `.` or `~`, and is
    /// none of tooz's own `groups` and `tmp`. So nearly all names of Python services are met, under the
    /// prefix that they use (`cinder-`).
    #[default]
    Native,
    /// oslo.concurrency's rule: each `/` of the name is a `_`, and before it stands
    /// [the prefix](super::FileOptions::oslo_prefix), if there is one, and a `-` unless it ends with one.
    ///
    /// `a/b` and `a_b` are one lock, as they are in Python.
    Oslo,
    /// tooz's rule: the name is a path below the directory, with subdirectories.
    Tooz,
}

impl Names {
    /// The path of a name's lock file, relative to the directory. `prefix` is oslo's.
    pub(super) fn path<'n>(self, prefix: &str, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        let bytes = name.as_bytes();
        match self {
            Self::Native if is_plain(bytes) && !is_reserved(bytes) => Ok(bytes.into()),
            Self::Native if name.is_exact() => Err(refused(
                "a lock's exact name must be a file name of at most 255 bytes that does not start \
                 with \".\" or \"~\"",
            )),
            Self::Native => Ok(name.encoded(LONGEST).into_bytes().into()),
            Self::Oslo => oslo(prefix, bytes),
            Self::Tooz => tooz(bytes),
        }
    }
}

const NO_FILE_NAME: &str =
    "not a file name: it is \".\" or \"..\", has a NUL, or more than 255 bytes";

/// oslo puts the prefix before it as it is, so that it may have subdirectories, or lead out of the
/// directory; we do not follow it there.
fn oslo<'n>(prefix: &str, name: &'n [u8]) -> Result<Cow<'n, [u8]>, Error> {
    let flat = || name.iter().map(|&b| if b == b'/' { b'_' } else { b });
    if prefix.is_empty() {
        let path: Cow<'_, [u8]> = if name.contains(&b'/') { flat().collect() } else { name.into() };
        return if is_component(&path) { Ok(path) } else { Err(refused(NO_FILE_NAME)) };
    }
    let dash: &[u8] = if prefix.ends_with('-') { b"" } else { b"-" };
    let whole: Vec<u8> = [prefix.as_bytes(), dash].concat().into_iter().chain(flat()).collect();
    let ours = |component: &[u8]| component == QUEUE.as_bytes();
    if whole.starts_with(b"/") || whole.split(|&b| b == b'/').any(|c| c == b".." || ours(c)) {
        return Err(refused("the prefix would leave the lock directory"));
    }
    let components = whole.split(|&b| b == b'/').filter(|c| !matches!(*c, b"" | b"."));
    let components: Vec<&[u8]> = components.collect();
    if components.iter().all(|component| is_component(component)) {
        Ok(components.join(&b'/').into())
    } else {
        Err(refused(NO_FILE_NAME))
    }
}

/// tooz makes `abspath(join(directory, name))` of it: `a//b`, `a/./b` and `a/b` are one lock. It lets
/// some names out of the directory; we do not.
fn tooz(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if bytes.starts_with(b"/") {
        return Err(refused(
            "a tooz name is relative to the directory: it does not start with \"/\"",
        ));
    }
    let mut path: Vec<&[u8]> = Vec::new();
    for component in bytes.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(refused("the name would leave the lock directory")),
            component if is_component(component) => path.push(component),
            _ => return Err(refused(NO_FILE_NAME)),
        }
    }
    match path[..] {
        [] => Err(refused("the name is the lock directory itself")),
        [first, ..] if first == QUEUE.as_bytes() => {
            Err(refused("the name is one of keyward's own"))
        }
        [only] if TOOZ_RESERVED.contains(&only) => Err(refused("the name is one of tooz's own")),
        _ => Ok(path.join(&b'/').into()),
    }
}

fn is_component(bytes: &[u8]) -> bool {
    !matches!(bytes, b"" | b"." | b"..")
        && bytes.len() <= LONGEST
        && !bytes.iter().any(|b| matches!(b, 0 | b'/'))
        && bytes != QUEUE.as_bytes()
}

fn is_plain(bytes: &[u8]) -> bool {
    is_component(bytes) && !matches!(bytes[0], b'.' | b'~')
}

fn is_reserved(bytes: &[u8]) -> bool {
    TOOZ_RESERVED.contains(&bytes)
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidName).with_message(why)
}
