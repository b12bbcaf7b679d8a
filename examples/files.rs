//! Two processes share a directory of lock files, and a ledger that neither may write while the other
//! does.
//!
//! `cargo run --example files`: the second process is this program again.

use std::{env, fs, path::Path, process::Command, time::Duration};

use keyward::Locks;

const ENTRIES: u64 = 300;

/// One process's work: read, think, write back. Without the lock, entries would be lost.
async fn keep_the_books(dir: &Path, who: &str) -> Result<(), Box<dyn std::error::Error>> {
    let locks = Locks::connect(format!("file://{}/locks", dir.display())).await?;
    let ledger = dir.join("ledger");
    let mut last = None;
    for _ in 0..ENTRIES {
        let lease = locks.lock_named("ledger").timeout(Duration::from_secs(30)).await?;
        // A larger number with every holder, whichever process it is: what a store can check.
        assert!(lease.fencing_token() > last, "tokens increase");
        last = lease.fencing_token();
        let entries: u64 = fs::read_to_string(&ledger)?.parse()?;
        tokio::task::yield_now().await;
        fs::write(&ledger, (entries + 1).to_string())?;
        lease.release().await?;
    }
    println!("{who}: {ENTRIES} entries, the last under token {}", last.expect("there were some"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(dir) = env::args_os().nth(1) {
        return keep_the_books(Path::new(&dir), "second process").await;
    }
    let dir = env::temp_dir().join(format!("keyward-files-{}", std::process::id()));
    fs::create_dir(&dir)?;
    fs::write(dir.join("ledger"), "0")?;

    let mut second = Command::new(env::current_exe()?).arg(&dir).spawn()?;
    keep_the_books(&dir, "first process").await?;

    // Whoever is in the way can be seen, and need not be waited for.
    let locks = Locks::connect(format!("file://{}/locks", dir.display())).await?;
    match locks.try_lock_named("ledger").await {
        Ok(lease) => println!("the ledger is free: {lease:?}"),
        Err(busy) if busy.is_would_block() => println!("{:?}", locks.inspect("ledger").await?),
        Err(failed) => return Err(failed.into()),
    }
    assert!(second.wait()?.success(), "the second process has failed");

    let entries: u64 = fs::read_to_string(dir.join("ledger"))?.parse()?;
    fs::remove_dir_all(&dir)?;
    println!("{entries} entries in the ledger");
    assert_eq!(entries, 2 * ENTRIES, "entries were lost: the lock is broken");
    Ok(())
}
