//! Row 20: no descriptor or no thread is left.

use std::{fs, os::fd::AsRawFd, sync::Arc, time::Instant};

use futures::FutureExt;
use keyward::{ErrorKind, LockRegistry, Locks};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    files::as_user,
    room::Room,
    sessions::{SLACK, name, soon},
    stage::{Backend, Section, Stage, Store},
};

/// Until it is dropped.
struct Limited(Resource, Rlimit);

impl Limited {
    fn to(resource: Resource, limit: u64) -> Self {
        let usual = getrlimit(resource);
        let limit = Rlimit { current: Some(limit), maximum: usual.maximum };
        setrlimit(resource, limit).unwrap();
        Self(resource, usual)
    }

    /// The lowest number that is free is one too many.
    fn descriptors() -> Self {
        let next = fs::File::open("/dev/null").unwrap().as_raw_fd();
        Self::to(Resource::Nofile, next as u64)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        setrlimit(self.0, self.1).unwrap();
    }
}

/// A typed error for what is new; what is open works, and who waits gets it.
pub(crate) async fn descriptors(stage: Arc<Stage>) {
    let store = stage.store();
    let is_file = matches!(stage.backend, Backend::File);
    let options = if is_file { "" } else { "ttl=30&connect_timeout=1" };
    let (one, two) = (store.connect(options).await, store.connect(options).await);
    let run = async |i| {
        let (held, wanted) = (name("held"), name("wanted"));
        let section = Section::lock(&stage, &one, &held).await;
        let blocking = Section::lock(&stage, &one, &wanted).await;
        let wait = Section::spawn(&stage, &two, &wanted);
        store.until_waiters(&wanted, 1).await;
        let limited = Limited::descriptors();
        let begun = Instant::now();
        let refused = Locks::connect(store.url(options)).await.map(drop);
        let kinds = [ErrorKind::ResourceLimit, ErrorKind::Unavailable];
        let kinds = if is_file { &kinds[..1] } else { &kinds[..] };
        let is_typed = refused.as_ref().is_err_and(|e| kinds.contains(&e.kind()));
        stage.check(is_typed, || format!("connecting: {refused:?}"));
        if is_file {
            let refused = one.lock_named(format!("new-{i}")).await.map(drop);
            let is_typed = refused.as_ref().is_err_and(|e| e.kind() == ErrorKind::ResourceLimit);
            stage.check(is_typed, || format!("a new name: {refused:?}"));
        }
        stage.took_at_most("refused", begun.elapsed(), SLACK);
        let checked = section.lease.ensure_held().await;
        stage.check(checked.is_ok(), || format!("what is held: {checked:?}"));
        let released = blocking.release().await;
        let next = soon("the wait", wait).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant, at the limit", next.at - released, SLACK);
        next.release().await;
        section.release().await;
        drop(limited);
        let raised = Instant::now();
        let again = store.connect(options).await;
        Section::lock(&stage, &again, &format!("new-{i}")).await.release().await;
        stage.took_at_most("a new lock, when it is raised", raised.elapsed(), SLACK);
        soon("closing", again.close()).await;
        if !is_file {
            store.until_clean(&wanted, SLACK).await;
        }
    };
    stage.each(1, run).await;
    stage.judge(4 * stage.runs, None);
}

/// Nothing in memory needs one.
pub(crate) async fn descriptors_in_memory(stage: Arc<Stage>) {
    let registry = LockRegistry::<String>::new();
    let locks = Locks::connect("memory:").await.unwrap();
    let limited = Limited::to(Resource::Nofile, 0);
    let run = async |_| {
        let begun = Instant::now();
        if matches!(stage.backend, Backend::Registry) {
            let guard = registry.lock_named("a").await;
            let mut wait = std::pin::pin!(registry.lock_named("a"));
            stage.check((&mut wait).now_or_never().is_none(), || "two holders".to_owned());
            drop(guard);
            drop(soon("the wait", wait).await);
        } else {
            let section = Section::lock(&stage, &locks, "a").await;
            let wait = Section::spawn(&stage, &locks, "a");
            section.release().await;
            soon("the wait", wait).await.unwrap().unwrap().release().await;
        }
        stage.took_at_most("two locks, one after a wait", begun.elapsed(), SLACK);
    };
    stage.each(1, run).await;
    drop(limited);
    let holds = if matches!(stage.backend, Backend::Registry) { 0 } else { 2 * stage.runs };
    stage.judge(holds, None);
}

/// Without a thread to wait in the kernel with, a wait polls; with one, the next wait waits there.
pub(crate) async fn threads(stage: Arc<Stage>) {
    let [_, room] = Room::both();
    fs::create_dir(room.dir()).unwrap();
    std::os::unix::fs::chown(room.dir(), Some(65_534), None).unwrap();
    let store = Store::File(room.dir());
    // Root has as many as it wants.
    as_user(65_534);
    let run = async |_| {
        let limited = Limited::to(Resource::Nproc, 1);
        let is_limited = std::thread::Builder::new().spawn(|| ()).is_err();
        stage.check(is_limited, || "there is a thread".to_owned());
        let (one, two) = (store.connect("").await, store.connect("").await);
        let name = name("polled");
        let section = Section::lock(&stage, &one, &name).await;
        let wait = Section::spawn(&stage, &two, &name);
        while two.inspect(&*name).await.unwrap().waiters == 0 {
            tokio::task::yield_now().await;
        }
        let released = section.release().await;
        let next = soon("the wait", wait).await.unwrap().unwrap();
        stage.took_at_most("release to the next grant, polled", next.at - released, SLACK);
        drop(limited);
        let raised = Instant::now();
        let wait = Section::spawn(&stage, &one, &name);
        store.until_waiters(&name, 1).await;
        stage.took_at_most("waits in the kernel, when it is raised", raised.elapsed(), SLACK);
        next.release().await;
        soon("the wait", wait).await.unwrap().unwrap().release().await;
        store.until_clean(&name, SLACK).await;
    };
    stage.each(1, run).await;
    as_user(0);
    stage.judge(3 * stage.runs, None);
}
