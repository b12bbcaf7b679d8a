//! For callers that are not async: one runtime of our own, on one thread, started when it is needed.
//!
//! The caller's thread drives its own future and sleeps meanwhile; the thread of the runtime only
//! keeps the clock.
#![forbid(unsafe_code)]

use std::{
    future::{Future, pending},
    io,
    sync::{Mutex, PoisonError},
    thread,
};

use tokio::runtime::{Builder, Handle};

use crate::error::{Error, ErrorKind};

/// And of which process: a forked child has the handle, and not the thread.
static CLOCK: Mutex<Option<(u32, Handle)>> = Mutex::new(None);

/// Blocks the thread until the future is ready.
///
/// # Panics
///
/// Within an asynchronous execution context, as Tokio's own `blocking_` functions do.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    clock()?.block_on(future)
}

fn clock() -> Result<Handle, Error> {
    let process = std::process::id();
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, handle)) = &*clock
        && *owner == process
    {
        return Ok(handle.clone());
    }
    let handle = start().map_err(|e| {
        let message = "no thread could be started for callers that are not async";
        Error::new(ErrorKind::ResourceLimit).with_message(message).with_source(e)
    })?;
    *clock = Some((process, handle.clone()));
    Ok(handle)
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("keyward-clock".to_owned());
    thread.spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
