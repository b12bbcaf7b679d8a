//! A session that does nothing but notice at once that the server is gone.
//!
//! The others look at their connections when they have something to ask. One that waits in the server's
//! queue notices an end at once, and tells the others; this is for processes in which none waits.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{actor::PATIENCE, errors, pool::Pool, wire::Wire};
use crate::error::Error;

/// Between attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one sleep at the server is.
const SLEEP: Duration = Duration::from_secs(600);

/// Starts it, if there is to be one. It ends with the pool's last user.
pub(super) fn start(pool: &Arc<Pool>) {
    if !pool.options.sentinel {
        return;
    }
    let closing = pool.closing.clone();
    let sentinel = Arc::clone(pool);
    pool.spawn(async move {
        // Dropped with its connection, in the middle of a statement that locks nothing.
        closing.run_until_cancelled_owned(work(sentinel)).await;
    });
}

async fn work(pool: Arc<Pool>) {
    loop {
        // That it cannot connect says nothing of those who have.
        if let Ok(wire) = Wire::connect(&pool.address).await {
            let ended = watch(&pool, wire).await;
            let place = &*pool.address.place;
            tracing::debug!(server = place, ?ended, "the sentinel's session has ended");
            pool.alarm();
        }
        sleep(PAUSE).await;
    }
}

async fn watch(pool: &Pool, mut wire: Wire) -> Result<(), Error> {
    loop {
        let slept = timeout(SLEEP + PATIENCE, wire.ask(format!("DO SLEEP({})", SLEEP.as_secs())));
        // A network that has been cut silently tells nothing, for ever.
        slept.await.map_err(|e| {
            errors::gone(&pool.address.place, "no answer from the server").with_source(e)
        })??;
    }
}
