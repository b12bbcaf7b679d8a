//! Rows 25 to 27: holders that panic, that forget what they hold, and that are never polled again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use keyward::{Error, LockRegistry, Locks};

use crate::{
    sessions::{SLACK, millis, name, secs, soon},
    stage::{Backend, Section, Stage},
    worker::Worker,
};

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> std::task::Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

async fn locks(stage: &Stage) -> Locks {
    Locks::connect(stage.url("ttl=30")).await.unwrap()
}

/// The lock is free, and who waits has it. Its token is larger.
pub(crate) async fn panics(stage: Arc<Stage>) {
    if matches!(stage.backend, Backend::Registry) {
        return keys_panic(&stage).await;
    }
    let (one, two) = (locks(&stage).await, locks(&stage).await);
    let run = async |i: usize| {
        let name = name("panic");
        let section = Section::lock(&stage, &one, &name).await;
        let token = section.lease.fencing_token();
        // One of this process, or of another handle.
        let waiting = if i.is_multiple_of(2) { &one } else { &two };
        let wait = Section::spawn(&stage, waiting, &name);
        tokio::time::sleep(millis(5)).await;
        let panicked = tokio::spawn(async move {
            let section = section;
            section.leaves(); // nothing of the section comes after it
            let left = section.lease.run(async { panic!("in the section") });
            left.await.unwrap()
        });
        let begun = Instant::now();
        assert!(panicked.await.unwrap_err().is_panic());
        let next = soon("the next one", wait).await.unwrap().unwrap();
        stage.took_at_most("from a panic to the next grant", next.at - begun.min(next.at), SLACK);
        stage.check(next.lease.fencing_token() > token, || "a smaller token".to_owned());
        next.release().await;
        if matches!(stage.backend, Backend::Memory) {
            return;
        }
        // Where nothing is unwound, the process is gone, and with it what it held.
        let mut worker = Worker::start(&stage, &stage.url("ttl=30")).await;
        let token = worker.lock(&name).await;
        let wait = Section::spawn(&stage, &one, &name);
        stage.store().until_waiters(&name, 1).await;
        stage.journal.ends(crate::oracle::What::Killed, worker.id());
        let begun = Instant::now();
        worker.tell("panic");
        let next = soon("the next one", wait).await.unwrap().unwrap();
        stage.took_at_most("from an abort to the next grant", next.at - begun, SLACK);
        let larger = next.lease.fencing_token().is_some_and(|next| next.get() > token);
        stage.check(larger, || "a smaller token after an abort".to_owned());
        next.release().await;
    };
    stage.each(4, run).await;
    let holds = if matches!(stage.backend, Backend::Memory) { 2 } else { 4 };
    stage.judge(holds * stage.runs, None);
}

async fn keys_panic(stage: &Stage) {
    let registry = LockRegistry::<String>::new();
    stage
        .each(4, async |i| {
            let (registry, name) = (registry.clone(), format!("panic-{i}"));
            let guard = registry.lock_named(&name).await;
            let (other, wanted) = (registry.clone(), name.clone());
            let wait = tokio::spawn(async move {
                let _guard = other.lock_named(&wanted).await;
                Instant::now()
            });
            while registry.waiters(&name) == 0 {
                tokio::task::yield_now().await;
            }
            let begun = Instant::now();
            let panicked = tokio::spawn(async move {
                let _guard = guard;
                panic!("in the section");
            });
            assert!(panicked.await.unwrap_err().is_panic());
            let next = soon("the next one", wait).await.unwrap();
            stage.took_at_most("from a panic to the next grant", next - begun.min(next), SLACK);
        })
        .await;
    stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
}

