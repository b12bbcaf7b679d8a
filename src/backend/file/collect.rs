//! Removing lock files that nobody uses, so that it can never give two holders.
//!
//! Deleting a lock file that somebody has open leaves him with a lock on a file that nobody finds any
//! more. Python's libraries do not look whether that has happened; we do. So a file goes only while
//! the kernel guarantees that *nobody* has it open:
//!
//! 1. it is old, and it is certain that it is a lock file: it holds our record and nothing else (or
//!    nothing at all, if this backend writes no records);
//! 2. we lock it, and get a lease of it (`F_SETLEASE`), which the kernel grants only to the sole
//!    opener, and holds up whoever opens it from then on;
//! 3. its path still names it, and the lease has not been called in;
//! 4. then it is unlinked.
//!
//! What is left: a process that has looked up the path and not opened it yet. keyward looks again
//! after locking; a Python process would not. Hence *old*: hours, not seconds.
#![forbid(unsafe_code)]

use std::{
    os::fd::AsFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{FileType, Stat};

use super::{
    dir::{FileId, LockDir, Opened, is_still},
    errors, ofd, polite, record, tokens,
};
use crate::{
    contract::{Fencing, Mode},
    error::Error,
};

/// Removes what is old, in a thread of ours: the signal that calls a lease in goes to the thread, and
/// there it is blocked.
pub(super) fn collect(dir: &LockDir, older_than: Duration, fencing: Fencing) -> Result<u64, Error> {
    let failed = |e| errors::at("read", dir.path(), e);
    dir.refresh().map_err(failed)?;
    let mut removed = 0;
    for entry in dir.entries().map_err(failed)? {
        let entry = entry.map_err(|e| failed(e.into()))?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") || entry.file_type() == FileType::Directory {
            continue;
        }
        // What cannot be looked at, or locked, stays.
        if remove_if_unused(dir, name, older_than, fencing).unwrap_or(false) {
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove_if_unused(
    dir: &LockDir,
    name: &[u8],
    older_than: Duration,
    fencing: Fencing,
) -> std::io::Result<bool> {
    let Some(Opened { fd, stat, .. }) = dir.open_existing(name)? else { return Ok(false) };
    if !is_old(&stat, older_than) || stat.st_size > polite::END as i64 {
        return Ok(false);
    }
    if !ofd::try_lock(fd.as_fd(), Mode::Exclusive, ofd::WHOLE)? {
        return Ok(false);
    }
    let certain = match tokens::stored(fd.as_fd())? {
        // Durable tokens live here and nowhere else.
        Some(record) => record.durable == 0,
        None => stat.st_size == 0 && fencing == Fencing::Off,
    };
    if !certain || !ofd::try_lease(fd.as_fd())? {
        return Ok(false);
    }
    let path = dir.whole_path(name)?;
    if !is_still(&path, FileId::of(&stat))? || !ofd::has_lease(fd.as_fd()) {
        return Ok(false);
    }
    dir.remove(name)?;
    Ok(true) // closing ends the lease and the lock
}

const _: () = assert!(record::LEN as u64 <= polite::END);

fn is_old(stat: &Stat, age: Duration) -> bool {
    let changed = stat.st_mtime.max(stat.st_ctime);
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed).unwrap_or(0));
    SystemTime::now().duration_since(changed).is_ok_and(|old| old >= age)
}
