//! Leaving room for peers who poll.
//!
//! A poller sleeps for up to 0.1 s between two tries, and neither the kernel nor we can see it. So it
//! cannot be asked whether it waits; all we can do is to leave the lock alone for a while now and
//! then, all keyward processes at once. When, stands in the lock file behind the owner's record: 40
//! bytes at offset 64, little-endian, a **wire format**:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KWPO` |
//! | 4 | 4 | which boot of the machine |
//! | 8 | 8 | since when keyward has used the lock without a gap |
//! | 16 | 8 | when it was used last |
//! | 24 | 8 | until when it is to be left alone |
//! | 32 | 4 | zero |
//! | 36 | 4 | CRC-32 of the 36 bytes before |
//!
//! Times are µs since boot. A gap begins with the first release after the lock was in use for as long
//! as a gap is; so a poller that is alone waits for one such use, one hold, and its own sleep.
//!
//! Readers that overlap write this without excluding each other. At worst a gap begins late by one of
//! their holds.
#![forbid(unsafe_code)]

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::time::ClockId;

use super::{
    ofd::{self, WHOLE},
    record::Process,
};
use crate::contract::Mode;

const AT: u64 = 64;
const LEN: usize = 40;
/// No lock file of ours is longer.
pub(super) const END: u64 = AT + LEN as u64;
const MAGIC: &[u8; 4] = b"KWPO";

/// How long to wait for readers to go, who keep a gap from beginning.
const READERS: Duration = Duration::from_millis(5);

/// The shortest gap that a poller with 0.1 s between two tries cannot miss.
pub(super) const SHORTEST: Duration = Duration::from_millis(110);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) since: u64,
    pub(super) last: u64,
    pub(super) gap_until: u64,
}

fn clock() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How long the lock is to be left alone from now on. Needs no lock.
pub(super) fn gap_left(fd: BorrowedFd<'_>, gap: Duration) -> io::Result<Option<Duration>> {
    Ok(read(fd)?.and_then(|usage| usage.left(clock(), micros(gap))))
}

/// To be asked once the lock is held: how long it has to be left alone first, if at all. If so, the
/// lock has been given back.
pub(super) fn enter(fd: BorrowedFd<'_>, gap: Duration) -> io::Result<Option<Duration>> {
    let (now, gap_micros) = (clock(), micros(gap));
    let mut usage = read(fd)?.unwrap_or_default();
    if let Some(left) = usage.left(now, gap_micros) {
        ofd::unlock(fd, WHOLE)?;
        return Ok(Some(left));
    }
    let fresh = usage.gap_until >= usage.since || now.saturating_sub(usage.last) >= gap_micros;
    if fresh {
        usage = Usage { since: now, last: now, gap_until: 0 };
        write(fd, usage)?;
        return Ok(None);
    }
    if usage.is_used_up(now, gap_micros) {
        ofd::unlock(fd, WHOLE)?;
        if ofd::conflict(fd, Mode::Exclusive, WHOLE)?.is_some() {
            return Ok(Some(READERS)); // it is not free yet, so no gap has begun
        }
        usage.gap_until = now + gap_micros;
        write(fd, usage)?;
        return Ok(Some(gap));
    }
    Ok(None)
}

/// Whether the lock may go to another task of this process now.
pub(super) fn may_stay(fd: BorrowedFd<'_>, gap: Duration) -> bool {
    matches!(read(fd), Ok(Some(usage)) if !usage.is_used_up(clock(), micros(gap)))
}

/// To be called right before the lock is given back.
pub(super) fn leave(fd: BorrowedFd<'_>, gap: Duration) -> io::Result<()> {
    let (now, gap) = (clock(), micros(gap));
    let mut usage = read(fd)?.unwrap_or(Usage { since: now, last: now, gap_until: 0 });
    usage.last = now;
    if usage.is_used_up(now, gap) {
        usage.gap_until = now + gap;
    }
    write(fd, usage)
}

impl Usage {
    /// A gap that ends later than one could have begun is of another clock.
    pub(super) const fn left(&self, now: u64, gap: u64) -> Option<Duration> {
        let left = self.gap_until.saturating_sub(now);
        if left == 0 || left > gap { None } else { Some(Duration::from_micros(left)) }
    }

    const fn is_used_up(&self, now: u64, gap: u64) -> bool {
        now.saturating_sub(self.since) >= gap
    }
}

impl Usage {
    pub(super) fn encode(self, boot: u32) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&boot.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.since.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.gap_until.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None if it is no record of this boot: empty, torn, or somebody else's.
    pub(super) fn decode(bytes: &[u8], boot: u32) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let is_ours = &bytes[..4] == MAGIC && word(4) == boot;
        let is_whole = word(36) == crc32fast::hash(&bytes[..36]);
        let usage = || Self { since: long(8), last: long(16), gap_until: long(24) };
        (is_ours && is_whole).then(usage)
    }
}

fn read(fd: BorrowedFd<'_>) -> io::Result<Option<Usage>> {
    let mut bytes = [0; LEN];
    let length = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut bytes[..], AT))?;
    Ok(Usage::decode(&bytes[..length], Process::this_boot()))
}

fn write(fd: BorrowedFd<'_>, usage: Usage) -> io::Result<()> {
    let bytes = usage.encode(Process::this_boot());
    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, &bytes, AT))?;
    if written == LEN { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}
