//! Row 34: A then B, and B then A.
//!
//! Nothing finds such a circle, as the docs say: the limit of the wait does, with a typed error. With
//! `lock_all` there is none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{ErrorKind, LockRegistry, Locks};

use crate::{
    sessions::{SLACK, millis, secs, soon, within},
    stage::{Backend, Stage},
};

/// The limits differ, so that one of both is let through.
const LIMITS: [Duration; 2] = [Duration::from_millis(150), Duration::from_secs(20)];

pub(crate) async fn of_two(stage: Arc<Stage>) {
    match stage.backend {
        Backend::Registry => of_keys(&stage).await,
        _ => of_leases(&stage).await,
    }
}

async fn of_keys(stage: &Stage) {
    let registry = LockRegistry::<String>::new();
    stage
        .each(1, async |_| {
            let (a, b) = (registry.lock_named("a").await, registry.lock_named("b").await);
            let [first, second] = [("b", LIMITS[0], a), ("a", LIMITS[1], b)].map(|it| {
                let registry = registry.clone();
                tokio::spawn(async move {
                    let (name, limit, held) = it;
                    let begun = Instant::now();
                    let other = registry.lock_named(name).timeout(limit).await;
                    drop(held);
                    (other.is_ok(), begun.elapsed())
                })
            });
            let (had, took) = soon("the one", first).await.unwrap();
            stage.check(!had && took >= LIMITS[0], || format!("the one: {had} after {took:?}"));
            stage.took_at_most("the circle is broken", took, LIMITS[0] + SLACK);
            let (had, took) = soon("the other", second).await.unwrap();
            stage.check(had, || format!("the other one: {had} after {took:?}"));
            stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
        })
        .await;
    let all = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]].map(|names| {
        let (registry, rounds) = (registry.clone(), 200 * stage.runs);
        tokio::spawn(async move {
            for _ in 0..rounds {
                drop(registry.lock_all(names).await);
                tokio::task::yield_now().await;
            }
        })
    });
    for one in all {
        within(secs(120), "lock_all", one).await.unwrap();
    }
    stage.note(format!("and {} lock_all in three orders", 3 * 200 * stage.runs));
}

async fn of_leases(stage: &Stage) {
    let url = stage.url("ttl=30");
    // Of one process, and of two that know nothing of each other.
    let (one, two) = (Locks::connect(&*url).await.unwrap(), Locks::connect(url).await.unwrap());
    stage
        .each(1, async |i| {
            let [near, far] = [&one, if i % 2 == 0 { &one } else { &two }];
            let a = near.lock_named("a").await.unwrap();
            let b = far.lock_named("b").await.unwrap();
            let waits = [(near, "b", LIMITS[0], a), (far, "a", LIMITS[1], b)];
            let [first, second] = waits.map(|(locks, name, limit, held)| {
                let wait = locks.lock_named(name).timeout(limit).into_future();
                tokio::spawn(async move {
                    let begun = Instant::now();
                    let other = wait.await.map(drop).map_err(|e| e.kind());
                    held.release().await.unwrap();
                    (other, begun.elapsed())
                })
            });
            let (other, took) = soon("the one", first).await.unwrap();
            let is_late = other == Err(ErrorKind::TimedOut) && took + millis(1) >= LIMITS[0];
            stage.check(is_late, || format!("the one: {other:?} after {took:?}"));
            stage.took_at_most("the circle is broken", took, LIMITS[0] + SLACK);
            let (other, took) = soon("the other", second).await.unwrap();
            stage.check(other.is_ok(), || format!("the other one: {other:?} after {took:?}"));
        })
        .await;
    let rounds = 5 * stage.runs;
    let orders = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]];
    let all = orders.into_iter().zip([&one, &two, &one]).map(|(names, locks)| {
        let locks = locks.clone();
        tokio::spawn(async move {
            for _ in 0..rounds {
                locks.lock_all(names).await.unwrap().release().await.unwrap();
            }
        })
    });
    for one in all.collect::<Vec<_>>() {
        within(secs(120), "lock_all", one).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        let status = one.inspect(name).await.unwrap();
        stage.check(!status.is_held() && status.waiters == 0, || format!("{status:?} is left"));
    }
    futures::join!(one.close(), two.close());
    stage.note(format!("and {} lock_all in three orders", 3 * rounds));
}
