//! Callers that are not async.

use std::{panic, sync::mpsc, thread, time::Duration};

use crate::Names;

#[test]
fn a_free_key_is_locked() {
    let names = Names::new();
    let guard = names.blocking_lock_named("a");
    assert!(names.try_lock_named("a").is_err());
    drop(guard);
    assert!(names.is_empty());
}

#[test]
fn a_thread_waits_its_turn() {
    let names = Names::new();
    let guard = names.blocking_lock_named("a");
    let (send, order) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (names, send) = (names.clone(), send.clone());
            let thread = thread::spawn({
                let names = names.clone();
                move || {
                    let _guard = names.blocking_lock_named("a");
                    send.send(n).unwrap();
                }
            });
            while names.waiters("a") != n + 1 {
                thread::yield_now();
            }
            thread
        })
        .collect();
    drop(guard);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(order.iter().take(4).eq(0..4));
    assert!(names.is_empty());
}

#[test]
fn every_twin() {
    let names = Names::new();
    let readers = [names.blocking_read_named("a"), names.read_named("a").blocking_wait()];
    assert_eq!(names.holders("a"), 2);
    drop(readers);
    let all = names.blocking_lock_all(["b", "a", "b"]);
    assert!(all.names().eq(["a", "b"]));
    drop(all);
    assert_eq!(names.lock_all(["c"]).blocking_wait().names().count(), 1);
    assert_eq!(names.lock_named("a").blocking_wait().name(), "a");
    assert!(names.is_empty());
}

#[test]
fn a_limit_needs_no_runtime() {
    let names = Names::new();
    let guard = names.blocking_lock_named("a");
    for limit in [Duration::ZERO, Duration::from_millis(2)] {
        assert!(names.lock_named("a").timeout(limit).blocking_wait().is_err());
        assert!(names.read_named("a").timeout(limit).blocking_wait().is_err());
    }
    assert_eq!(names.waiters("a"), 0, "the place in the queue has been given up");
    let mut guard = Some(guard);
    for limit in [Duration::MAX, Duration::from_secs(600)] {
        let held = guard.take().unwrap_or_else(|| names.blocking_lock_named("a"));
        thread::scope(|scope| {
            let waits = scope.spawn(|| names.lock_named("a").timeout(limit).blocking_wait());
            while names.waiters("a") == 0 {
                assert!(!waits.is_finished(), "it does not wait");
                thread::yield_now();
            }
            // Long enough for it to park, and not for its limit.
            thread::sleep(Duration::from_millis(20));
            drop(held);
            assert!(waits.join().unwrap().is_ok());
        });
    }
    assert!(names.lock_named("a").timeout(Duration::ZERO).blocking_wait().is_ok(), "tried once");
    assert!(names.is_empty());
}

#[tokio::test]
async fn they_panic_within_a_runtime() {
    let names = Names::new();
    let calls: [fn(&Names); 6] = [
        |names| drop(names.blocking_lock_named("a")),
        |names| drop(names.blocking_read_named("a")),
        |names| drop(names.blocking_lock_all(["a"])),
        |names| drop(names.lock_named("a").blocking_wait()),
        |names| drop(names.read_named("a").blocking_wait()),
        |names| drop(names.lock_named("a").timeout(Duration::ZERO).blocking_wait()),
    ];
    for call in calls {
        let inner = names.clone();
        let blocked = tokio::spawn(async move { call(&inner) });
        let panic = blocked.await.unwrap_err().into_panic();
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap();
        let expected = "Cannot block the current thread from within a runtime";
        assert!(message.contains(expected), "{message}");
        assert!(names.is_empty());
    }
}

#[test]
fn the_panic_points_at_the_caller() {
    let (send, seen) = mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some("points-at-the-caller") {
            let location = info.location().unwrap();
            send.lock().unwrap().send((location.file().to_owned(), location.line())).unwrap();
        }
    }));
    let line = thread::Builder::new()
        .name("points-at-the-caller".to_owned())
        .spawn(|| {
            let names = Names::new();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let asked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                runtime.block_on(async { drop(names.blocking_lock_named("a")) });
            }));
            assert!(asked.is_err());
            line!() - 3
        })
        .unwrap()
        .join()
        .unwrap();
    panic::set_hook(hook);
    assert_eq!(seen.recv().unwrap(), (file!().to_owned(), line));
}

#[tokio::test]
async fn it_is_right_in_spawn_blocking() {
    let names = Names::new();
    let guard = names.lock_named("a").await;
    let inner = names.clone();
    let blocking = tokio::task::spawn_blocking(move || drop(inner.blocking_lock_named("a")));
    while names.waiters("a") == 0 {
        tokio::task::yield_now().await;
    }
    drop(guard);
    blocking.await.unwrap();
    assert!(names.is_empty());
}
