//! The queue between processes: first come, first served, at a few system calls for each, however
//! many wait.
//!
//! The kernel's own queue is in order only until somebody barges: a woken waiter that finds the lock
//! taken again goes to the end, and wakes all others on its way. So waiters queue here first, and only
//! the head waits at the lock file.
//!
//! A place in the queue is a **ticket**: one byte of a zero-length file, locked exclusively. Its offset
//! is the key's part of the file plus the time of its making, so that tickets are in order. Who has a
//! ticket waits for the byte *before* it by asking for a shared lock of just that byte; so one release
//! wakes one waiter, and a process that dies lets the kernel pass its place on. Nothing is written
//! anywhere, and nothing can be stale.
//!
//! * **Q1** Offsets are odd, so that the kernel does not merge the tickets of neighbours.
//! * **Q2** A ticket's byte is made of the time and never reused while somebody may wait for it: with
//!   numbers that are reused, three waiters can wait in a circle.
//! * **Q3** The queue is a hint. A stopped process keeps its ticket, clocks may differ, two keys may
//!   share a part: so who has waited for [`PATIENCE`] looks at the lock itself, and if it is free and
//!   still free after [`PAUSE`], and the same one of another process is the first in line both times, he
//!   takes it, and this process does not trust the queue for [`DISTRUST`].
#![forbid(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    fs::{Mode as Bits, OFlags},
    time::ClockId,
};

use super::{
    dir::{FileId, LockDir},
    ofd::{self, Range},
    wait::{Desk, Stopped},
};
use crate::contract::Mode;

/// How long a waiter believes in the queue.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// And once he has found it in order. Each look costs some 100 µs of a processor, timers included.
pub(super) const LATER_PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any hand-over takes, also on a machine that has more to do than it can: somebody who is
/// the first in line for a free lock for so long is not running.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// How long the queue of a key is passed by after it has stood still.
const DISTRUST: Duration = Duration::from_secs(5);

/// More than can come in one microsecond.
const CROWD: i64 = 1 << 10;

/// Queue files, by six bits of the key.
const FILES: usize = 64;
/// Each key has a part of that many bytes in its file.
const PART: i64 = 1 << 34;
/// Parts are numbered by 28 bits, so that offsets stay below 2^62.
const PARTS: u64 = 1 << 28;
/// Tickets are numbered in µs and start again after 2.4 h; then the order of those who wait just
/// then is off.
const TICKETS: u64 = 1 << 33;

/// The queues of all keys of a directory.
#[derive(Debug)]
pub(super) struct Queue {
    folder: Option<OwnedFd>,
    files: [OnceLock<Arc<File>>; FILES],
}

#[derive(Debug)]
struct File {
    fd: OwnedFd,
    /// Until when the queues in here are not believed, in µs of the ticket clock.
    distrusted_until: AtomicU64,
}

/// One key's part of a queue file.
#[derive(Clone, Debug)]
pub(super) struct Line {
    file: Arc<File>,
    base: i64,
}

/// A place in a line. It is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    line: Line,
    number: i64,
}

/// A ticket that two may give up: who comes first does, and the other waits until it is done.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Mutex<Option<Ticket>>>);

impl Place {
    pub(super) fn new(ticket: Option<Ticket>) -> Self {
        Self(Arc::new(Mutex::new(ticket)))
    }

    pub(super) fn leave(&self) {
        let mut ticket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(ticket.take()); // under the mutex
    }
}

fn clock() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

impl Queue {
    /// Without a folder for its files there is no queue, and waiters are in the kernel's order.
    pub(super) fn new(dir: &LockDir) -> (Self, io::Result<()>) {
        let (folder, made) = match dir.open_queue() {
            Ok(folder) => (Some(folder), Ok(())),
            Err(e) => (None, Err(e)),
        };
        (Self { folder, files: [const { OnceLock::new() }; FILES] }, made)
    }

    /// Whether there is one at all.
    pub(super) const fn exists(&self) -> bool {
        self.folder.is_some()
    }

    /// The line for a lock file.
    pub(super) fn line(&self, file: FileId) -> Option<Line> {
        let folder = self.folder.as_ref()?;
        // Any mixing that spreads inodes, which are small numbers; the constant is 2^64 / phi.
        let key = file.number().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (which, part) = ((key >> 58) as usize, key >> 16 & (PARTS - 1));
        let cell = &self.files[which];
        let file = match cell.get() {
            Some(file) => file,
            // What fails now, for want of descriptors, may succeed later.
            None => {
                let file = Arc::new(File::open(folder, which).ok()?);
                cell.get_or_init(|| file)
            }
        };
        Some(Line { file: Arc::clone(file), base: part as i64 * PART })
    }
}

impl File {
    fn open(folder: &OwnedFd, which: usize) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let bits = Bits::from_raw_mode(0o666);
        let fd = rustix::fs::openat(folder, format!("{which:02x}"), flags, bits)?;
        Ok(Self { fd, distrusted_until: AtomicU64::new(0) })
    }
}

