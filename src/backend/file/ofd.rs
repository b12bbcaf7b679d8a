//! Record locks of open file descriptions: the system calls, and all of the backend's `unsafe`.
//!
//! A lock belongs to the *description* behind a descriptor, not to the process: two descriptions in
//! one process exclude each other, closing another descriptor of the file does not drop the lock, and
//! classic POSIX record locks (Python's) are excluded all the same. The price: a forked child shares
//! the description. So a release is an explicit unlock and never a mere close, and a child must not
//! unlock what its parent holds ([`forks`]).
//!
//! nix and rustix are no help for the one call that matters: a wait that can be cancelled needs a
//! `struct flock` that the canceller can change under the waiter ([`Pending`]).
#![allow(unsafe_code, reason = "the system calls of the file backend; see DESIGN.md")]

use std::{
    cell::UnsafeCell,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI16, AtomicU32, Ordering},
    },
};

use libc::{F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_UNLCK, F_WRLCK, c_int, c_short};

use crate::contract::Mode;

/// Bytes of a file, as record locks count them: the first, and how many. No bytes are all bytes from
/// the first on, however long the file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) len: i64,
}

/// What Python's libraries lock.
pub(super) const WHOLE: Range = Range { start: 0, len: 0 };

/// Somebody's lock, as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) mode: Mode,
    pub(super) start: i64,
    /// Of classic POSIX locks only.
    pub(super) pid: Option<u32>,
}

const fn lock_type(mode: Mode) -> c_int {
    match mode {
        Mode::Exclusive => F_WRLCK,
        Mode::Shared => F_RDLCK,
    }
}

fn flock(kind: c_int, range: Range) -> libc::flock {
    // SAFETY: plain data; all zeroes is one of its values. `l_pid` must be 0 for these calls.
    let mut flock: libc::flock = unsafe { mem::zeroed() };
    flock.l_type = kind as c_short;
    flock.l_whence = libc::SEEK_SET as c_short;
    flock.l_start = range.start;
    flock.l_len = range.len;
    flock
}

/// Calls again what a signal of somebody else has interrupted.
fn retried(mut call: impl FnMut() -> c_int) -> io::Result<()> {
    loop {
        if call() == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Locks if that takes no wait.
pub(super) fn try_lock(fd: BorrowedFd<'_>, mode: Mode, range: Range) -> io::Result<bool> {
    let flock = flock(lock_type(mode), range);
    // SAFETY: the descriptor is open and the struct lives through the call, which only reads it.
    let locked = retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), F_OFD_SETLK, &raw const flock) });
    match locked {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Unlocks; what is not locked is unlocked as well.
pub(super) fn unlock(fd: BorrowedFd<'_>, range: Range) -> io::Result<()> {
    let flock = flock(F_UNLCK, range);
    // SAFETY: as in `try_lock`.
    retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), F_OFD_SETLK, &raw const flock) })
}

/// Some lock of another description that would keep us from locking; not the first in any order.
pub(super) fn conflict(
    fd: BorrowedFd<'_>,
    mode: Mode,
    range: Range,
) -> io::Result<Option<Conflict>> {
    let mut flock = flock(lock_type(mode), range);
    // SAFETY: as in `try_lock`; the call writes the struct, which is ours alone.
    retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), F_OFD_GETLK, &raw mut flock) })?;
    let mode = match c_int::from(flock.l_type) {
        F_UNLCK => return Ok(None),
        F_RDLCK => Mode::Shared,
        _ => Mode::Exclusive,
    };
    Ok(Some(Conflict { mode, start: flock.l_start, pid: u32::try_from(flock.l_pid).ok() }))
}

/// The `struct flock` of a thread that waits, and what cancels the wait.
///
/// A signal alone is not enough: between the last look at a flag and the system call it is lost (one
/// cancel in 60,000, measured). The kernel copies the struct when the call begins, so the canceller
/// first makes the struct invalid and then sends the signal: a call that has not begun fails with
/// `EINVAL`, one that has is interrupted.
pub(super) struct Pending(UnsafeCell<libc::flock>);

// SAFETY: all of it but `l_type` is written by the one thread that waits, and read by its own system
// call; `l_type` is written through an atomic by both sides.
unsafe impl Sync for Pending {}
// SAFETY: plain data.
unsafe impl Send for Pending {}

