//! A directory of its own for each test, on a disk's file system or in memory.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::protocol::quoted;

/// Where lock files lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Beside what cargo builds: ext4 and its like.
    Disk,
    /// In memory: tmpfs.
    Memory,
}

/// A new directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new(place: Place) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let parent = match place {
            Place::Disk => env!("CARGO_TARGET_TMPDIR"),
            Place::Memory => "/dev/shm",
        };
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(parent).join(format!("keyward-python-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The URL of the lock files in `locks`, a subdirectory that this makes, with these options.
    pub(crate) fn url(&self, options: &str) -> String {
        let locks = self.locks();
        let parts = locks.as_os_str().as_bytes().split(|&byte| byte == b'/').map(quoted);
        format!("file://{}?{options}", parts.collect::<Vec<_>>().join("/"))
    }

    /// Where the lock files are: nothing else is there.
    pub(crate) fn locks(&self) -> PathBuf {
        let locks = self.0.join("locks");
        fs::create_dir_all(&locks).unwrap();
        locks
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The processes that worked here may be ending still.
        drop(fs::remove_dir_all(&self.0));
    }
}
