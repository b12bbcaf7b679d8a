//! What this process and others use: as the kernel counts it, and as our allocator does.
#![allow(unsafe_code, reason = "a counting allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    server::Server,
    sessions::{millis, secs},
    stage::{Backend, Stage},
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that this process has allocated and not freed.
pub(crate) fn live() -> usize {
    LIVE.load(Relaxed)
}

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

/// In KiB; without what is mapped from files, such as code that has not run before.
pub(crate) fn resident() -> u64 {
    status(std::process::id(), "RssAnon")
}

/// Gives back to the kernel what is allocated no more.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> i32;
        }
        // SAFETY: glibc's, of any thread at any time.
        unsafe { malloc_trim(0) };
    }
}

/// Open descriptors, without the one that looks.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Of all threads of a process: how long they have run, and how often they were put on a processor.
pub(crate) fn ran(pid: u32) -> (Duration, u64) {
    let (mut time, mut turns) = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let mut words = text.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        time += words.next().unwrap();
        turns += words.nth(1).unwrap();
    }
    (Duration::from_nanos(time), turns)
}

/// The end of a thread, without another one that waits for it.
pub(crate) async fn joined<T>(thread: thread::JoinHandle<T>) -> thread::Result<T> {
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    thread.join()
}

/// Jain's index of how evenly something is shared: 1 if all have the same, 1/n if one has it all.
pub(crate) fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|&it| it as f64).sum();
    let squares: f64 = shares.iter().map(|&it| (it as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Whoever is connected to the row's server, if it has one.
pub(crate) async fn sessions(stage: &Stage) -> u64 {
    match stage.backend {
        Backend::MySql(kind) => kind.shared().connections().await,
        _ => 0,
    }
}

/// Nobody is, soon after the locks were closed.
pub(crate) async fn no_session_is_left(stage: &Stage, server: &Server) {
    let begun = Instant::now();
    while server.connections().await > 0 && begun.elapsed() < secs(10) {
        tokio::time::sleep(millis(5)).await;
    }
    let left = server.connections().await;
    stage.check(left == 0, || format!("{left} sessions are left"));
}

#[test]
fn what_is_counted() {
    let before = live();
    let block = vec![0_u8; 1 << 24];
    assert!(live() >= before + (1 << 23), "other tests do not free that much");
    drop(block);
    assert!(descriptors() > 0 && threads() > 0 && resident() > 100);
    let (time, turns) = ran(std::process::id());
    assert!(time > Duration::ZERO && turns > 0);
    assert!((jain(&[5, 5, 5]) - 1.0).abs() < 1e-9);
    assert!((jain(&[6, 0, 0]) - 1.0 / 3.0).abs() < 1e-9);
}
