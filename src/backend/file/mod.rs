//! `file:`: names held by processes of one host, on the files of a directory.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("keyward-doc-{}", std::process::id()));
//! # let url = format!("file://{}", dir.display());
//! // let url = "file:///var/lib/cinder";
//! let locks = keyward::Locks::connect(url).await?;
//! let lease = locks.lock_named("vol-42").await?; // waits without polling, in the order of asking
//! assert!(locks.inspect("vol-42").await?.is_held());
//! lease.release().await?;
//! # std::fs::remove_dir_all(dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it excludes
//!
//! Every process of the host that locks the same file by a POSIX or OFD record lock of the whole file:
//! other keyward processes, and Python services that use oslo.concurrency, fasteners or tooz's file
//! driver. It does *not* exclude who uses `flock`, and so neither `std::fs::File::lock`.
//!
//! Whoever holds a lock, Python included, its release or death wakes the first who waits here; nobody
//! polls, but for a look each two seconds that guards against a queue that stands still. The reverse does
//! not hold: Python's libraries poll, and may need [some room](crate::LocksBuilder::polite).
//!
//! A lock file stays after its release: deleting it would be a race. Old ones are removed by
//! [`Locks::collect_garbage`](crate::Locks::collect_garbage).
//!
//! # URL
//!
//! `file:///absolute/path` or `file:relative/path`, percent-encoded where needed, and options:
//!
//! | option | values | default | what |
//! |---|---|---|---|
//! | `names` | `native`, `oslo`, `tooz` | `native` | how a name becomes a file: [`Names`] |
//! | `prefix` | text | none | with `names=oslo`: what oslo calls `lock_file_prefix` |
//! | `fencing` | `on`, `durable`, `off` | `on` | where [tokens](crate::FencingToken) come from; see below |
//! | `wait` | `kernel`, `poll` | `kernel` | whether waiting may use a thread and a signal |
//! | `signal` | number | a free one | the real-time signal that cancels a wait in the kernel |
//! | `mode` | octal | `0700` | permissions of the directory, if it is made |
//! | `allow` | `shared-dir` | none | a directory of another user, or that everybody may write to |
//! | `polite` | time, as in `150ms` | none | [leaves room for those who poll](crate::LocksBuilder::polite) |
//!
//! # Python peers and permissions
//!
//! Lock files are made with mode 0666 less the umask, as Python's libraries make them, and whoever
//! locks one must be able to *write* it. Services of different users that share a directory need a
//! common group, a directory with `mode=2770`, and a umask of 0007; a file that root has made under
//! umask 0022 locks the others out. For a directory that belongs to another service's user, say
//! `allow=shared-dir`.
//!
//! # Fencing
//!
//! With `on`, an exclusive holder writes 64 bytes into the lock file: the tokens it has reserved, and
//! who it is. Tokens increase through kills, restarts, truncation, replacement of the file and power
//! failure, as long as the clock is not set back past what was lost. `durable` syncs them to the disk
//! (once for each million) and does without the clock. With `off` there are no tokens, files stay
//! empty, and `inspect` does not know who holds; a non-empty file takes a block of 4 KiB on most
//! filesystems.
//!
//! # What is guaranteed, and what is not
//!
//! On a local filesystem (ext4, xfs, btrfs, tmpfs, overlayfs, f2fs, zfs, bcachefs) exclusion holds
//! until the lease is released, the process dies, or somebody deletes, renames or replaces the file or
//! its directory. The last is a loss: it is told within a second, at once where inotify works, and
//! found by [`ensure_held`](crate::Lease::ensure_held) immediately. New locks follow the path: to another
//! file at once, to another directory within 0.1 s. A process that is stopped keeps its locks.
//!
//! On network filesystems, FUSE and others, waiting is polling (10 to 100 ms), and exclusion is what
//! the filesystem makes of record locks. [`capability`](crate::Locks::capability) says so.
//!
//! In a forked child that does not `exec`, leases of the parent are inert: dropping them there unlocks
//! nothing. Such a child must connect anew: with its parent's it gets an error. While it lives, a parent that is *killed* leaves its locks
//! to the child.