impl Line {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.fd.as_fd()
    }

    const fn byte(&self, number: i64) -> Range {
        Range { start: self.base + 2 * number + 1, len: 1 }
    }

    /// Whether another process waits.
    pub(super) fn has_waiters(&self) -> bool {
        let whole = Range { start: self.base, len: PART };
        self.is_trusted() && matches!(self.ticket_in(whole), Ok(Some(_)))
    }

    /// Where some ticket of another process stands in there. A lock that begins before it covers more
    /// than a ticket does: it is a stranger's.
    fn ticket_in(&self, range: Range) -> io::Result<Option<i64>> {
        let conflict = ofd::conflict(self.fd(), Mode::Exclusive, range)?;
        Ok(conflict.map(|conflict| conflict.start).filter(|start| *start >= range.start))
    }

    fn is_trusted(&self) -> bool {
        self.file.distrusted_until.load(Ordering::Relaxed) <= clock()
    }

    /// The first place in line, among those of other processes.
    pub(super) fn first(&self) -> Option<i64> {
        let mut first = None;
        loop {
            let end = first.unwrap_or(self.base + PART);
            let before = Range { start: self.base, len: end - self.base };
            match self.ticket_in(before) {
                Ok(Some(at)) if at < end => first = Some(at),
                _ => return first,
            }
        }
    }

    /// The queue has stood still while the lock was free, Q3.
    pub(super) fn distrust(&self) {
        let until = clock() + DISTRUST.as_micros() as u64;
        self.file.distrusted_until.store(until, Ordering::Relaxed);
    }

    /// Takes a place at the end; none if the queue is not to be trusted, or not to be had.
    pub(super) fn enqueue(self) -> Option<Ticket> {
        if !self.is_trusted() {
            return None;
        }
        let first = (clock() % TICKETS) as i64;
        for number in first..first + CROWD {
            match ofd::try_lock(self.fd(), Mode::Exclusive, self.byte(number)) {
                Ok(true) => return Some(Ticket { line: self, number }),
                Ok(false) => {} // somebody has come in the same microsecond
                Err(_) => return None,
            }
        }
        None // no crowd, but a stranger who has locked the file
    }
}

impl Ticket {
    /// Waits until nobody stands before it.
    pub(super) fn wait(&self, desk: &Desk) -> Result<(), Stopped> {
        while let Some(before) = self.predecessor()? {
            let byte = Range { start: before, len: 1 };
            desk.lock(self.line.fd(), Mode::Shared, byte)?;
            ofd::unlock(self.line.fd(), byte)?;
        }
        Ok(())
    }

    /// The byte of the last ticket before this one.
    ///
    /// The kernel tells of *some* lock within a range. So if there is any before ours, ever longer
    /// ranges are asked about until there is one, and then what lies between it and us, until nothing
    /// does.
    fn predecessor(&self) -> io::Result<Option<i64>> {
        let (first, own) = (self.line.base, self.line.byte(self.number).start);
        let all = Range { start: first, len: own - first };
        if self.line.ticket_in(all)?.is_none() {
            return Ok(None); // the head, as most who come are
        }
        let mut found = None;
        let (mut from, mut to, mut width) = (own, own, 128);
        loop {
            if from > first && found.is_none() {
                (from, to) = ((from - width).max(first), from);
                width *= 16;
            } else if let Some(at) = found {
                (from, to) = (at + 1, own);
            }
            if from >= to {
                return Ok(found);
            }
            let range = Range { start: from, len: to - from };
            match self.line.ticket_in(range)? {
                Some(at) => found = Some(at),
                None if found.is_some() || from == first => return Ok(found),
                None => {}
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // It cannot fail on an open descriptor; and if it did, Q3 is what there is.
        drop(ofd::unlock(self.line.fd(), self.line.byte(self.number)));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt;

    use super::*;

    /// Of a case's own, and a lock file in it.
    fn directory(case: &str) -> (std::path::PathBuf, rustix::fs::Stat) {
        let path = std::env::temp_dir().join(format!("keyward-{case}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        let stat = LockDir::open(&path, 0o700, false).unwrap().open_file(b"a").unwrap().stat;
        (path, stat)
    }

    #[test]
    fn the_first_of_the_others_is_found_wherever_it_stands() {
        let (path, stat) = directory("first");
        let dir = LockDir::open(&path, 0o700, false).unwrap();
        let line = || Queue::new(&dir).0.line(FileId::of(&stat)).unwrap();
        let ours = line();
        let own = ours.clone().enqueue().unwrap();
        assert_eq!(ours.first(), None, "there are no others");
        let mut others: Vec<_> = (0..20).map(|_| line().enqueue().unwrap()).collect();
        // In which order they go, and which of them the kernel tells of, must not matter.
        while !others.is_empty() {
            let first = others.iter().map(|ticket| ours.byte(ticket.number).start).min();
            assert_eq!(ours.first(), first);
            drop(others.swap_remove(others.len() / 3));
        }
        assert_eq!((ours.first(), line().first()), (None, Some(ours.byte(own.number).start)));
        std::fs::remove_dir_all(path).unwrap();
    }

    /// It is no ticket, and must neither keep anybody waiting nor busy.
    #[test]
    fn a_stranger_who_locks_a_whole_queue_file_is_passed_by() {
        let (path, stat) = directory("stranger");
        let dir = LockDir::open(&path, 0o700, false).unwrap();
        let line = || Queue::new(&dir).0.line(FileId::of(&stat)).unwrap();
        let (ours, strangers) = (line(), line());
        let ticket = ours.clone().enqueue().unwrap();
        let later = line().enqueue().unwrap();
        let before = later.predecessor().unwrap();
        assert_eq!(before, Some(ours.byte(ticket.number).start));
        assert!(strangers.has_waiters());
        drop((ticket, later));

        let whole = ofd::WHOLE;
        assert!(ofd::try_lock(strangers.fd(), Mode::Shared, whole).unwrap());
        assert!(ours.clone().enqueue().is_none());
        assert!(!ours.has_waiters());
        ofd::unlock(strangers.fd(), whole).unwrap();
        let ticket = ours.clone().enqueue().unwrap();
        let below = Range { start: 0, len: ours.byte(ticket.number).start };
        assert!(ofd::try_lock(strangers.fd(), Mode::Shared, below).unwrap());
        assert_eq!(ticket.predecessor().unwrap(), None);
        std::fs::remove_dir_all(path).unwrap();
    }
}
