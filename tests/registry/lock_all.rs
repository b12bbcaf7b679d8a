//! Several keys at once.

use std::{future::Future, pin::pin, task::Context};

use tokio_test::{assert_pending, assert_ready, task};

use crate::{Names, woken::Woken};

#[test]
fn keys_are_sorted_and_taken_once() {
    let names = Names::new();
    let all = assert_ready!(task::spawn(names.lock_all(["b", "a", "c", "a", "b"])).poll());
    assert_eq!(all.len(), 3);
    assert!(!all.is_empty());
    assert!(all.names().eq(["a", "b", "c"]));
    assert_eq!(names.len(), 3);
    assert!(!names.is_empty());
    assert_eq!(format!("{all:?}"), r#"NamedGuards(["a", "b", "c"])"#);
    drop(all);
    assert!(names.is_empty());
}

#[test]
fn no_keys_are_ready_at_once() {
    let names = Names::new();
    let none = assert_ready!(task::spawn(names.lock_all::<str, _>([])).poll());
    assert!(none.is_empty() && names.is_empty());
}

#[test]
fn what_is_held_while_waiting_is_what_sorts_before() {
    let names = Names::new();
    let b = names.try_lock_named("b").unwrap();
    let mut all = task::spawn(names.lock_all(["c", "b", "a"]));
    assert_pending!(all.poll());
    assert!(names.try_lock_named("a").is_err());
    assert!(names.try_lock_named("c").is_ok());
    drop(b);
    assert!(all.is_woken());
    drop(assert_ready!(all.poll()));
    assert!(names.is_empty());
}

/// Who has locked the first of them meets nobody on the way to the others.
#[test]
fn they_are_released_the_last_one_first() {
    let names = Names::new();
    let all = assert_ready!(task::spawn(names.lock_all(["a", "b", "c"])).poll());
    let woken = Woken::default();
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Box::pin(names.lock_named(name)));
    for (name, wait) in [("a", &mut a), ("b", &mut b), ("c", &mut c)] {
        let waker = woken.waker(name);
        assert!(pin!(wait).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(all);
    assert_eq!(woken.take(), ["c", "b", "a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_orders_do_not_deadlock() {
    let names = Names::new();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let names = names.clone();
        tasks.spawn(async move {
            for _ in 0..300 {
                let keys = ["a", "b", "c"];
                let _all = match worker % 3 {
                    0 => names.lock_all(keys).await,
                    1 => names.lock_all(keys.into_iter().rev()).await,
                    _ => names.lock_all(["b", "c", "a"]).await,
                };
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
    assert!(names.is_empty());
}

#[test]
fn it_is_sent_between_threads() {
    fn sendable(_: &(impl Future<Output: Send + 'static> + Send)) {}
    let names = Names::new();
    sendable(&names.lock_all(["a"]));
}