mod cache;
mod collect;
mod dir;
mod errors;
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql"))]
pub(crate) mod fuzzed;
mod hold;
mod lock_file;
mod loss;
mod ofd;
mod path;
mod polite;
mod queue;
mod record;
mod store;
mod tokens;
mod wait;

use std::{
    borrow::Cow,
    fmt,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::{
    cache::Cache,
    dir::{LockDir, Opened},
    loss::Watcher,
    ofd::WHOLE,
    queue::Queue,
    store::Store,
    wait::Pool,
};
pub use self::{hold::FileHold, path::Names};
use crate::{
    contract::{Backend, Capability, Fencing, Mode, Occupancy, Owner, Request},
    error::Error,
    name::LockName,
    url::{self, BackendUrl},
};

/// What a [`FileBackend`] may be told.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("keyward-options-{}", std::process::id()));
/// use keyward::{Locks, file::{FileOptions, Names}};
///
/// let backend = FileOptions::new().names(Names::Oslo).oslo_prefix("cinder").open(&dir)?;
/// let locks = Locks::builder().backend(backend);
/// # std::fs::remove_dir_all(dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a directory is opened with them"]
pub struct FileOptions {
    names: Names,
    oslo_prefix: String,
    fencing: Fencing,
    kernel_wait: bool,
    signal: Option<i32>,
    mode: u32,
    shared_dir: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl FileOptions {
    /// The defaults of the table in the [module's docs](self).
    pub const fn new() -> Self {
        Self {
            names: Names::Native,
            oslo_prefix: String::new(),
            fencing: Fencing::Clock,
            kernel_wait: true,
            signal: None,
            mode: 0o700,
            shared_dir: false,
        }
    }

    /// How a name becomes the path of its lock file.
    pub const fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// What oslo calls `lock_file_prefix`; for [`Names::Oslo`] only.
    pub fn oslo_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.oslo_prefix = prefix.into();
        self
    }

    /// Where fencing tokens come from: [`Fencing::Clock`], [`Fencing::Durable`] or [`Fencing::Off`].
    ///
    /// With `Durable`, the first lock of a name, and one in a million after it, waits for the disk, and
    /// so does its thread.
    pub const fn fencing(mut self, fencing: Fencing) -> Self {
        self.fencing = fencing;
        self
    }

    /// Whether a wait may block a thread in the kernel, which a signal cancels; else it polls.
    pub const fn kernel_wait(mut self, kernel_wait: bool) -> Self {
        self.kernel_wait = kernel_wait;
        self
    }

    /// The real-time signal that cancels waits in the kernel, instead of one that nobody handles. The
    /// first backend of a process decides for all.
    pub const fn signal(mut self, signal: i32) -> Self {
        self.signal = Some(signal);
        self
    }

    /// The permissions of the directory, if it has to be made.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whether the directory may belong to another user, and everybody may write to it: who can do
    /// that can take locks away.
    pub const fn allow_shared_dir(mut self, allow: bool) -> Self {
        self.shared_dir = allow;
        self
    }

    /// Opens the directory, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](crate::ErrorKind::InvalidUrl) for options that do not fit together;
    /// [`Untrusted`](crate::ErrorKind::Untrusted) for a directory that others can change;
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied), [`ReadOnly`](crate::ErrorKind::ReadOnly),
    /// [`StorageFull`](crate::ErrorKind::StorageFull), [`ResourceLimit`](crate::ErrorKind::ResourceLimit) or
    /// [`Unavailable`](crate::ErrorKind::Unavailable) for one that cannot be used.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<FileBackend, Error> {
        self.check()?;
        let dir = LockDir::open(dir.as_ref(), self.mode, self.shared_dir)?;
        record::Process::this(); // reads /proc: not for the first time under a lock
        let mut warnings = Vec::new();
        let watcher = Watcher::new(); // before anything that is locked is opened
        let (queue, made) = Queue::new(&dir);
        if let Err(e) = made {
            warnings.push(format!("no queue between processes: {e}").into());
        }
        let signal = if self.kernel_wait && dir.is_local {
            let signal = ofd::interrupt_signal(self.signal);
            if signal.is_none() {
                warnings.push("waiting is polling: no signal is free to cancel a wait with".into());
            }
            signal
        } else {
            warnings.push(if dir.is_local {
                "waiting is polling, as was asked for".into()
            } else {
                "waiting is polling, and locks that a server loses are not noticed: the filesystem is \
                 not known to be local"
                    .into()
            });
            None
        };
        let (cache, pool) = (Cache::new(), Pool::new(signal));
        let forks = ofd::forks();
        let store = Store { dir, options: self, cache, queue, pool, watcher, forks };
        Ok(FileBackend { store: Arc::new(store), warnings })
    }

    fn check(&self) -> Result<(), Error> {
        if !self.oslo_prefix.is_empty() && self.names != Names::Oslo {
            return Err(url::bad("a prefix of the backend's own goes with names=oslo only"));
        }
        if self.fencing == Fencing::Process {
            return Err(url::bad("tokens of a process mean nothing to another"));
        }
        let signals = libc::SIGRTMIN()..=libc::SIGRTMAX();
        if self.signal.is_some_and(|signal| !signals.contains(&signal)) {
            return Err(url::bad(format!("a signal to cancel waits with is one of {signals:?}")));
        }
        Ok(())
    }
}

