//! Without a contender: one name again and again, and names for the first time.

use std::{
    fs::{self, File},
    future::Future,
    hint::black_box,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    sync::Arc,
    time::Instant,
};

use distributed_lock_core::traits::DistributedLock;
use keyward::Locks;
use keyward_benches::{
    clock::per_operation,
    crew::{Outcome, text},
    report::{Report, Run, keep_those_that_run},
};
use tokio::{runtime::Runtime, task::spawn_blocking};

use crate::{
    bare, crew,
    peers::{Who, connect, distributed, folder},
};

pub(crate) const HOT: &str = "uncontended, one name";
pub(crate) const FIRST: &str = "uncontended, first acquisition of a name";
pub(crate) const ON: &str = "keyward, fencing=on (the default)";
pub(crate) const OFF: &str = "keyward, fencing=off";

/// Enough that what a process does once, such as opening the queue's files, is little beside them.
const NAMES: usize = 2000;

/// Runs a task to its end, on its runtime.
fn in_task<T: Send + 'static>(
    runtime: &Runtime,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(task).await.expect("the task ends") })
}

pub(crate) fn run(report: &mut Report, scratch: &Path) {
    let runtime: &'static Runtime = Box::leak(Box::new(Who::Keyward.runtime()));
    if report.wants(HOT) {
        let mut runs = bare_runs(scratch).expect("the bare calls work");
        let others: [(&'static str, Outcome<Run>); 6] = [
            (ON, keyward_run(runtime, scratch, "on")),
            (OFF, keyward_run(runtime, scratch, "off")),
            (Who::Fasteners.name(), python_run(scratch, Who::Fasteners)),
            (Who::Oslo.name(), python_run(scratch, Who::Oslo)),
            (Who::Std.name(), std_run(runtime, scratch)),
            (Who::DistributedLock.name(), distributed_run(runtime, scratch)),
        ];
        keep_those_that_run(&mut runs, others);
        report.workload(HOT, runs);
    }
    if report.wants(FIRST) {
        let mut runs = vec![bare_first(scratch).expect("the bare calls work")];
        let ours = [("on", ON), ("off", OFF)];
        keep_those_that_run(
            &mut runs,
            ours.map(|(fencing, name)| (name, keyward_first(runtime, scratch, fencing, name))),
        );
        report.workload(FIRST, runs);
    }
}

/// The first is what keyward does as well: it looks whether the name still is the file it has locked.
fn bare_runs(scratch: &Path) -> Outcome<Vec<Run>> {
    let folder = folder(scratch, "hot", Who::Bare)?;
    let file = bare::open(&folder).map_err(text)?;
    let directory = File::open(&folder).map_err(text)?;
    let inode = file.metadata().map_err(text)?.ino();
    let again = file.try_clone().map_err(text)?;
    let checked = move |_| {
        let start = Instant::now();
        for _ in 0..20_000 {
            assert!(bare::try_lock(&file).ok()?);
            assert_eq!(bare::inode(&directory, bare::NAME).ok()?, inode);
            bare::unlock(&file).ok()?;
        }
        Some(per_operation(start, 20_000))
    };
    let unchecked = move |_| {
        let start = Instant::now();
        for _ in 0..20_000 {
            assert!(bare::try_lock(&again).ok()?);
            bare::unlock(&again).ok()?;
        }
        Some(per_operation(start, 20_000))
    };
    Ok(vec![
        ("bare OFD lock + fstatat + unlock (T)", Box::new(checked)),
        ("bare OFD lock + unlock (B)", Box::new(unchecked)),
    ])
}

fn keyward_run(runtime: &'static Runtime, scratch: &Path, fencing: &str) -> Outcome<Run> {
    async fn repeat(locks: Locks) -> Option<f64> {
        let start = Instant::now();
        for _ in 0..20_000 {
            let lease = locks.lock_named(bare::NAME).await.ok()?;
            black_box(&lease);
        }
        Some(per_operation(start, 20_000))
    }
    let folder = folder(scratch, &format!("hot-{fencing}"), Who::Keyward)?;
    let locks = runtime.block_on(connect(&folder, &format!("?fencing={fencing}")))?;
    let name = if fencing == "on" { ON } else { OFF };
    Ok((name, Box::new(move |_| in_task(runtime, repeat(locks.clone())))))
}

fn python_run(scratch: &Path, who: Who) -> Outcome<Run> {
    let folder = folder(scratch, "hot", who)?;
    let mut member = crew::start(who, &folder)?;
    Ok((who.name(), Box::new(move |_| member.ask("hot 1000").ok())))
}

fn std_run(runtime: &'static Runtime, scratch: &Path) -> Outcome<Run> {
    let file = Arc::new(bare::open(&folder(scratch, "hot", Who::Std)?).map_err(text)?);
    let repeat = move |_| {
        let file = Arc::clone(&file);
        in_task(runtime, async move {
            let start = Instant::now();
            for _ in 0..1000 {
                let locked = Arc::clone(&file);
                spawn_blocking(move || locked.lock()).await.ok()?.ok()?;
                file.unlock().ok()?;
            }
            Some(per_operation(start, 1000))
        })
    };
    Ok((Who::Std.name(), Box::new(repeat)))
}

fn distributed_run(runtime: &'static Runtime, scratch: &Path) -> Outcome<Run> {
    let lock = Arc::new(distributed(&folder(scratch, "hot", Who::DistributedLock)?)?);
    let repeat = move |_| {
        let lock = Arc::clone(&lock);
        in_task(runtime, async move {
            let start = Instant::now();
            for _ in 0..1000 {
                let handle = lock.acquire(None).await.ok()?;
                drop(black_box(handle));
            }
            Some(per_operation(start, 1000))
        })
    };
    Ok((Who::DistributedLock.name(), Box::new(repeat)))
}

/// Files that exist, as those of a name that somebody has locked before.
fn names(folder: &Path) -> Outcome<Vec<String>> {
    let names: Vec<String> = (0..NAMES).map(|n| format!("vol-{n}")).collect();
    for name in &names {
        fs::write(folder.join(name), "").map_err(text)?;
    }
    Ok(names)
}

fn bare_first(scratch: &Path) -> Outcome<Run> {
    use nix::{
        fcntl::{OFlag, openat},
        sys::stat::{Mode, fstat},
    };
    let folder = folder(scratch, "first", Who::Bare)?;
    let directory = File::open(&folder).map_err(text)?;
    let names = names(&folder)?;
    let flags =
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let each = move |_| {
        let start = Instant::now();
        for name in &names {
            let mode = Mode::from_bits_truncate(0o666);
            let file = File::from(openat(directory.as_fd(), name.as_str(), flags, mode).ok()?);
            assert!(bare::try_lock(&file).ok()?);
            let inode = fstat(&file).ok()?.st_ino;
            assert_eq!(bare::inode(&directory, name).ok()?, inode);
            bare::unlock(&file).ok()?;
        }
        Some(per_operation(start, NAMES))
    };
    Ok(("bare open + OFD lock + fstat + fstatat + unlock + close (T)", Box::new(each)))
}

/// With new `Locks` in each round, which know no name yet; the files have their content since the first.
fn keyward_first(
    runtime: &'static Runtime,
    scratch: &Path,
    fencing: &str,
    label: &'static str,
) -> Outcome<Run> {
    async fn each(locks: Locks, names: Arc<Vec<String>>) -> Option<f64> {
        let start = Instant::now();
        for name in names.iter() {
            let lease = locks.lock_named(name.as_str()).await.ok()?;
            black_box(&lease);
        }
        Some(per_operation(start, NAMES))
    }
    let folder = folder(scratch, &format!("first-{fencing}"), Who::Keyward)?;
    let names = Arc::new(names(&folder)?);
    let query = format!("?fencing={fencing}");
    runtime.block_on(connect(&folder, &query))?;
    let round = move |_| {
        let locks = runtime.block_on(connect(&folder, &query)).ok()?;
        in_task(runtime, each(locks, Arc::clone(&names)))
    };
    Ok((label, Box::new(round)))
}

pub(crate) fn figures(report: &mut Report) {
    let ratio = |workload, name| report.get(workload, name).map(|row| row.ratio);
    let times = |peer: Who| Some(ratio(HOT, peer.name())? / ratio(HOT, ON)?);
    let figures = [
        ("F1.fencing-off", ratio(HOT, OFF), "x(B+fstatat)", "<=1.3"),
        ("F1.fencing-on", ratio(HOT, ON), "x(B+fstatat)", "<=1.3"),
        ("F1.vs-fasteners", times(Who::Fasteners), "x", ">=7"),
        ("F1.vs-oslo", times(Who::Oslo), "x", ">=14"),
        ("F2.fencing-off", ratio(FIRST, OFF), "xB(open..close)", "<=1.4"),
        ("F2.fencing-on", ratio(FIRST, ON), "xB(open..close)", "<=1.4"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}
