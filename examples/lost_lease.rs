//! A lease can be lost while it is held: here somebody deletes the lock file. The work stops, and what
//! was written too late would be refused.
//!
//! `cargo run --example lost_lease`

use std::{
    env, fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use keyward::{FencingToken, LeaseState, Locks, Released};
use tokio::time::sleep;

/// A store that remembers the largest token it has seen and refuses smaller ones: the one thing that
/// stops a holder who has not heard yet that it is none.
#[derive(Default)]
struct Store {
    newest: AtomicU64,
}

impl Store {
    fn write(&self, token: Option<FencingToken>) -> bool {
        let token = token.expect("exclusive leases of files have tokens").get();
        self.newest.fetch_max(token, Ordering::SeqCst) <= token
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = env::temp_dir().join(format!("keyward-lost-{}", std::process::id()));
    let url = format!("file://{}", dir.display());
    let (locks, other_process) = (Locks::connect(&url).await?, Locks::connect(&url).await?);
    let store = Store::default();

    let lease = locks.lock_named("volume").await?;
    assert!(store.write(lease.fencing_token()));

    let file = dir.join("volume");
    let vandal = tokio::spawn(async move {
        sleep(Duration::from_millis(50)).await;
        fs::remove_file(file)
    });

    let mut steps = 0;
    let work = async {
        loop {
            sleep(Duration::from_millis(10)).await;
            steps += 1;
        }
    };
    let stopped: keyward::Error = match lease.run(work).await {
        Ok(never) => never,
        Err(stopped) => stopped,
    };
    vandal.await??;
    println!("stopped after {steps} steps: {stopped}");
    assert!(stopped.is_lost() && matches!(lease.state(), LeaseState::Lost(_)));

    // Others can lock the name now, and their writes are newer.
    let next = other_process.try_lock_named("volume").await?;
    assert!(store.write(next.fencing_token()));
    assert!(!store.write(lease.fencing_token()), "the late write was accepted");
    println!("a late write of the old holder is refused");

    assert_eq!(lease.release().await?, Released::WasLost);
    assert_eq!(next.release().await?, Released::Released);
    fs::remove_dir_all(dir)?;
    Ok(())
}