/// The backend of `file:` URLs; see the [module's docs](self).
pub struct FileBackend {
    store: Arc<Store>,
    warnings: Vec<Cow<'static, str>>,
}

impl FileBackend {
    /// Of a URL, and its `polite` option, which is for all backends.
    pub(super) fn from_url(url: BackendUrl) -> Result<(Self, Option<Duration>), Error> {
        let (path, options, polite) = Self::read_url(url)?;
        Ok((options.open(path)?, polite))
    }

    /// What a URL says: the directory, how to use it, and the gap of polite locks. Touches no file.
    fn read_url(mut url: BackendUrl) -> Result<(PathBuf, FileOptions, Option<Duration>), Error> {
        let rest = url.rest().strip_prefix("//localhost/").map(|path| format!("/{path}"));
        let rest = rest.unwrap_or_else(|| url.rest().to_owned());
        let path = match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => {
                let message = "a file url has three slashes, as in file:///var/lib/locks, or none";
                return Err(url::bad(message));
            }
            None if rest.is_empty() => return Err(url::bad("the file url names no directory")),
            None => &rest,
        };
        let path = PathBuf::from(url::decode(path)?);
        let mut options = FileOptions::new();
        let names = [("native", Names::Native), ("oslo", Names::Oslo), ("tooz", Names::Tooz)];
        options.names = url.choice("names", &names)?.unwrap_or_default();
        options.oslo_prefix = url.option("prefix").unwrap_or_default();
        let fencing =
            [("on", Fencing::Clock), ("durable", Fencing::Durable), ("off", Fencing::Off)];
        options.fencing = url.choice("fencing", &fencing)?.unwrap_or(Fencing::Clock);
        let waits = [("kernel", true), ("poll", false)];
        options.kernel_wait = url.choice("wait", &waits)?.unwrap_or(true);
        let number = |what: &str, text: &str, radix| {
            let number = u32::from_str_radix(text, radix).ok();
            number
                .ok_or_else(|| url::bad(format!("the url's option {what} is no number: {text:?}")))
        };
        if let Some(signal) = url.option("signal") {
            options.signal = Some(number("signal", &signal, 10)? as i32);
        }
        if let Some(mode) = url.option("mode") {
            options.mode = number("mode", &mode, 8)? & 0o7777;
        }
        options.shared_dir = url.choice("allow", &[("shared-dir", true)])?.unwrap_or(false);
        let polite = url.duration("polite")?;
        url.finish()?;
        check_gap(polite)?;
        Ok((path, options, polite))
    }

    fn path<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        let options = &self.store.options;
        options.names.path(&options.oslo_prefix, name)
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBackend")
            .field("dir", &self.store.dir.path())
            .field("options", &self.store.options)
            .finish_non_exhaustive()
    }
}

