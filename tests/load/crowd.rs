//! Row 30: ten thousand tasks that wait for one name; row 29: a hundred thousand names, each once.

use std::{
    fs,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use keyward::{LockRegistry, Locks};

use crate::{
    measure::{descriptors, live, no_session_is_left, resident, sessions, threads},
    sessions::{millis, secs, within},
    stage::{Backend, Stage, Store},
};

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whatever is asked, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Until a number of this process is back at most where it was; how long that took.
async fn until_at_most<T: PartialOrd>(look: impl Fn() -> T, limit: T) -> bool {
    let begun = Instant::now();
    while look() > limit {
        if begun.elapsed() > secs(10) {
            return false;
        }
        tokio::time::sleep(millis(5)).await;
    }
    true
}

/// Who holds the name that all wait for.
enum Holder {
    Guard(keyward::NamedGuard),
    Lease(keyward::Lease),
}

fn is_pending(wait: &mut Wait) -> bool {
    wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// The order in which they had it, and when.
type Grants = Arc<Mutex<Vec<(usize, Instant)>>>;

/// For how long nobody has it while all want it, at most. A waiter whose wake-up is lost looks again by itself
/// 5 s after it has asked, to warn: so nobody would wait for ever, and nothing else would show it.
const STANDSTILL: Duration = Duration::from_secs(3);

/// A held name, and how somebody waits for it who, when he has it, says that he is the `i`-th and lets go.
struct Crowd {
    holder: Holder,
    registry: LockRegistry,
    /// Of a backend of leases: those in which all wait.
    locks: Option<Locks>,
    grants: Grants,
}

impl Crowd {
    async fn new(stage: &Stage) -> Self {
        let registry = LockRegistry::new();
        let grants = Grants::default();
        if matches!(stage.backend, Backend::Registry) {
            let holder = Holder::Guard(registry.try_lock_named("crowd").unwrap());
            return Self { holder, registry, locks: None, grants };
        }
        let url = stage.url("");
        let (locks, other) = (Locks::connect(&*url).await.unwrap(), Locks::connect(url).await);
        // Held elsewhere, so that the first in the queue asks the store.
        let holder = Holder::Lease(other.unwrap().lock_named("crowd").await.unwrap());
        Self { holder, registry, locks: Some(locks), grants }
    }

    fn wait(&self, i: usize) -> Wait {
        let grants = Arc::clone(&self.grants);
        let Some(locks) = &self.locks else {
            let registry = self.registry.clone();
            return Box::pin(async move {
                let _guard = registry.lock_named("crowd").await;
                grants.lock().unwrap().push((i, Instant::now()));
            });
        };
        let wait = locks.lock_named("crowd").into_future();
        Box::pin(async move {
            let lease = wait.await.unwrap();
            grants.lock().unwrap().push((i, Instant::now()));
            lease.release().await.unwrap();
        })
    }

    async fn waiters(&self) -> usize {
        match &self.locks {
            None => self.registry.waiters("crowd"),
            Some(locks) => locks.inspect("crowd").await.unwrap().waiters,
        }
    }
}

/// Served in the order of asking; one session on a server, and no thread for each.
pub(crate) async fn on_one_name(stage: Arc<Stage>) {
    let count = stage.runs;
    let crowd = Crowd::new(&stage).await;
    // One wait that is given up: what is opened or started once for all is there after this.
    let mut first = crowd.wait(0);
    assert!(is_pending(&mut first));
    tokio::time::sleep(millis(100)).await;
    drop(first);
    tokio::time::sleep(millis(300)).await;
    let (threads_before, sessions_before) = (threads(), sessions(&stage).await);
    let mut waits = Vec::with_capacity(count);
    let live_before = live();
    for i in 0..count {
        let mut wait = crowd.wait(i);
        // The order of asking is that of the first polls.
        stage.check(is_pending(&mut wait), || format!("the {i}-th does not wait"));
        waits.push(wait);
    }
    let bytes = live().saturating_sub(live_before) / count;
    let tasks: Vec<_> = waits.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(millis(300)).await;
    let waiting = crowd.waiters().await;
    stage.check(waiting == count, || format!("{waiting} wait, not {count}"));
    let sessions_then = sessions(&stage).await;
    let threads_added = threads().saturating_sub(threads_before);
    let sessions_added = sessions_then.saturating_sub(sessions_before);
    stage.check(threads_added <= 1, || format!("{threads_added} threads for {count} waits"));
    stage.check(sessions_added <= 1, || format!("{sessions_added} sessions for {count} waits"));
    let begun = Instant::now();
    let Crowd { holder, registry, locks, grants } = crowd;
    match holder {
        Holder::Guard(guard) => drop(guard),
        Holder::Lease(lease) => drop(lease.release().await.unwrap()),
    }
    for task in tasks {
        let task = within(PATIENCE, "all of them", task).await;
        stage.check(task.is_ok(), || "a panic".to_owned());
        stage.ran();
    }
    let drained = begun.elapsed();
    stage.took("until all have had it", drained);
    let order = std::mem::take(&mut *grants.lock().unwrap());
    let inversions = order.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    let times = std::iter::once(begun).chain(order.iter().map(|(_, time)| *time));
    let standstill = times.clone().zip(times.skip(1)).map(|(one, next)| next - one).max();
    let standstill = standstill.unwrap_or(Duration::MAX);
    stage.check(standstill < STANDSTILL, || format!("nobody had it for {standstill:?}"));
    stage.check(order.len() == count, || format!("{} of {count} had it", order.len()));
    stage.check(inversions == 0, || format!("{inversions} had it before who came earlier"));
    stage.check(registry.is_empty(), || "a key is left".to_owned());
    if let Some(locks) = locks {
        let left = locks.inspect("crowd").await.unwrap();
        stage.check(left.waiters == 0 && !left.is_held(), || format!("{left:?} is left"));
        within(secs(10), "closing", locks.close()).await;
    }
    stage.note(format!(
        "{count} waits, {bytes} bytes each, {threads_added} more threads and {sessions_added} more \
         sessions for them ({sessions_then} with the holder's), {inversions} inversions, {:.1} µs each to drain",
        drained.as_secs_f64() * 1e6 / count as f64
    ));
}

/// How many lock files there are, those of the queue included.
fn files(stage: &Stage) -> usize {
    let Backend::File = stage.backend else { return 0 };
    let Store::File(dir) = stage.store() else { return 0 };
    fs::read_dir(dir).unwrap().count()
}

/// Nothing grows with the names that there have been.
pub(crate) async fn of_names(stage: Arc<Stage>) {
    let registry = LockRegistry::<String>::new();
    let locks = match stage.backend {
        Backend::Registry => None,
        _ => Some(Locks::connect(stage.url("")).await.unwrap()),
    };
    let some = async |names: std::ops::Range<usize>| {
        let once = stream::iter(names).map(|i| {
            let (registry, locks, stage) = (registry.clone(), locks.clone(), Arc::clone(&stage));
            tokio::spawn(async move {
                let name = format!("volume-{i:08}");
                match locks {
                    None => drop(registry.lock_named(&name).await),
                    // Released, and dropped, by turns.
                    Some(locks) => match locks.lock_named(name).await {
                        Ok(lease) if i % 2 == 0 => drop(lease.release().await.unwrap()),
                        Ok(lease) => drop(lease),
                        Err(e) => stage.violation(format!("{i}: {e}")),
                    },
                }
                stage.ran();
            })
        });
        once.buffer_unordered(32).for_each(async |it| it.unwrap()).await;
    };
    // A tenth first: what is kept for reuse is there after it.
    let (tenth, begun) = (stage.runs / 10, Instant::now());
    some(0..tenth).await;
    tokio::time::sleep(millis(300)).await;
    let before = (live(), resident(), descriptors(), threads(), sessions(&stage).await);
    let most_sessions = before.4 + 16;
    some(tenth..stage.runs).await;
    stage.took("all of them", begun.elapsed());
    let at_once = sessions(&stage).await;
    stage.check(at_once <= most_sessions, || format!("{at_once} sessions"));
    let slack = 64 << 10;
    let is_small = until_at_most(live, before.0 + slack).await;
    let after = (live(), resident(), descriptors(), threads(), at_once);
    stage.check(is_small, || format!("{} bytes before, and {} after", before.0, after.0));
    let grown = after.1.saturating_sub(before.1);
    stage.check(grown <= 4096, || format!("{grown} KiB more are resident"));
    stage.check(after.2 <= before.2 + 32, || format!("{} files, then {}", before.2, after.2));
    stage.check(after.3 <= before.3 + 2, || format!("{} threads, then {}", before.3, after.3));
    stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
    let mut collected = String::new();
    if let Some(locks) = locks {
        let named = files(&stage);
        let removed = locks.collect_garbage(Duration::ZERO).await.unwrap();
        let left = files(&stage);
        if matches!(stage.backend, Backend::File) {
            stage.check(left <= 64, || format!("{left} files are left of {named}"));
            collected = format!(", {named} lock files, {removed} collected, {left} left");
        }
        for i in (0..stage.runs).step_by(stage.runs / 50) {
            let status = locks.inspect(format!("volume-{i:08}")).await.unwrap();
            stage.check(!status.is_held() && status.waiters == 0, || format!("{status:?}"));
        }
        within(secs(10), "closing", locks.close()).await;
        if let Backend::MySql(kind) = stage.backend {
            no_session_is_left(&stage, kind.shared()).await;
        }
    }
    stage.note(format!(
        "{} names, then {} KiB more resident, {} bytes more allocated, {} more descriptors, {} more \
         threads, {at_once} sessions{collected}",
        stage.runs,
        grown,
        after.0.cast_signed() - before.0.cast_signed(),
        after.2.cast_signed() - before.2.cast_signed(),
        after.3.cast_signed() - before.3.cast_signed(),
    ));
}
