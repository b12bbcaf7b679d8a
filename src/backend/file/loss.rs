//! Whether a lock file is still the one that its path names, as long as somebody wants to know.
//!
//! A lock on a file that was deleted, renamed or replaced excludes nobody who comes later by the path.
//! The one complete check is to look at the path again (1 µs): a thread does so for all watched holds
//! each [`EVERY`], and at once when the directory changes, where the system can tell (inotify). The
//! thread ends when nothing is watched.
//!
//! When a process ends, the kernel frees its files one after the other, those with the highest numbers
//! first, and takes 10 ms for an inotify instance. So that the locks of a process that is killed do not
//! wait for that, its number has to be lower than theirs: it is kept from the start ([`Place`]), while
//! the instance, of which a user has 128, is made when somebody listens.
//!
//! What is reported of a hold that has been released meanwhile, nobody hears: see
//! [`watch`](crate::watch).
#![forbid(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{DupFlags, dup3},
};

use super::{
    dir::{self, FileId},
    lock_file::LockFile,
    ofd,
};
use crate::watch::{LeaseState, LossReason, LossSignal};

/// How often paths are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// A hold's file, and who is to be told.
#[derive(Debug)]
pub(super) struct Watched {
    path: CString,
    id: FileId,
    signal: LossSignal,
}

impl Watched {
    pub(super) fn signal(&self) -> LossSignal {
        self.signal.clone()
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.signal.state(), LeaseState::Lost(_))
    }

    fn look(&self) {
        match dir::is_still(&self.path, self.id) {
            Ok(true) => self.signal.resume(),
            Ok(false) => self.signal.lose(LossReason::Removed),
            Err(_) => self.signal.suspend(),
        }
    }
}

/// The watched holds of one backend.
#[derive(Debug)]
pub(super) struct Watcher(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    holds: Vec<Weak<Watched>>,
    running: bool,
    /// Tells of changes in the directories of what is watched, if the system lets us.
    changes: Option<Arc<OwnedFd>>,
    /// Where `changes` comes to be.
    place: Place,
}

/// A descriptor's number that is lower than those of lock files which are opened later.
#[derive(Debug)]
struct Place(Option<OwnedFd>);

impl Place {
    fn keep() -> Self {
        Self(nothing())
    }

    /// The descriptor, in this place if it is still there.
    fn take_over(&mut self, fd: OwnedFd) -> OwnedFd {
        let Some(mut place) = self.0.take() else { return fd };
        match dup3(&fd, &mut place, DupFlags::CLOEXEC) {
            Ok(()) => place,
            Err(_) => fd,
        }
    }

    /// Closes what has taken a place, but not the place.
    fn after(mut fd: OwnedFd) -> Self {
        let kept =
            nothing().is_some_and(|nothing| dup3(&nothing, &mut fd, DupFlags::CLOEXEC).is_ok());
        Self(kept.then_some(fd))
    }
}

/// The cheapest thing that has a number.
fn nothing() -> Option<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC).ok()
}

impl Watcher {
    /// To be called before a lock file is opened.
    pub(super) fn new() -> Self {
        let state =
            State { holds: Vec::new(), running: false, changes: None, place: Place::keep() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Watches a file from now on. The first look is taken before this returns, if it may be.
    pub(super) fn watch(&self, file: &LockFile, look_now: bool) -> Arc<Watched> {
        let (path, id) = file.identity();
        let watched = Arc::new(Watched { path, id, signal: LossSignal::new() });
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.changes.is_none() {
            let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
            let changes = inotify::init(flags).ok();
            state.changes = changes.map(|changes| Arc::new(state.place.take_over(changes)));
        }
        if let Some(changes) = &state.changes {
            watch_directory(changes, &watched.path);
        }
        state.holds.push(Arc::downgrade(&watched));
        if !state.running {
            let (shared, changes) = (Arc::clone(&self.0), state.changes.clone());
            let thread = thread::Builder::new().name("keyward-watch".to_owned());
            state.running = thread.spawn(move || run(&shared, changes)).is_ok();
            if !state.running {
                tracing::warn!("no thread could be started that would notice a lost lock file");
            }
        }
        drop(state);
        if look_now {
            watched.look();
        }
        watched
    }
}

/// A directory is watched once, however often it is said.
fn watch_directory(changes: &OwnedFd, file: &CStr) {
    let end = file.to_bytes().iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    let what = WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    // Without it, the look each second is what there is.
    inotify::add_watch(changes, &file.to_bytes()[..end], what).ok();
}

fn run(shared: &Mutex<State>, changes: Option<Arc<OwnedFd>>) {
    ofd::block_other_signals(None);
    loop {
        match &changes {
            Some(changes) => wait_for_change(changes),
            None => thread::sleep(EVERY),
        }
        let holds: Vec<_> = {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.holds.retain(|hold| hold.strong_count() > 0);
            if state.holds.is_empty() {
                state.running = false;
                state.changes = None;
                drop(state);
                // It takes the kernel its time, in which somebody else may want to watch.
                if let Some(changes) = changes.and_then(Arc::into_inner) {
                    let place = Place::after(changes);
                    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    if state.place.0.is_none() {
                        state.place = place;
                    }
                }
                return;
            }
            state.holds.iter().filter_map(Weak::upgrade).collect()
        };
        for hold in holds {
            hold.look();
        }
    }
}

fn wait_for_change(changes: &OwnedFd) {
    let every = Timespec { tv_sec: EVERY.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(changes, PollFlags::IN)];
    if poll(&mut fds, Some(&every)).is_ok_and(|ready| ready > 0) {
        // What has changed does not matter: looking is cheap, and the events may be too many to keep.
        let mut events = [0; 4096];
        while rustix::io::read(changes.as_fd(), &mut events).is_ok_and(|read| read > 0) {}
    }
}