fn occupancy(dir: &LockDir, key: &[u8]) -> Result<Occupancy, Error> {
    let failed = |e| errors::at("look at", &dir.path().join(lock_file::lossy(key)), e);
    let Some(Opened { fd, .. }) = dir.open_existing(key).map_err(failed)? else {
        return Ok(Occupancy::Free);
    };
    let conflict = ofd::conflict(fd.as_fd(), Mode::Exclusive, WHOLE).map_err(failed)?;
    let Some(conflict) = conflict else { return Ok(Occupancy::Free) };
    let owner = match (conflict.pid, conflict.mode) {
        // A classic record lock: the kernel knows its process.
        (Some(pid), _) => Some(Owner { pid: Some(pid), ..Owner::default() }),
        // What stands in the file is the last exclusive holder that was a keyward.
        (None, Mode::Exclusive) => {
            tokens::stored(fd.as_fd()).map_err(failed)?.and_then(|record| record.owner())
        }
        (None, Mode::Shared) => None,
    };
    Ok(Occupancy::Held { mode: conflict.mode, owner })
}

fn check_gap(gap: Option<Duration>) -> Result<(), Error> {
    if gap.is_some_and(|gap| gap < polite::SHORTEST) {
        let shortest = polite::SHORTEST;
        return Err(url::bad(format!("a polite gap for files has at least {shortest:?}")));
    }
    Ok(())
}

impl Backend for FileBackend {
    type Hold = FileHold;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<FileHold>, Error> {
        check_gap(request.polite)?;
        let locked = self.store.obtain(&self.path(name)?, request).await?;
        Ok(locked.map(|locked| FileHold::new(locked, Arc::clone(&self.store))))
    }

    fn try_acquire(
        &self,
        name: &LockName,
        request: Request,
    ) -> Option<Result<Option<FileHold>, Error>> {
        if self.store.is_slow() {
            return None;
        }
        let locked = check_gap(request.polite)
            .and_then(|()| self.store.obtain_now(&self.path(name)?, request));
        let hold = |locked| FileHold::new(locked, Arc::clone(&self.store));
        Some(locked.map(|locked| locked.map(hold)))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("file");
        let waits = self.store.pool.can_wait();
        capability.shared = true;
        capability.fair = waits && self.store.queue.exists();
        capability.event_driven = waits;
        capability.fencing = self.store.options.fencing;
        capability.loss_told_within = Some(loss::EVERY);
        capability.warnings.clone_from(&self.warnings);
        capability
    }

    fn native_key<'n>(&self, name: &'n LockName) -> Result<Cow<'n, [u8]>, Error> {
        self.path(name)
    }

    async fn inspect(&self, name: &LockName) -> Result<Occupancy, Error> {
        let (store, key) = (Arc::clone(&self.store), self.path(name)?.into_owned());
        self.store.aside(move || occupancy(&store.dir, &key)).await?
    }

    async fn collect_garbage(&self, older_than: Duration) -> Result<u64, Error> {
        let store = Arc::clone(&self.store);
        let work = move || {
            store.cache.clear(); // idle files of ours are in use as well
            collect::collect(&store.dir, older_than, store.options.fencing)
        };
        self.store.on_thread(work).await?
    }

    async fn close(&self) {
        self.store.cache.clear();
    }
}
