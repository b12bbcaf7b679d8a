//! Many need what one of them opens.
//!
//! * **O1** One opens, and the others find what he has opened, or why he has not.
//! * **O2** A failure is that of whoever had asked before the attempt began: else the last of many would be told
//!   only after the time that each of them takes to fail. Who asks later tries anew.
//! * **O3** Who opens is in everybody's way, and so has to be polled: it is done in a task.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::error::Error;

/// Who opens, one after the other.
#[derive(Debug, Default)]
pub(super) struct Opening {
    last: Mutex<Option<Failure>>,
    /// The order of asking and beginning.
    clock: AtomicU64,
}

/// An attempt that has failed, and when it began.
#[derive(Debug)]
struct Failure {
    began: u64,
    error: Error,
}

impl Opening {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// What is found, if need be after opening.
    pub(super) async fn open<T, F>(
        &self,
        find: impl Fn() -> Option<T>,
        open: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        loop {
            if let Some(found) = find() {
                return Ok(found);
            }
            let asked = self.tick();
            let mut last = self.last.lock().await;
            if let Some(found) = find() {
                return Ok(found);
            }
            if let Some(failure) = last.as_ref().filter(|failure| failure.began > asked) {
                return Err(failure.error.clone());
            }
            let began = self.tick();
            if let Err(error) = open().await {
                *last = Some(Failure { began, error: error.clone() });
                return find().ok_or(error);
            }
        }
    }
}
