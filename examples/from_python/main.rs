//! A Rust service beside a Python one: both lock `cinder-vol-42`, and neither runs while the other
//! does. See the README beside this file.
//!
//! `cargo run --example from_python` (with tooz installed for `python3`, or for the interpreter that
//! `KEYWARD_TEST_PYTHON` names)

use std::{env, fs, process::Command, time::Duration};

use keyward::Locks;

const ROUNDS: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = env::temp_dir().join(format!("keyward-python-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let (state, counter) = (dir.join("state"), dir.join("counter"));
    fs::write(&counter, "0")?;

    let python = env::var("KEYWARD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/from_python/cinder_style.py");
    let arguments = [script.as_ref(), state.as_os_str(), counter.as_os_str()];
    let mut service = Command::new(python).args(arguments).arg(ROUNDS.to_string()).spawn()?;

    // What Cinder has as `[coordination] backend_url = file://$state_path`, and its prefix. Python
    // polls, so we leave it a gap now and then.
    let url = format!("file://{}?polite=150ms", state.display());
    let locks = Locks::builder().prefix("cinder-").connect(url).await?;
    for _ in 0..ROUNDS {
        let lease = locks.lock_named("vol-42").timeout(Duration::from_secs(60)).await?;
        let count: u64 = fs::read_to_string(&counter)?.parse()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        fs::write(&counter, (count + 1).to_string())?;
        lease.release().await?;
    }
    let served = service.wait()?;
    let count: u64 = fs::read_to_string(&counter)?.parse()?;
    fs::remove_dir_all(&dir)?;
    assert!(served.success(), "the Python service has failed: is tooz installed for it?");
    println!("{count} of {} increments, by two languages", 2 * ROUNDS);
    assert_eq!(count, 2 * ROUNDS, "increments were lost: the lock is broken");
    Ok(())
}
