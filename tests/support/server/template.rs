//! Data directories: one of each kind is made, which takes seconds, and the servers get copies.
//!
//! The originals stay where cargo builds, for the next run.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
};

use super::Kind;

/// To be raised when the originals are made in another way.
const EDITION: u32 = 1;

/// An account for the tests' own questions, so that they are not counted among the clients.
pub(super) const OBSERVER: &str = "observer";

/// The original for a kind, made now if it is not there yet.
pub(super) fn prepare(kind: &Kind) -> PathBuf {
    let parent = parent();
    fs::create_dir_all(&parent).unwrap();
    let version = kind.version().replace('/', "_");
    let original = parent.join(format!("server-{version}-{EDITION}"));
    // One process makes it, the others wait. The name appears when all is in it.
    let lock = File::create(original.with_added_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !original.exists() {
        let unfinished = original.with_added_extension("unfinished");
        drop(fs::remove_dir_all(&unfinished)); // of a run that was killed
        make(kind, &unfinished);
        fs::rename(&unfinished, &original).unwrap();
    }
    original
}

fn make(kind: &Kind, data: &Path) {
    let sql = data.with_added_extension("sql");
    // Until the flush, there are no accounts.
    let text = format!(
        "FLUSH PRIVILEGES;\n\
         CREATE USER {OBSERVER}@localhost;\n\
         GRANT ALL PRIVILEGES ON *.* TO {OBSERVER}@localhost WITH GRANT OPTION;\n"
    );
    fs::write(&sql, text).unwrap();
    let tmp = data.with_added_extension("tmp");
    fs::create_dir_all(&tmp).unwrap();
    let output = kind.initialise(data, &sql).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{kind} makes no data directory:\n{stdout}{stderr}");
    fs::remove_file(sql).unwrap();
    fs::remove_dir_all(tmp).unwrap();
    // The identity of a MySQL server; each copy makes its own.
    drop(fs::remove_file(data.join("auto.cnf")));
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn parent() -> PathBuf {
    // Examples are not told; theirs is then beside them.
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(
        || env::current_exe().unwrap().with_file_name("servers"),
        |tmp| Path::new(tmp).join("servers"),
    )
}