/// As documented: the name is held until the process ends, and nothing else is.
pub(crate) async fn forgets(stage: Arc<Stage>) {
    match stage.backend {
        Backend::Registry => {
            let registry = LockRegistry::<String>::new();
            stage
                .each(1, async |i| {
                    let name = format!("forgotten-{i}");
                    std::mem::forget(registry.lock_named(&name).await);
                    let wait = registry.lock_named(&name).timeout(millis(20)).await;
                    stage.check(wait.is_err(), || "what is forgotten is not held".to_owned());
                    let (held, waits) = (registry.holders(&name), registry.waiters(&name));
                    stage.check((held, waits) == (1, 0), || format!("{held} hold, {waits} wait"));
                    let others = registry.lock_all(["x", "y"]).await;
                    stage.check(registry.len() == i + 3, || format!("{} keys", registry.len()));
                    drop(others);
                })
                .await;
        }
        Backend::Memory => {
            let locks = locks(&stage).await;
            stage
                .each(1, async |_| {
                    let name = name("forgotten");
                    std::mem::forget(locks.lock_named(&name).await.unwrap());
                    let wait = locks.lock_named(&name).timeout(millis(20)).await;
                    let is_late = wait.as_ref().is_err_and(Error::is_timed_out);
                    stage.check(is_late, || format!("what is forgotten: {wait:?}"));
                    drop(locks.lock_named("another").timeout(secs(5)).await.unwrap());
                })
                .await;
        }
        _ => {
            let other = locks(&stage).await;
            let run = async |_| {
                let (name, another) = (name("forgotten"), name("another"));
                let mut worker = Worker::start(&stage, &stage.url("ttl=3")).await;
                worker.lock(&name).await;
                assert_eq!(worker.ask("forget").await, "forgotten");
                // Longer than the ttl: the session goes on.
                let wait = other.lock_named(&name).timeout(millis(3_500)).await;
                let is_late = wait.as_ref().is_err_and(Error::is_timed_out);
                stage.check(is_late, || format!("what is forgotten: {wait:?}"));
                worker.lock(&another).await;
                assert_eq!(worker.ask("release").await, "Released");
                let wait = Section::spawn(&stage, &other, &name);
                stage.store().until_waiters(&name, 1).await;
                let killed = worker.kill();
                let next = soon("the next one", wait).await.unwrap().unwrap();
                stage.took_at_most("free after the process", next.at - killed, SLACK);
                next.release().await;
            };
            stage.each(4, run).await;
            stage.judge(3 * stage.runs, None);
        }
    }
}

/// A wait that has been granted and is never polled again holds the name: as documented, nothing passes it
/// on by itself. It is seen from outside, other names go on, and when it is dropped or polled, so does this.
pub(crate) async fn futurelock(stage: Arc<Stage>) {
    if matches!(stage.backend, Backend::Registry) {
        return keys_never_polled(&stage).await;
    }
    let locks = locks(&stage).await;
    stage
        .each(1, async |i| {
            let name = name("futurelock");
            let held = locks.lock_named(&name).await.unwrap();
            let mut sleeper = Box::pin(locks.lock_named(&name).into_future());
            assert!(poll(&mut sleeper).is_pending());
            let behind = tokio::spawn(locks.lock_named(&name).into_future());
            held.release().await.unwrap();
            let wait = locks.lock_named(&name).timeout(millis(60)).await;
            let is_late = wait.as_ref().is_err_and(Error::is_timed_out);
            stage.check(is_late && !behind.is_finished(), || format!("it passed by: {wait:?}"));
            let status = locks.inspect(&name).await.unwrap();
            stage.check(status.waiters >= 1, || format!("nobody sees it: {status:?}"));
            drop(locks.lock_named("another").timeout(secs(5)).await.unwrap());
            let begun = Instant::now();
            if i % 2 == 0 {
                drop(sleeper);
            } else {
                drop(soon("its own turn", sleeper).await.unwrap());
            }
            let next = soon("who waits behind it", behind).await.unwrap();
            stage.took_at_most("who waits behind it, then", begun.elapsed(), SLACK);
            drop(next.unwrap().release().await);
        })
        .await;
}

async fn keys_never_polled(stage: &Stage) {
    let registry = LockRegistry::<String>::new();
    stage
        .each(1, async |i| {
            let other = registry.clone();
            let held = registry.lock_named("a").await;
            let mut sleeper = Box::pin(registry.lock_named("a"));
            assert!(poll(&mut sleeper).is_pending());
            let behind = tokio::spawn(async move {
                drop(other.lock_named("a").await);
                Instant::now()
            });
            while registry.waiters("a") < 2 {
                tokio::task::yield_now().await;
            }
            drop(held);
            let wait = registry.lock_named("a").timeout(millis(20)).await;
            stage.check(wait.is_err() && !behind.is_finished(), || "it passed by".to_owned());
            let (held, waits) = (registry.holders("a"), registry.waiters("a"));
            stage.check((held, waits) == (1, 1), || format!("{held} hold, {waits} wait"));
            drop(registry.lock_named("b").await);
            let begun = Instant::now();
            if i % 2 == 0 {
                drop(sleeper);
            } else {
                drop(soon("its own turn", sleeper).await);
            }
            let next = soon("who waits behind it", behind).await.unwrap();
            let took = next.saturating_duration_since(begun);
            stage.took_at_most("who waits behind it, then", took, SLACK);
            stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
        })
        .await;
}
