//! What the kernel says, as our errors.
#![forbid(unsafe_code)]

use std::{io, path::Path};

use crate::error::{Error, ErrorKind};

/// What failed, where, and what to do about it.
pub(super) fn at(what: &str, path: &Path, error: io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours, // says it all
        Err(error) => error,
    };
    let advice = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => ": its owner or mode must let this user write to it",
        Some(libc::EMFILE) => ": the process has too many open files (ulimit -n)",
        Some(libc::ENFILE) => ": the host has too many open files",
        Some(libc::ENOSPC | libc::EDQUOT) => ": make room, or switch tokens off (fencing=off)",
        Some(libc::EROFS) => ": it is on a read-only filesystem",
        Some(libc::ENOTDIR | libc::EEXIST) => ": something on its path is not a directory",
        Some(libc::ELOOP) => ": it is a symbolic link, which is not followed",
        Some(libc::EISDIR) => ": it is a directory",
        _ => "",
    };
    let message = format!("cannot {what} {}{advice}", path.display());
    Error::new(kind(&error)).with_message(message).with_source(error)
}

/// The same, about a lock file.
pub(super) fn lock_file(what: &str, error: io::Error) -> Error {
    at(what, Path::new("the lock file"), error)
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => ErrorKind::PermissionDenied,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOLCK | libc::ENOMEM | libc::EAGAIN) => {
            ErrorKind::ResourceLimit
        }
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::StorageFull,
        Some(libc::EROFS) => ErrorKind::ReadOnly,
        Some(libc::ELOOP) => ErrorKind::Untrusted,
        Some(libc::EISDIR | libc::ENAMETOOLONG) => ErrorKind::InvalidName,
        _ => ErrorKind::Unavailable,
    }
}
