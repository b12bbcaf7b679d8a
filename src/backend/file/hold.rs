//! A held lock file, as the contract wants it.
#![forbid(unsafe_code)]

use std::{
    fs, io,
    os::fd::AsRawFd,
    sync::{Arc, OnceLock},
};

use super::{
    dir, errors,
    lock_file::Locked,
    loss::Watched,
    store::{BARGING, Store},
};
use crate::{
    contract::{Confirmation, Hold, Mode},
    error::{Error, ErrorKind},
    token::FencingToken,
    watch::LossSignal,
};

/// A lock file that is held: what a [`FileBackend`](super::FileBackend) hands out.
#[derive(Debug)]
pub struct FileHold {
    /// None once it is unlocked.
    locked: Option<Locked>,
    store: Arc<Store>,
    /// Looked at by the watching thread, once somebody wants to know.
    watched: OnceLock<Arc<Watched>>,
}

impl FileHold {
    pub(super) const fn new(locked: Locked, store: Arc<Store>) -> Self {
        Self { locked: Some(locked), store, watched: OnceLock::new() }
    }

    const fn locked(&self) -> &Locked {
        self.locked.as_ref().expect("only the end of the hold takes it")
    }

    /// Whether the path still names the file that we have locked.
    async fn is_named(&self) -> Result<bool, Error> {
        let (path, id) = self.locked().file().identity();
        let still = self.store.aside(move || dir::is_still(&path, id)).await?;
        self.seen(still)
    }

    fn is_named_now(&self) -> Result<bool, Error> {
        self.seen(self.locked().file().is_named())
    }

    /// What a look at the path means for this hold, and for those to come.
    fn seen(&self, still: io::Result<bool>) -> Result<bool, Error> {
        let named = still.map_err(|e| errors::lock_file("look at", e))?;
        if !named {
            self.store.dir.look_again();
        }
        Ok(named && self.locked().is_ours())
    }

    /// Whether the hold may serve another task of this process: not if others wait, nor if it was ever
    /// lost, nor if looking might take long.
    fn may_stay(&self) -> bool {
        let locked = self.locked();
        let brief = locked.mode == Mode::Exclusive
            && locked.file().streak.is_some_and(|since| since.elapsed() < BARGING);
        let alone = || !self.store.line(locked.file()).is_some_and(|line| line.has_waiters());
        let lost = self.watched.get().is_some_and(|watched| watched.is_lost());
        !lost
            && !self.store.is_slow()
            && matches!(self.is_named_now(), Ok(true))
            && locked.may_stay()
            && (brief || alone())
    }

    /// Whether the kernel has no lock of this description any more: a forked child that still has it
    /// may have unlocked it, and nothing else shows that. Without `/proc` there is no telling, nor on
    /// filesystems that keep locks elsewhere (FUSE).
    fn is_unlocked(&self) -> bool {
        if self.store.is_slow() {
            return false;
        }
        let info = format!("/proc/self/fdinfo/{}", self.locked().file().fd().as_raw_fd());
        fs::read_to_string(info).is_ok_and(|info| !info.contains("lock:"))
    }

    fn unlock(&mut self) -> Result<(), Error> {
        if self.watched.take().is_some_and(|watched| watched.is_lost()) {
            self.store.dir.look_again();
        }
        let Some(locked) = self.locked.take() else { return Ok(()) };
        if self.store.is_slow() {
            // Not on this thread, which may be a runtime's; but if there is no other, on this one,
            // where the closure is dropped.
            if let Some(job) = self.store.pool.run(move |_| (drop(locked), || ())) {
                job.detach();
            }
            return Ok(());
        }
        let file = locked.unlock().map_err(|e| errors::lock_file("unlock", e))?;
        if let Some(file) = file {
            self.store.cache.put(file);
        }
        Ok(())
    }
}

impl Drop for FileHold {
    fn drop(&mut self) {
        if let Err(error) = self.unlock() {
            tracing::warn!(%error, "a lock file could not be unlocked; it has been closed");
        }
    }
}

impl Hold for FileHold {
    async fn release(mut self) -> Result<bool, Error> {
        let named = self.is_named().await?;
        if self.store.is_slow()
            && let Some(locked) = self.locked.take()
        {
            // Without a thread for it, it is done here, where the closure is dropped.
            if let Some(job) = self.store.pool.run(move |_| (locked.unlock().map(drop), || ()))
                && let Some(Err(e)) = job.await
            {
                return Err(errors::lock_file("unlock", e));
            }
        }
        self.unlock()?;
        Ok(named)
    }

    async fn verify(&self) -> Result<(), Error> {
        let why = if !self.locked().is_ours() {
            "it belongs to the process that this one was forked from"
        } else if !self.is_named().await? {
            "the lock file was removed, renamed or replaced"
        } else if self.is_unlocked() {
            "another process that shares it has unlocked it"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Lost).with_message(format!("the lease was lost: {why}")))
    }

    fn watch(&self) -> LossSignal {
        let start = || self.store.watcher.watch(self.locked().file(), !self.store.is_slow());
        self.watched.get_or_init(start).signal()
    }

    fn token(&self) -> Option<FencingToken> {
        self.locked().token
    }

    /// While nobody else is in the queue, or for as long as a process may barge.
    fn pass_on(&mut self) -> bool {
        let goes = self.may_stay() && self.locked.as_mut().is_some_and(Locked::renew_token);
        if goes {
            self.watched.take(); // a loss of the next holder is none of the last one's
        }
        goes
    }

    /// Of readers: who passes a lock on has looked.
    fn confirm(&self) -> Option<Confirmation> {
        let locked = self.locked.as_ref().filter(|locked| locked.mode == Mode::Shared)?;
        let (store, is_ours) = (Arc::clone(&self.store), locked.is_ours());
        let (path, id) = locked.file().identity();
        Some(Box::pin(async move {
            let still = store.aside(move || dir::is_still(&path, id)).await?;
            Ok(still.map_err(|e| errors::lock_file("look at", e))? && is_ours)
        }))
    }

    fn admits_reader(&self) -> bool {
        self.locked().mode == Mode::Shared && self.may_stay()
    }
}
