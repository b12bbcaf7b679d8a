//! Fencing tokens out of a lock file: reserved in blocks, by whoever holds the file's lock.
//!
//! * **K1** A token is greater than every one that was reserved before: the record in the file says
//!   up to where that is, and it is written before a token of a new block is given to anybody.
//! * **K2** What the record has lost (power failure, truncation, a new file) the clock replaces: a
//!   block starts at the present time in µs, or later. So a repeated token takes a loss *and* a clock
//!   that was set back past it. A record that is missing or torn may have been ahead of the clock, by
//!   less than [`AHEAD`].
//! * **K3** In durable mode the clock is not needed: the disk knows of a whole block of [`DURABLE`]
//!   before the first of it is used, and after a restart of the machine tokens go on behind it.
//! * **K4** A record that is exactly what we wrote last was written last by us, and then the rest of
//!   our block is still ours.
//! * **K5** The very last tokens are never given: nothing would be greater. No clock comes near them,
//!   so a record that does is forged or of a broken program, and locking such a file fails.
#![forbid(unsafe_code)]

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use rustix::{fs::Stat, time::ClockId};

use super::record::{self, Process, Record};
use crate::contract::Fencing;

/// Tokens in the first block of a process that comes to a file: few, since processes that alternate
/// waste what they do not use. They may do so every 4 µs, so once tokens are ahead of the clock by
/// [`WASTE`], a block is no larger than what was used.
const FIRST_BLOCK: u64 = 32;
/// Later blocks are as large as what was used before, up to this. A lock costs more than 2 µs, so even
/// twice as many tokens as locks stay behind the clock; and the file is written so rarely that its
/// looks tell whether it was written.
const LARGEST_BLOCK: u64 = 1 << 14;
/// More than a record can be ahead of the clock, in µs. Hand-overs within a process are faster than
/// the clock and stop at a quarter of this ([`Tokens::next_holder`]).
const AHEAD: u64 = 1 << 20;
/// How far ahead of the clock, in µs, tokens may get by being reserved and not used.
const WASTE: u64 = AHEAD / 2;
/// Tokens that one `fdatasync` pays for.
const DURABLE: u64 = 1 << 20;
/// The last token that a record may have for tokens to go on behind it (K5).
const LAST: u64 = u64::MAX - 4 * DURABLE;
/// How old `since` may get in a record of our own before it is written anew.
const FRESH: Duration = Duration::from_millis(100);

/// What a process knows of the tokens of one file.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    next: u64,
    /// The last one of our block.
    last: u64,
    /// How many we have used since somebody else has written the record.
    used: u64,
    /// What we wrote last, and when.
    written: Option<(Record, Instant)>,
    /// How the file looked at a time when the record was ours and every later write would have
    /// changed its looks.
    looks: Option<Looks>,
}

/// Changes with every write: the times of modification and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Looks {
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Looks {
    #[allow(
        clippy::unnecessary_cast,
        reason = "nanoseconds are signed where they are the C library's"
    )]
    const fn of(stat: &Stat) -> Self {
        let modified = (stat.st_mtime, stat.st_mtime_nsec as u64);
        let changed = (stat.st_ctime, stat.st_ctime_nsec as u64);
        Self { modified, changed }
    }

    /// Whether a write that comes from now on looks different: the clock that files are stamped with
    /// has moved on. Where inodes have room for whole seconds only (ext4 with inodes of 128 bytes),
    /// that says nothing.
    fn are_past(self) -> bool {
        if self.modified.1 == 0 || self.changed.1 == 0 {
            return false;
        }
        let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
        let now = (now.tv_sec, now.tv_nsec as u64);
        self.modified < now && self.changed < now
    }
}

impl Tokens {
    /// A token for a hold that begins now. The lock is held exclusively, and `stat` was taken since.
    pub(super) fn first(
        &mut self,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        fencing: Fencing,
        now: Instant,
    ) -> io::Result<u64> {
        let looks = Looks::of(stat);
        let mut stored = None;
        let ours = match &self.written {
            Some(_) if self.looks == Some(looks) => true,
            written => {
                let mut bytes = [0; record::LEN];
                let length = read(fd, &mut bytes)?;
                stored = Record::decode(&bytes[..length]);
                let ours = written.is_some_and(|(record, _)| stored == Some(record)); // K4
                self.looks = (ours && looks.are_past()).then_some(looks);
                ours
            }
        };
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        match &self.written {
            Some((_, at)) if ours && self.next <= self.last && fresh(*at) => {}
            Some((record, _)) if ours => self.reserve(fd, Some(*record), fencing, now)?,
            _ => {
                self.used = 0;
                self.reserve(fd, stored, fencing, now)?;
            }
        }
        Ok(self.take())
    }

    /// A token for the next holder in this process, to whom the lock is handed; `None` if the lock has
    /// to be given back for more.
    pub(super) fn next_holder(&mut self) -> Option<u64> {
        let left = self.next <= self.last && self.next < record::now().saturating_add(AHEAD / 4);
        left.then(|| self.take())
    }

    /// There is one.
    const fn take(&mut self) -> u64 {
        let token = self.next;
        self.next += 1;
        self.used += 1;
        token
    }

    fn reserve(
        &mut self,
        fd: BorrowedFd<'_>,
        stored: Option<Record>,
        fencing: Fencing,
        now: Instant,
    ) -> io::Result<()> {
        let (clock, process) = (record::now(), Process::this());
        let taken = stored.map_or(clock.saturating_add(AHEAD), |stored| {
            // What was written but not synced before the machine went down is gone.
            let rebooted = stored.process.boot != process.boot;
            if rebooted { stored.token.max(stored.durable) } else { stored.token }
        });
        if taken.max(self.last) > LAST {
            let message = "its record says that no fencing token is left: remove it while nobody holds \
                the lock, or switch tokens off (fencing=off)";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let first = taken.max(self.last).saturating_add(1).max(clock);
        let ahead = first > clock.saturating_add(WASTE);
        let block = self.used.clamp(if ahead { 1 } else { FIRST_BLOCK }, LARGEST_BLOCK);
        let last = first.saturating_add(block - 1);
        let mut durable = stored.map_or(0, |stored| stored.durable);
        let sync = fencing == Fencing::Durable && last > durable;
        if sync {
            durable = last.saturating_add(DURABLE);
        }
        let record = Record { token: last, durable, since: clock, process };
        self.written = None; // until all of it has worked
        self.looks = None;
        write(fd, &record.encode())?;
        if sync {
            rustix::fs::fdatasync(fd)?;
        }
        self.written = Some((record, now));
        (self.next, self.last) = (first, last);
        Ok(())
    }
}

/// The record of a file, by whoever reads it.
pub(super) fn stored(fd: BorrowedFd<'_>) -> io::Result<Option<Record>> {
    let mut bytes = [0; record::LEN];
    let length = read(fd, &mut bytes)?;
    Ok(Record::decode(&bytes[..length]))
}

fn read(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *bytes, 0))?)
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, bytes, 0))?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_whole_seconds_do_not_tell_writes_apart() {
        let long_ago = Looks { modified: (1, 1), changed: (1, 1) };
        assert!(long_ago.are_past());
        assert!(!Looks { modified: (1, 0), ..long_ago }.are_past());
        assert!(!Looks { changed: (1, 0), ..long_ago }.are_past());
    }
}
