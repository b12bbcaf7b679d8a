//! One lock file, opened; and the lock on it.
#![forbid(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::Stat;

use super::{
    dir::{self, FileId, LockDir, OpenDir, Opened},
    errors,
    ofd::{self, WHOLE},
    polite,
    queue::Place,
    tokens::Tokens,
};
use crate::{
    contract::{Fencing, Mode},
    error::Error,
    token::FencingToken,
};

/// A lock file that is open, and not locked through this description. It is always boxed: it goes from
/// hand to hand with every lock, and is large.
#[derive(Debug)]
pub(super) struct LockFile {
    fd: OwnedFd,
    /// Relative to the directory: the native key.
    key: Vec<u8>,
    whole_path: CString,
    /// Where in it the name below the directory begins.
    name_at: usize,
    dir: Arc<OpenDir>,
    pub(super) id: FileId,
    tokens: Tokens,
    /// Since when this process has taken the lock without looking who waits.
    pub(super) streak: Option<Instant>,
}

/// How a lock that the kernel has granted has turned out.
pub(super) enum Settled {
    Held(Locked),
    /// The path names another file by now: this one is of no use.
    Gone,
    /// It is not locked: those who poll have their turn for that long.
    Gap(Box<LockFile>, Duration),
}

impl LockFile {
    pub(super) fn open(dir: &LockDir, key: &[u8]) -> Result<Box<Self>, Error> {
        let failed = |e| errors::at("open", &dir.path().join(lossy(key)), e);
        let Opened { fd, stat, dir: open } = dir.open_file(key).map_err(failed)?;
        let whole_path = dir.whole_path(key).map_err(failed)?;
        let name_at = whole_path.as_bytes().len() - key.len();
        let (key, id, tokens) = (key.to_vec(), FileId::of(&stat), Tokens::default());
        Ok(Box::new(Self { fd, key, whole_path, name_at, dir: open, id, tokens, streak: None }))
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What is needed to look later whether the path still names the file.
    pub(super) fn identity(&self) -> (CString, FileId) {
        (self.whole_path.clone(), self.id)
    }

    /// Whether the path names this file; what it stands for now if it does, or did so just before
    /// (invariant 3 of [`dir`]).
    fn look(&self, dir: &LockDir, now: Instant) -> io::Result<Option<Stat>> {
        let name = CStr::from_bytes_with_nul(&self.whole_path.as_bytes_with_nul()[self.name_at..]);
        let stat = match self.dir.look(name.unwrap_or_default()) {
            Ok(stat) => stat,
            Err(e) if dir::is_missing(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let same = FileId::of(&stat) == self.id && dir.is_current(&self.dir, now)?;
        Ok(same.then_some(stat))
    }

    /// Whether the path names this file now.
    pub(super) fn is_named(&self) -> io::Result<bool> {
        dir::is_still(&self.whole_path, self.id)
    }

    pub(super) fn try_lock(&self, mode: Mode) -> Result<bool, Error> {
        let locked = ofd::try_lock(self.fd(), mode, WHOLE);
        locked.map_err(|e| errors::lock_file("lock", e))
    }

    /// To be called once the kernel has granted the lock, before anybody calls it held.
    pub(super) fn settle(
        self: Box<Self>,
        dir: &LockDir,
        mode: Mode,
        fencing: Fencing,
        gap: Option<Duration>,
        now: Instant,
    ) -> Result<Settled, Error> {
        let mut locked = Locked::new(self, mode, gap, ofd::forks());
        let Some(file) = &mut locked.file else { return Ok(Settled::Gone) };
        let stat = file.look(dir, now).map_err(|e| errors::lock_file("look at", e))?;
        let Some(stat) = stat else { return Ok(Settled::Gone) };
        if let Some(gap) = gap {
            let left = polite::enter(file.fd.as_fd(), gap);
            let left = left.map_err(|e| errors::lock_file("write", e))?;
            if let Some(left) = left {
                return Ok(match locked.file.take() {
                    Some(file) => Settled::Gap(file, left),
                    None => Settled::Gone,
                });
            }
        }
        if mode == Mode::Exclusive && fencing != Fencing::Off {
            let Self { fd, tokens, .. } = &mut **file;
            let token = tokens.first(fd.as_fd(), &stat, fencing, now);
            let token = token.map_err(|e| errors::lock_file("write", e))?;
            if fencing == Fencing::Durable && stat.st_size == 0 {
                // A file that is new has to be found again, not only to be full.
                rustix::fs::syncfs(&*fd).map_err(|e| errors::lock_file("write", e.into()))?;
            }
            locked.token = Some(FencingToken::new(token));
        }
        Ok(Settled::Held(locked))
    }
}

pub(super) fn lossy(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// A lock file that is locked. Dropping it unlocks it: explicitly, since a forked child may have the
/// same description open; and not in such a child.
#[derive(Debug)]
pub(super) struct Locked {
    /// None once it is unlocked.
    file: Option<Box<LockFile>>,
    pub(super) mode: Mode,
    pub(super) token: Option<FencingToken>,
    gap: Option<Duration>,
    forks: u32,
    /// Where it has stood in the queue. Given up before the lock: a name that has been released has
    /// no queue that only we stand in.
    pub(super) place: Option<Place>,
}

impl Locked {
    const fn new(file: Box<LockFile>, mode: Mode, gap: Option<Duration>, forks: u32) -> Self {
        Self { file: Some(file), mode, token: None, gap, forks, place: None }
    }

    pub(super) fn file(&self) -> &LockFile {
        self.file.as_deref().expect("only `unlock` takes it")
    }

    /// The next token of the hold, for the next holder in this process; false if there is none.
    pub(super) fn renew_token(&mut self) -> bool {
        if self.token.is_none() {
            return true; // there are none at all
        }
        let next = self.file.as_mut().and_then(|file| file.tokens.next_holder());
        if let Some(token) = next {
            self.token = Some(FencingToken::new(token));
        }
        next.is_some()
    }

    /// The holder has the lock from now on, and may barge for a while.
    pub(super) fn begin_streak(&mut self, now: Instant) {
        if let Some(file) = &mut self.file {
            file.streak = Some(now);
        }
    }

    /// Whether those who poll have had their turn lately.
    pub(super) fn may_stay(&self) -> bool {
        self.gap.is_none_or(|gap| polite::may_stay(self.file().fd(), gap))
    }

    /// False in a forked child, where the lock is the parent's.
    pub(super) fn is_ours(&self) -> bool {
        self.forks == ofd::forks()
    }

    /// Unlocks and returns the file, to be used again; none in a forked child.
    pub(super) fn unlock(mut self) -> io::Result<Option<Box<LockFile>>> {
        self.unlock_now()
    }

    fn unlock_now(&mut self) -> io::Result<Option<Box<LockFile>>> {
        let Some(file) = self.file.take().filter(|_| self.forks == ofd::forks()) else {
            return Ok(None);
        };
        if let Some(place) = self.place.take() {
            place.leave();
        }
        if let Some(gap) = self.gap {
            // A full disk must not keep the lock; the next one finds by himself that it was used.
            drop(polite::leave(file.fd(), gap));
        }
        ofd::unlock(file.fd(), WHOLE)?;
        Ok(Some(file))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // It cannot fail on an open descriptor, and the file is closed after it.
        drop(self.unlock_now());
    }
}
