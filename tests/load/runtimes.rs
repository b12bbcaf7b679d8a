//! Row 24: runtimes that end with locks held and waits queued, two runtimes, one of a single thread, and
//! drops where there is none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyward::{Lease, LockRegistry, Locks};
use tokio::runtime::{Builder, Runtime};

use crate::{
    measure::{joined, threads},
    sessions::{SLACK, millis, name, secs, soon},
    stage::{Backend, Stage},
};

/// How many wait for what is held when the runtime ends.
const QUEUED: usize = 5;

/// What a shutdown may take, and the store to see it: a second, and a busy machine.
const LIMIT: Duration = Duration::from_secs(1).saturating_add(SLACK);

#[derive(Clone, Copy, Debug)]
enum End {
    InTheBackground,
    AtOnce,
    Dropped,
}

fn runtime(i: usize) -> Runtime {
    let mut builder = if i.is_multiple_of(2) {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Ends it in one of the ways, by a thread that is in no runtime; how long that took.
async fn end(runtime: Runtime, i: usize) -> Duration {
    let how = [End::InTheBackground, End::AtOnce, End::Dropped][i / 2 % 3];
    let ended = thread::spawn(move || {
        let begun = Instant::now();
        match how {
            End::InTheBackground => runtime.shutdown_background(),
            End::AtOnce => runtime.shutdown_timeout(Duration::ZERO),
            End::Dropped => drop(runtime),
        }
        begun.elapsed()
    });
    joined(ended).await.unwrap_or_else(|_| panic!("a panic at the end of a runtime, {how:?}"))
}

pub(crate) async fn that_end(stage: Arc<Stage>) {
    if matches!(stage.backend, Backend::Registry) {
        return keys(&stage).await;
    }
    let other = Locks::connect(stage.url("ttl=30")).await.unwrap();
    stage.each(1, async |i| one(&stage, &other, i).await).await;
    between_two(&stage, {
        let (one, two) = (other.clone(), Locks::connect(stage.url("ttl=30")).await.unwrap());
        move |thread, name| {
            let locks = if thread == 0 { one.clone() } else { two.clone() };
            async move {
                locks.lock_named(name).await.unwrap().release().await.unwrap();
            }
        }
    })
    .await;
    soon("closing", other.close()).await;
}

/// A runtime that has everything of its own.
async fn one(stage: &Arc<Stage>, other: &Locks, i: usize) {
    let (held, kept) = (name("held"), name("kept"));
    let (url, names) = (stage.url("ttl=30"), [held.clone(), kept.clone()]);
    let before = threads();
    let set_up = thread::spawn(move || {
        let doomed = runtime(i);
        let (locks, lease) = doomed.block_on(async {
            let [held, kept] = names;
            let locks = Locks::connect(url).await.unwrap();
            let (holds, is_held) = tokio::sync::oneshot::channel();
            let (inner, wanted) = (locks.clone(), held.clone());
            tokio::spawn(async move {
                let _lease = inner.lock_named(wanted).await.unwrap();
                holds.send(()).unwrap();
                std::future::pending::<()>().await;
            });
            is_held.await.unwrap();
            for _ in 0..QUEUED {
                tokio::spawn(locks.lock_named(held.clone()).into_future());
            }
            while locks.inspect(&held).await.unwrap().waiters < QUEUED {
                tokio::time::sleep(millis(1)).await;
            }
            let lease = locks.lock_named(kept).await.unwrap();
            (locks, lease)
        });
        (doomed, locks, lease)
    });
    let (doomed, locks, lease): (Runtime, Locks, Lease) = joined(set_up).await.unwrap();
    let begun = Instant::now();
    let took = end(doomed, i).await;
    stage.took_at_most("the runtime ends", took, LIMIT);
    let next = other.lock_named(&held).timeout(secs(20)).await;
    stage.took_at_most("what a task of it held is free", begun.elapsed(), LIMIT);
    drop(next.unwrap().release().await);
    // What is left of it goes wherever, also where there is no runtime.
    let begun = Instant::now();
    let gone = joined(thread::spawn(|| drop((lease, locks)))).await;
    stage.check(gone.is_ok(), || "a panic when a lease was dropped".to_owned());
    stage.took_at_most("it is dropped outside of one", begun.elapsed(), LIMIT);
    let next = other.lock_named(&kept).timeout(secs(20)).await;
    stage.took_at_most("what was dropped outside of it is free", begun.elapsed(), LIMIT);
    drop(next.unwrap().release().await);
    if let Backend::MySql(kind) = stage.backend {
        crate::sessions::until_clean(kind.shared(), &[&held, &kept], LIMIT).await;
    }
    let begun = Instant::now();
    while threads() > before + 2 && begun.elapsed() < LIMIT {
        tokio::time::sleep(millis(5)).await;
    }
    let after = threads();
    stage.check(after <= before + 2, || format!("{before} threads, and then {after}"));
}

/// A runtime of one thread and one of several take turns at one name.
async fn between_two<F: Future<Output = ()> + Send>(
    stage: &Arc<Stage>,
    lock: impl Fn(usize, &'static str) -> F + Clone + Send + 'static,
) {
    let had = Arc::new(AtomicUsize::new(0));
    let rounds = 20 * stage.runs.min(50);
    let both = (0..2).map(|thread| {
        let (lock, had) = (lock.clone(), Arc::clone(&had));
        thread::spawn(move || {
            runtime(thread).block_on(async {
                for _ in 0..rounds {
                    lock(thread, "between").await;
                    had.fetch_add(1, Ordering::Relaxed);
                }
            });
        })
    });
    let both: Vec<_> = both.collect();
    let begun = Instant::now();
    for one in both {
        let ended = crate::sessions::within(secs(120), "two runtimes", joined(one)).await;
        stage.check(ended.is_ok(), || "a panic in one of two runtimes".to_owned());
    }
    let had = had.load(Ordering::Relaxed);
    stage.check(had == 2 * rounds, || format!("{had} of {}", 2 * rounds));
    stage.note(format!("two runtimes had one name {had} times in {:.1?}", begun.elapsed()));
}

async fn keys(stage: &Arc<Stage>) {
    let registry = LockRegistry::<String>::new();
    stage
        .each(1, async |i| {
            let inner = registry.clone();
            let set_up = thread::spawn(move || {
                let doomed = runtime(i);
                let guard = doomed.block_on(async {
                    for _ in 0..=QUEUED {
                        let inner = inner.clone();
                        tokio::spawn(async move {
                            let _guard = inner.lock_named("held").await;
                            std::future::pending::<()>().await;
                        });
                    }
                    while inner.waiters("held") < QUEUED {
                        tokio::task::yield_now().await;
                    }
                    inner.lock_named("kept").await
                });
                (doomed, guard)
            });
            let (doomed, guard) = joined(set_up).await.unwrap();
            let begun = Instant::now();
            let took = end(doomed, i).await;
            stage.took_at_most("the runtime ends", took, LIMIT);
            drop(soon("what it held", registry.lock_named("held")).await);
            stage.took_at_most("what a task of it held is free", begun.elapsed(), LIMIT);
            let gone = joined(thread::spawn(|| drop(guard))).await;
            stage.check(gone.is_ok(), || "a panic when a guard was dropped".to_owned());
            stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
        })
        .await;
    let both = registry.clone();
    between_two(stage, move |_, name| {
        let registry = both.clone();
        async move { drop(registry.lock_named(name).await) }
    })
    .await;
    stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
}
