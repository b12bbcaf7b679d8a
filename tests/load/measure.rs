//! What this process and others use, as the kernel counts it.

use std::fs;

/// A line of `/proc/<pid>/status`, without its unit.
pub(crate) fn status(pid: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    let value = value.and_then(|it| it.split_whitespace().next());
    value.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("no {line} in {text}"))
}

pub(crate) fn threads() -> u64 {
    status(std::process::id(), "Threads")
}

/// Open descriptors, without the one that looks.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

#[test]
fn what_is_counted() {
    let (files, threads_before) = (descriptors(), threads());
    let _file = fs::File::open("/dev/null").unwrap();
    // Other tests of this process open files as well.
    assert!(descriptors() > 0 && files > 0 && threads_before > 0);
    assert!(status(std::process::id(), "VmRSS") > 100);
}
