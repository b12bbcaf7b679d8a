//! The contract's cases, over every backend: `cargo test --test conformance memory::`.
//!
//! A backend is one fixture and one line pair here.

#[path = "support/child.rs"]
mod child;
#[path = "support/scripted.rs"]
mod scripted;

use std::{fs, path::Path, process::Command};

use keyward::{
    Lease, Locks,
    conformance::{Fixture, NotApplicable, Verdict, unique_prefix},
};
use scripted::{Script, Scripted};
use tempfile::TempDir;

/// What the children run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
}

mod memory {
    keyward::conformance_tests!(super::Memory::new());
}

#[cfg(feature = "file")]
mod file {
    keyward::conformance_tests!(super::Files::under(env!("CARGO_TARGET_TMPDIR")));
}

/// The same in memory: another file system has other rules for files that are deleted and made anew.
#[cfg(all(feature = "file", target_os = "linux"))]
mod file_on_tmpfs {
    keyward::conformance_tests!(super::Files::under("/dev/shm"));
}

/// The backend that the other tests rest on.
mod scripted_plain {
    keyward::conformance_tests!(super::Fake::new(super::Script::default()));
}

/// It passes holds on, admits readers, and does not answer at once.
mod scripted_slow {
    keyward::conformance_tests!(super::Fake::new(super::Script {
        passes_on: true,
        admits_readers: true,
        turns: 2,
        ..super::Script::default()
    }));
}

struct Memory {
    url: String,
}

impl Memory {
    fn new() -> Self {
        Self { url: format!("memory:{}", unique_prefix()) }
    }
}

impl Fixture for Memory {
    async fn connect(&self) -> Locks {
        Locks::connect(&self.url).await.unwrap()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, _: &Lease) -> Verdict {
        Err(NotApplicable::because("nothing takes a hold of memory: away"))
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Err(NotApplicable::because("memory: ends at the process"))
    }
}

/// A directory of its own, deleted in the end.
struct Files {
    directory: TempDir,
}

impl Files {
    fn under(parent: impl AsRef<Path>) -> Self {
        Self { directory: TempDir::new_in(parent).unwrap() }
    }

    fn url(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }
}

impl Fixture for Files {
    async fn connect(&self) -> Locks {
        Locks::connect(self.url()).await.unwrap()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    /// Deletes every lock file: the case holds no other lease then.
    async fn sever(&self, _: &Lease) -> Verdict {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        Ok(())
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Ok(child::command("child_entry", &self.url()))
    }
}

struct Fake(Scripted);

impl Fake {
    fn new(script: Script) -> Self {
        Self(Scripted::new(script))
    }
}

impl Fixture for Fake {
    async fn connect(&self) -> Locks {
        self.0.locks()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, lease: &Lease) -> Verdict {
        assert!(self.0.sever(lease.name().as_bytes()), "{lease:?} is not held");
        Ok(())
    }
}
