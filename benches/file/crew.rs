//! The other processes of this bench.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use keyward_benches::crew::{Member, Outcome, again, python};

use crate::{child, peers::Who};

/// A process that locks as one of them does.
pub(crate) fn start(who: Who, directory: &Path) -> Outcome<Member> {
    let mut command = if who.is_python() {
        static FOUND: OnceLock<Outcome<PathBuf>> = OnceLock::new();
        let (imports, packages) =
            ("import fasteners, oslo_concurrency", "oslo.concurrency==7.6.1 and fasteners==0.20");
        let mut command = Command::new(FOUND.get_or_init(|| python(imports, packages)).clone()?);
        command.args(["-c", include_str!("peers.py")]);
        command
    } else {
        again(child::HIDDEN)?
    };
    command.arg(who.argument()).arg(directory);
    Member::start(command)
}

pub(crate) fn several(who: Who, directory: &Path, count: usize) -> Outcome<Vec<Member>> {
    (0..count).map(|_| start(who, directory)).collect()
}
