//! For callers that are not async: one runtime of our own, on one thread, started when it is needed.
//!
//! The caller's thread drives its own future and sleeps meanwhile; the thread of the runtime only
//! keeps the clock.

use std::{
    future::{Future, pending},
    io,
    sync::OnceLock,
    thread,
};

use tokio::runtime::{Builder, Handle};

use crate::error::{Error, ErrorKind};

static CLOCK: OnceLock<Handle> = OnceLock::new();

/// Blocks the thread until the future is ready.
///
/// # Panics
///
/// Within an asynchronous execution context, as Tokio's own `blocking_` functions do.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let clock = match CLOCK.get() {
        Some(clock) => clock,
        None => {
            let started = start().map_err(|e| {
                let message = "no thread could be started for callers that are not async";
                Error::new(ErrorKind::ResourceLimit).with_message(message).with_source(e)
            })?;
            CLOCK.get_or_init(|| started) // one that comes second is left idle
        }
    };
    clock.block_on(future)
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("keyward-clock".to_owned());
    thread.spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
