//! Any runtime, several, or none.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    thread,
};

use tokio::{runtime, sync::oneshot, task::yield_now};

use crate::Names;

async fn hand_over(names: Names) {
    let guard = names.lock_named("a").await;
    let wait = async {
        let _guard = names.lock_named("a").await;
        assert_eq!(names.holders("a"), 1);
    };
    let release = async move { drop(guard) };
    futures::join!(wait, release);
    assert!(names.is_empty());
}

#[test]
fn without_a_runtime() {
    futures::executor::block_on(hand_over(Names::new()));
}

#[tokio::test(flavor = "current_thread")]
async fn on_a_current_thread_runtime() {
    hand_over(Names::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_multi_thread_runtime() {
    hand_over(Names::new()).await;
}

#[test]
fn between_two_runtimes_and_a_bare_thread() {
    let names = Names::new();
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let names = names.clone();
            let work = async move {
                for _ in 0..2000 {
                    let _guard = names.lock_named("a").await;
                    assert_eq!(names.holders("a"), 1);
                }
            };
            thread::spawn(move || match n {
                0 => futures::executor::block_on(work),
                1 => runtime::Builder::new_current_thread().build().unwrap().block_on(work),
                _ => runtime::Builder::new_multi_thread().build().unwrap().block_on(work),
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(names.is_empty());
}

#[test]
fn a_runtime_that_shuts_down_takes_its_holders_and_waiters_along() {
    let names = Names::new();
    let doomed = runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for _ in 0..10 {
        let names = names.clone();
        doomed.spawn(async move {
            let _guard = names.lock_named("a").await;
            std::future::pending::<()>().await;
        });
    }
    let (queued, all_queued) = oneshot::channel();
    let inner = names.clone();
    doomed.spawn(async move {
        while inner.waiters("a") < 9 {
            yield_now().await;
        }
        queued.send(()).unwrap();
    });
    all_queued.blocking_recv().unwrap();
    assert_eq!((names.holders("a"), names.waiters("a")), (1, 9));
    drop(doomed);
    assert!(names.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_loop_over_free_keys_lets_other_tasks_run() {
    let names = Names::new();
    let stop = Arc::new(AtomicBool::new(false));
    let spinning = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::Relaxed) {
                drop(names.lock_named("a").await);
                drop(names.read_named("a").await);
            }
            assert!(names.is_empty());
        }
    });
    yield_now().await;
    stop.store(true, Ordering::Relaxed);
    spinning.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_lock_that_is_held_back_for_lack_of_budget_is_not_lost() {
    let names = Names::new();
    let mut pending = 0;
    for _ in 0..1000 {
        let mut wait = pin!(names.lock_named("a"));
        let guard = poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Pending => {
                pending += 1;
                assert_eq!(names.holders("a"), 1, "it is ours already");
                Poll::Pending
            }
            ready => ready,
        })
        .await;
        drop(guard);
    }
    assert!(pending > 0, "a task's budget is finite");

    // The same, but dropped there.
    let mut pending = 0;
    while pending == 0 {
        let mut wait = pin!(names.lock_named("a"));
        poll_fn(|cx| {
            pending += usize::from(wait.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    yield_now().await;
    assert!(names.is_empty());
}
