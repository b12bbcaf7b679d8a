//! The test binary as another process: it runs itself again, for one test that serves the cases.
//!
//! The child ends with its input, and is killed when the thread that has started it ends: nothing is
//! left behind, however the parent dies.

#![allow(dead_code, reason = "each of the test binaries that have it uses a part of it")]

use std::{env, process::Command};

use keyward::Locks;

/// The URL that a child connects to; without it, the entry test has nothing to do.
const URL: &str = "KEYWARD_TEST_CHILD";

/// The command for a child that connects to the URL; `entry` is the path of the test that calls [`run`].
pub(crate) fn command(entry: &str, url: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([entry, "--exact", "--nocapture", "--test-threads=1"]).env(URL, url);
    command
}

/// The child's side, within its entry test.
pub(crate) fn run() {
    run_with(async |url| Locks::connect(url).await.unwrap());
}

/// The same where the URL is not one of keyward's.
pub(crate) fn run_with(connect: impl AsyncFnOnce(String) -> Locks) {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        keyward::conformance::serve(connect(url).await).await;
    });
}

#[cfg(target_os = "linux")]
fn die_with_the_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};

    // A parent that was gone before this is noticed by the end of the input.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn die_with_the_parent() {}