impl Pending {
    /// No lock type of this number exists.
    const POISON: i16 = 99;

    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(flock(F_UNLCK, WHOLE)))
    }

    fn kind(&self) -> &AtomicI16 {
        // SAFETY: a valid, aligned `c_short` that lives as long as `self` and is written through this
        // atomic only.
        unsafe { AtomicI16::from_ptr(&raw mut (*self.0.get()).l_type) }
    }

    /// Says what is going to be waited for. To be called by the waiting thread only.
    ///
    /// Sequentially consistent, as is [`poison`](Self::poison): a waiter that sees no cancel *after*
    /// this can be sure that the poison comes after it.
    pub(super) fn prepare(&self, mode: Mode, range: Range) {
        let flock = flock(lock_type(mode), range);
        let own = self.0.get();
        // SAFETY: the fields are written by this thread only (the type's contract); no reference to
        // the struct exists.
        unsafe {
            (&raw mut (*own).l_whence).write(flock.l_whence);
            (&raw mut (*own).l_start).write(flock.l_start);
            (&raw mut (*own).l_len).write(flock.l_len);
            (&raw mut (*own).l_pid).write(0);
        }
        self.kind().store(flock.l_type, Ordering::SeqCst);
    }

    /// Waits for what was prepared. `Interrupted` and `InvalidInput` may be a cancel.
    pub(super) fn wait(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the struct lives through the call. That another thread
        // changes `l_type` meanwhile is what this is about: the kernel copies it. The raw call, since
        // a C library may do a copy of its own.
        let done =
            unsafe { libc::syscall(libc::SYS_fcntl, fd.as_raw_fd(), F_OFD_SETLKW, self.0.get()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Keeps a wait from beginning. To be followed by a signal for one that has.
    pub(super) fn poison(&self) {
        self.kind().store(Self::POISON, Ordering::SeqCst);
    }
}

/// How often this process was forked off since it first asked; a child counts one more than its
/// parent.
///
/// `getpid` would be a system call for every release; a handler in the child costs nothing.
pub(super) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static HANDLER: OnceLock<()> = OnceLock::new();
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    HANDLER.get_or_init(|| {
        // SAFETY: the handler only touches an atomic, which is safe after a fork.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// Installs the signal that interrupts waits, and returns it; none if no signal is free.
///
/// The first one wins: with `wanted` it must be that one. A real-time signal that nobody handles is
/// taken, from the highest down, with a handler that does nothing and does not restart system calls.
pub(super) fn interrupt_signal(wanted: Option<i32>) -> Option<i32> {
    static SIGNAL: OnceLock<Option<i32>> = OnceLock::new();
    let signal = *SIGNAL.get_or_init(|| match wanted {
        Some(signal) => install(signal, true).then_some(signal),
        None => (libc::SIGRTMIN() + 1..libc::SIGRTMAX()).rev().find(|&s| install(s, false)),
    });
    signal.filter(|signal| wanted.is_none_or(|wanted| wanted == *signal))
}

/// Whether the handler is installed now: not over a handler of somebody else, unless it was asked for.
fn install(signal: i32, asked_for: bool) -> bool {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: plain data, written by the call.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: reads the disposition into a struct of ours.
    let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut old) } == 0;
    if !known || (old.sa_sigaction != libc::SIG_DFL && !asked_for) {
        return false;
    }
    // SAFETY: plain data; all zeroes is no flags and an empty mask.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
    // SAFETY: the handler does nothing, so it is safe at every point.
    unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) == 0 }
}

/// Lets through, in the calling thread, no signal but `signal`.
pub(super) fn block_other_signals(signal: Option<i32>) {
    // SAFETY: plain data, filled by the calls below; changes this thread's mask only.
    unsafe {
        let mut mask: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut mask);
        if let Some(signal) = signal {
            libc::sigdelset(&raw mut mask, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
    }
}

/// The calling thread, as [`interrupt`] knows it.
pub(super) fn this_thread() -> i32 {
    // SAFETY: has no preconditions.
    unsafe { libc::gettid() }
}

/// Sends a signal to a thread of this process. That the thread lives is the caller's to know; if it
/// does not, nothing happens, unless its number has been given to another.
pub(super) fn interrupt(thread: i32, signal: i32) {
    // SAFETY: has no preconditions for memory; the handler does nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

/// Asks for a lease of the file, which the kernel grants only if nobody else has it open; false if
/// somebody has. The signal that tells of its end goes to the calling thread, which must block it.
pub(super) fn try_lease(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let owner = F_OWNER_EX { kind: F_OWNER_TID, pid: this_thread() };
    // SAFETY: the descriptor is open, and the struct is what the call reads.
    retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, &raw const owner) })?;
    // SAFETY: the descriptor is open.
    let leased = retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, F_WRLCK) });
    match leased {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether the lease is still there, and nobody has asked for its end.
pub(super) fn has_lease(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) == F_WRLCK }
}

const F_SETOWN_EX: c_int = 15;
const F_OWNER_TID: c_int = 0;

/// `struct f_owner_ex`, which libc does not have.
#[repr(C)]
#[allow(non_camel_case_types, reason = "the kernel's name")]
struct F_OWNER_EX {
    kind: c_int,
    pid: c_int,
}
