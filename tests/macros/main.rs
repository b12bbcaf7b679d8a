//! What `#[keyward::synchronized]` promises, one file per concern. Calls are polled by hand.
//! What must not compile is in `macros/tests`, where its words do not depend on the features of this crate.

mod compiles;
mod ends;
mod locks;
mod pedantic;
mod registry;

#[path = "../support/scripted.rs"]
mod scripted;

use std::{fs, path::PathBuf};

use keyward::{Locks, memory::MemoryBackend};

/// A store of its own in this process.
fn memory() -> Locks {
    Locks::builder().backend(MemoryBackend::new())
}

/// A directory of lock files that goes with the test.
struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    async fn locks(&self) -> Locks {
        Locks::connect(format!("file://{}", self.0.path().display())).await.unwrap()
    }

    /// Takes the lock away from whoever holds it.
    fn remove(&self, name: &str) {
        let file: PathBuf = self.0.path().join(name);
        fs::remove_file(file).unwrap();
    }
}
