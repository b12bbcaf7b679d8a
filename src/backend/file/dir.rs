//! The lock directory: who may change it, what filesystem it is on, and how files in it are opened.
//!
//! 1. A lock file is opened below the directory's own descriptor, never through a symbolic link, and
//!    is a regular file.
//! 2. It is opened for reading *and* writing, since shared mode needs the one and exclusive mode the
//!    other; made with mode 0666 less the umask, since Python's peers need to write it as well; and
//!    not in append mode, in which Linux would put every record at the end.
//! 3. A lock counts only while the *path* still names the file that it is on. Whether the name below
//!    the directory does is looked at for every lock; whether the path still names the directory, once
//!    in [`RECENT`], and again after every loss.
#![forbid(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    fs::{self, DirBuilder, Permissions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Mode as Bits, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{errors, path::QUEUE};
use crate::error::{Error, ErrorKind};

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) const fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// For the queue: a number that differs between files of one host.
    pub(super) const fn number(self) -> u64 {
        self.inode ^ self.device.rotate_left(40)
    }
}

/// The lock directory.
#[derive(Debug)]
pub(super) struct LockDir {
    path: PathBuf,
    /// As it was opened last: when the path names another directory, that one is opened.
    open: Mutex<Arc<OpenDir>>,
    /// Of the directory that is open.
    generation: AtomicU32,
    /// When it was last seen to be the one that the path names, in ms since `since`, from 1; 0 if it is
    /// to be looked at.
    looked: AtomicU64,
    since: Instant,
    /// Whether the time of reading may be left alone, which only the owner of a file may ask for.
    quiet_reads: AtomicBool,
    trust_others: bool,
    /// Whether all who lock are on this host, and the kernel tells them of each other.
    pub(super) is_local: bool,
}

/// For how long a look at the directory's path is good enough for another lock. Half a microsecond for
/// each lock otherwise; and who renames the directory a moment after the look is no different from who
/// does so a moment after the lock: the holder is told of the loss.
const RECENT: Duration = Duration::from_millis(100);

/// A directory that was opened.
#[derive(Debug)]
pub(super) struct OpenDir {
    fd: OwnedFd,
    id: FileId,
    generation: u32,
}

/// A file in it that was opened.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    pub(super) dir: Arc<OpenDir>,
}

