//! Who is measured, in a process of its own: keyward, the bare call, and what people do today.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use distributed_lock_core::traits::{DistributedLock, LockProvider};
use distributed_lock_file::{FileDistributedLock, FileLockHandle, FileLockProvider};
use keyward::{Lease, Locks};
use keyward_benches::crew::{Outcome, text};
use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
    time::sleep,
};

use crate::bare;

/// Who takes the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Bare,
    Keyward,
    KeywardTwo,
    Std,
    Poll,
    DistributedLock,
    Fasteners,
    Oslo,
}

impl Who {
    const ALL: [Self; 8] = [
        Self::Bare,
        Self::Keyward,
        Self::KeywardTwo,
        Self::Std,
        Self::Poll,
        Self::DistributedLock,
        Self::Fasteners,
        Self::Oslo,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare F_OFD_SETLKW (B)",
            Self::Keyward => "keyward, current-thread runtime",
            Self::KeywardTwo => "keyward, two workers",
            Self::Std => "std File::lock in spawn_blocking",
            Self::Poll => "try, sleep 10 ms, try",
            Self::DistributedLock => "distributed-lock-file 0.2",
            Self::Fasteners => "fasteners 0.20 (Python)",
            Self::Oslo => "oslo.concurrency 7.6 (Python)",
        }
    }

    /// Its name among the arguments of a child.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Keyward => "keyward",
            Self::KeywardTwo => "keyward-two",
            Self::Std => "std",
            Self::Poll => "poll",
            Self::DistributedLock => "distributed-lock",
            Self::Fasteners => "fasteners",
            Self::Oslo => "oslo",
        }
    }

    pub(crate) fn parse(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.argument() == argument)
    }

    pub(crate) const fn is_python(self) -> bool {
        matches!(self, Self::Fasteners | Self::Oslo)
    }

    pub(crate) fn runtime(self) -> Runtime {
        let runtime = match self {
            Self::KeywardTwo => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
            _ => Builder::new_current_thread().enable_all().build(),
        };
        runtime.expect("a runtime")
    }
}

pub(crate) async fn connect(directory: &Path, query: &str) -> Outcome<Locks> {
    Locks::connect(&format!("file://{}{query}", directory.display())).await.map_err(text)
}

/// The distributed lock of a directory.
pub(crate) fn distributed(directory: &Path) -> Outcome<FileDistributedLock> {
    Ok(FileLockProvider::new(directory).map_err(text)?.create_lock(bare::NAME))
}

/// One name of one directory, as one of them locks it.
pub(crate) enum Locker {
    Bare(File),
    Keyward(Locks, Option<Lease>),
    Std(Arc<File>),
    Poll(File),
    Distributed(FileDistributedLock, Option<FileLockHandle>),
}

impl Locker {
    pub(crate) async fn new(who: Who, directory: &Path) -> Outcome<Self> {
        let open = || bare::open(directory).map_err(text);
        Ok(match who {
            Who::Bare => Self::Bare(open()?),
            Who::Keyward | Who::KeywardTwo => Self::Keyward(connect(directory, "").await?, None),
            Who::Std => Self::Std(Arc::new(open()?)),
            Who::Poll => Self::Poll(open()?),
            Who::DistributedLock => Self::Distributed(distributed(directory)?, None),
            Who::Fasteners | Who::Oslo => return Err("it is not written in Rust".to_owned()),
        })
    }

    /// Another one of the same process.
    pub(crate) fn again(&self, directory: &Path) -> Outcome<Self> {
        match self {
            Self::Keyward(locks, _) => Ok(Self::Keyward(locks.clone(), None)),
            Self::Poll(_) => Ok(Self::Poll(bare::open(directory).map_err(text)?)),
            _ => Err("not with several tasks".to_owned()),
        }
    }

    pub(crate) async fn acquire(&mut self) -> Outcome<()> {
        match self {
            Self::Bare(file) => bare::lock(file).map_err(text),
            Self::Keyward(locks, lease) => {
                *lease = Some(locks.lock_named(bare::NAME).await.map_err(text)?);
                Ok(())
            }
            Self::Std(file) => {
                let file = Arc::clone(file);
                spawn_blocking(move || file.lock()).await.map_err(text)?.map_err(text)
            }
            Self::Poll(file) => {
                while !bare::try_lock(file).map_err(text)? {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            }
            Self::Distributed(lock, handle) => {
                *handle = Some(lock.acquire(None).await.map_err(text)?);
                Ok(())
            }
        }
    }

    pub(crate) fn release(&mut self) -> Outcome<()> {
        match self {
            Self::Bare(file) | Self::Poll(file) => bare::unlock(file).map_err(text),
            Self::Keyward(_, lease) => {
                drop(lease.take());
                Ok(())
            }
            Self::Std(file) => file.unlock().map_err(text),
            Self::Distributed(_, handle) => {
                drop(handle.take());
                Ok(())
            }
        }
    }
}

/// A folder for the lock files of one measurement of one of them.
pub(crate) fn folder(scratch: &Path, measurement: &str, who: Who) -> Outcome<PathBuf> {
    let folder = scratch.join(format!("{measurement}-{}", who.argument()));
    std::fs::create_dir_all(&folder).map_err(text)?;
    Ok(folder)
}