impl LockDir {
    /// Opens it, and makes it if there is none, with those permission bits.
    pub(super) fn open(path: &Path, bits: u32, trust_others: bool) -> Result<Self, Error> {
        let failed = |what: &str, e: io::Error| errors::at(what, path, e);
        let path = std::path::absolute(path).map_err(|e| failed("find", e))?;
        make(&path, bits).map_err(|e| failed("make", e))?;
        let open = OpenDir::open(&path, trust_others, 0).map_err(|e| failed("open", e))?;
        let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&open.fd, c".", writable, AtFlags::EACCESS)
            .map_err(|e| failed("write to", e.into()))?;
        let is_local = is_local(&open.fd).map_err(|e| failed("look at", e))?;
        Ok(Self {
            path,
            open: Mutex::new(Arc::new(open)),
            generation: AtomicU32::new(0),
            looked: AtomicU64::new(0),
            since: Instant::now(),
            quiet_reads: AtomicBool::new(true),
            trust_others,
            is_local,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for [`is_still`].
    pub(super) fn whole_path(&self, file: &[u8]) -> io::Result<CString> {
        let whole = [self.path.as_os_str().as_bytes(), b"/", file].concat();
        Ok(CString::new(whole)?)
    }

    /// Opens a file in it, and makes it if there is none.
    pub(super) fn open_file(&self, file: &[u8]) -> io::Result<Opened> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        match self.open_with(file, flags) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                // A directory above it is missing, or this one is not what the path names any more.
                self.refresh()?;
                self.make_parents(file)?;
                self.open_with(file, flags)
            }
            opened => opened,
        }
    }

    /// Opens a file in it; none if there is none.
    pub(super) fn open_existing(&self, file: &[u8]) -> io::Result<Option<Opened>> {
        self.refresh()?;
        match self.open_with(file, OFlags::RDWR) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_with(&self, file: &[u8], flags: OFlags) -> io::Result<Opened> {
        // Not to hang at a device.
        match self.open_quietly(file, flags | OFlags::NONBLOCK) {
            // A file with a lease on it, which makes way: a collector's, for some microseconds.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => self.open_quietly(file, flags),
            opened => opened,
        }
    }

    /// Without noting that the file is read, which would write to the disk at every hand-over between
    /// processes: each reads what the other has just written.
    fn open_quietly(&self, file: &[u8], flags: OFlags) -> io::Result<Opened> {
        if self.quiet_reads.load(Ordering::Relaxed) {
            match self.open_as(file, flags | OFlags::NOATIME) {
                Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
                    self.quiet_reads.store(false, Ordering::Relaxed);
                }
                opened => return opened,
            }
        }
        self.open_as(file, flags)
    }

    fn open_as(&self, file: &[u8], flags: OFlags) -> io::Result<Opened> {
        // Not to get a terminal.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        let (dir, bits) = (self.current(), Bits::from_raw_mode(0o666));
        let fd = if file.contains(&b'/') {
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            rustix::fs::openat2(&dir.fd, file, flags, bits, inside)?
        } else {
            rustix::fs::openat(&dir.fd, file, flags | OFlags::NOFOLLOW, bits)?
        };
        let stat = rustix::fs::fstat(&fd)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            Ok(Opened { fd, stat, dir })
        } else {
            Err(io::Error::other("not a regular file"))
        }
    }

    fn make_parents(&self, file: &[u8]) -> io::Result<()> {
        let dir = self.current();
        for (at, _) in file.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            match rustix::fs::mkdirat(&dir.fd, &file[..at], Bits::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Opens the directory anew if its path names another one now.
    pub(super) fn refresh(&self) -> io::Result<()> {
        let stat = rustix::fs::stat(&self.path)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.id != FileId::of(&stat) {
            let next = open.generation.wrapping_add(1);
            *open = Arc::new(OpenDir::open(&self.path, self.trust_others, next)?);
            self.generation.store(next, Ordering::Release);
        }
        Ok(())
    }

    /// Whether the path names that directory, as it was seen less than [`RECENT`] ago.
    pub(super) fn is_current(&self, dir: &OpenDir, now: Instant) -> io::Result<bool> {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let now = u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1;
        let looked = self.looked.load(Ordering::Relaxed);
        if looked == 0 || now.saturating_sub(looked) >= RECENT.as_millis() as u64 {
            match self.refresh() {
                Ok(()) => self.looked.store(now, Ordering::Relaxed),
                Err(e) if is_missing(&e) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(dir.generation == self.generation.load(Ordering::Acquire))
    }

    /// Something was lost: the next lock looks at everything.
    pub(super) fn look_again(&self) {
        self.looked.store(0, Ordering::Relaxed);
    }

    fn current(&self) -> Arc<OpenDir> {
        Arc::clone(&self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder for queue files, made if there is none.
    pub(super) fn open_queue(&self) -> io::Result<OwnedFd> {
        let dir = self.current();
        let bits = rustix::fs::fstat(&dir.fd)?.st_mode & 0o7777;
        match rustix::fs::mkdirat(&dir.fd, QUEUE, Bits::from_raw_mode(bits)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&dir.fd, QUEUE, flags, Bits::empty())?)
    }

    /// For reading its entries.
    pub(super) fn entries(&self) -> io::Result<rustix::fs::Dir> {
        Ok(rustix::fs::Dir::read_from(self.current().as_fd())?)
    }

    /// Removes a file of it.
    pub(super) fn remove(&self, file: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.current().fd, file, AtFlags::empty())?)
    }
}

impl OpenDir {
    /// An [`Error`] within if others can change it.
    fn open(path: &Path, trust_others: bool, generation: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Bits::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let owner = rustix::process::geteuid().as_raw();
        let untrusted = if trust_others {
            None
        } else if stat.st_mode & 0o002 != 0 {
            Some("everybody can write to it")
        } else if stat.st_uid != owner && stat.st_uid != 0 {
            Some("it belongs to another user")
        } else {
            None
        };
        if let Some(why) = untrusted {
            let message = format!(
                "the lock directory {} is not to be trusted: {why}; mend that, or allow it with \
                 allow=shared-dir",
                path.display()
            );
            return Err(io::Error::other(Error::new(ErrorKind::Untrusted).with_message(message)));
        }
        Ok(Self { fd, id: FileId::of(&stat), generation })
    }

    /// What a name in it stands for now, itself and not what it links to.
    pub(super) fn look(&self, name: &CStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl AsFd for OpenDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the path names that file.
pub(super) fn is_still(path: &CStr, id: FileId) -> io::Result<bool> {
    match rustix::fs::lstat(path).map_err(io::Error::from) {
        Ok(stat) => Ok(FileId::of(&stat) == id),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether an error says that a path names nothing.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE))
}

fn make(path: &Path, bits: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    match DirBuilder::new().mode(bits & 0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        // `mkdir` knows nothing of set-group-ID, and takes the umask away.
        made => made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(bits))),
    }
}

/// Filesystems on which record locks, their waits and their order were measured, or whose locks are
/// the same code of the kernel. On every other, FUSE and the network's among them, who waits polls.
const LOCAL: [u32; 9] = [
    0xEF53,      // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0x8584_58F6, // ramfs
    0xCA45_1A4E, // bcachefs
];

fn is_local(fd: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(fd)?.f_type;
    Ok(LOCAL.iter().any(|&local| u64::from(local) == kind as u64 & 0xFFFF_FFFF))
}
