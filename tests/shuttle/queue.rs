//! Who waits for a name: order, cancels, readers beside writers, and limits.

use std::{pin::pin, time::Duration};

use keyward::_clock::advance;
use shuttle::thread;

use crate::{
    harness::Model,
    support::{Log, Registry, Shared, Witness, join, join_all, queued, task},
};

pub(crate) const MODELS: &[Model] = &[
    ("the_queue_is_in_order", the_queue_is_in_order),
    ("order_survives_a_cancel", order_survives_a_cancel),
    ("waits_are_dropped_parked_and_woken", waits_are_dropped_parked_and_woken),
    ("a_try_does_not_pass_the_queue", a_try_does_not_pass_the_queue),
    ("readers_beside_writers", readers_beside_writers),
    ("a_writer_that_leaves_lets_readers_in", a_writer_that_leaves_lets_readers_in),
    ("a_limit_meets_a_grant", a_limit_meets_a_grant),
    ("limits_of_a_queue_run_out", limits_of_a_queue_run_out),
];

const SECOND: Duration = Duration::from_secs(1);

/// A wait that has its registry with it.
macro_rules! wait {
    ($keys:expr, $wait:ident, $key:expr) => {{
        let keys = $keys.clone();
        async move { keys.$wait(&$key).await }
    }};
}

fn the_queue_is_in_order() {
    let (keys, log) = (Registry::default(), Log::new());
    let guard = keys.try_lock_named(&0).unwrap();
    let waits = [0, 1, 2, 3].map(|number| (number, queued(wait!(keys, lock_named, 0))));
    let tasks = waits.map(|(number, wait)| {
        let log = log.clone();
        task(async move {
            let _guard = wait.await;
            log.note(number);
        })
    });
    drop(guard);
    join_all(tasks);
    assert_eq!(log.take(), [0, 1, 2, 3]);
    assert!(keys.is_empty());
}

fn order_survives_a_cancel() {
    let (keys, log) = (Registry::default(), Log::new());
    let guard = keys.try_lock_named(&0).unwrap();
    let waits = [0, 1, 2, 3].map(|number| {
        let wait = Shared::new(queued(wait!(keys, lock_named, 0)));
        (number, wait)
    });
    let cancelled = waits[1].1.clone();
    let tasks = waits.map(|(number, wait)| {
        let log = log.clone();
        task(async move {
            let guard = wait.run().await;
            if guard.is_some() {
                log.note(number);
            }
            guard.is_some()
        })
    });
    let cancels = thread::spawn(move || cancelled.cancel());
    drop(guard);
    let held = join_all(tasks);
    cancels.join().unwrap();
    let expected: Vec<_> = (0..4).filter(|number| held[*number]).collect();
    assert!(held[0] && held[2] && held[3], "{held:?}");
    assert_eq!(log.take(), expected);
    assert!(keys.is_empty());
}

/// Two waits are dropped by other threads while the holder lets go and somebody new comes: whatever
/// each of them has by then, nobody is forgotten and nothing is left.
fn waits_are_dropped_parked_and_woken() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let guard = keys.try_lock_named(&0).unwrap();
    let waits = [(); 3].map(|()| Shared::new(queued(wait!(keys, lock_named, 0))));
    let threads: Vec<_> = [0, 1]
        .map(|number| {
            let wait = waits[number].clone();
            thread::spawn(move || wait.cancel())
        })
        .into_iter()
        .collect();
    let tasks = waits.map(|wait| {
        let witness = witness.clone();
        task(async move { wait.run().await.map(|_guard| witness.alone()).is_some() })
    });
    let comer = task({
        let (keys, witness) = (keys.clone(), witness.clone());
        async move {
            let _guard = keys.lock_named(&0).await;
            witness.alone();
        }
    });
    drop(guard);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let held = join_all(tasks);
    assert!(held[2]);
    join(comer);
    assert!(keys.is_empty());
}

/// As long as somebody is queued, the name is never free in between.
fn a_try_does_not_pass_the_queue() {
    let keys = Registry::default();
    let guard = keys.try_lock_named(&0).unwrap();
    let last = keys.clone();
    let waits = [(); 2].map(|()| queued(wait!(keys, lock_named, 0)));
    let tasks = waits.map(task);
    let tries = [true, false].map(|shared| {
        let keys = keys.clone();
        thread::spawn(move || {
            let passes = match shared {
                true => keys.try_read_named(&0).is_ok(),
                false => keys.try_lock_named(&0).is_ok(),
            };
            assert!(!passes, "it passed the queue");
        })
    });
    let let_go = thread::spawn(move || drop(guard));
    tries.into_iter().for_each(|thread| thread.join().unwrap());
    let_go.join().unwrap();
    let [first, second] = tasks;
    drop(join(first));
    drop(join(second));
    assert!(last.is_empty());
}

fn readers_beside_writers() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let readers = [(); 3].map(|()| {
        let (keys, witness) = (keys.clone(), witness.clone());
        task(async move {
            let _guard = keys.read_named(&0).await;
            witness.together();
        })
    });
    let writers = [(); 2].map(|()| {
        let (keys, witness) = (keys.clone(), witness.clone());
        task(async move {
            let _guard = keys.lock_named(&0).await;
            witness.alone();
        })
    });
    join_all(readers);
    join_all(writers);
    assert!(keys.is_empty());
}

/// Q4: the readers behind it fit beside the one who holds, who stays.
fn a_writer_that_leaves_lets_readers_in() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let first = keys.try_read_named(&0).unwrap();
    let writer = Shared::new(queued(wait!(keys, lock_named, 0)));
    let readers = [(); 3].map(|()| queued(wait!(keys, read_named, 0)));
    let writes = task(writer.clone().run());
    let readers = readers.map(|wait| {
        let witness = witness.clone();
        task(async move {
            let _guard = wait.await;
            witness.together();
        })
    });
    let cancels = thread::spawn(move || writer.cancel());
    join_all(readers); // `first` is still there
    cancels.join().unwrap();
    assert!(join(writes).is_none(), "a reader has been there all the time");
    drop(first);
    assert!(keys.is_empty());
}

/// Either the lock or the end of the limit; and the next one gets the lock in both cases.
fn a_limit_meets_a_grant() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let guard = keys.try_lock_named(&0).unwrap();
    let limited = queued({
        let keys = keys.clone();
        async move { keys.lock_named(&0).timeout(SECOND).await }
    });
    let next = queued(wait!(keys, lock_named, 0));
    let clock = thread::spawn(|| advance(SECOND));
    let limited = task({
        let witness = witness.clone();
        async move { limited.await.map(|_guard| witness.alone()).is_ok() }
    });
    let next = task({
        let witness = witness.clone();
        async move {
            let _guard = next.await;
            witness.alone();
        }
    });
    drop(guard);
    clock.join().unwrap();
    join(limited);
    join(next);
    assert!(keys.is_empty());
}

/// The holder stays: whoever has a limit is told when it is over and not before, and leaves the queue.
fn limits_of_a_queue_run_out() {
    let keys = Registry::default();
    let guard = keys.try_lock_named(&0).unwrap();
    let tasks = [1, 2, 3].map(|seconds| {
        let keys = keys.clone();
        task(queued(async move {
            let mut wait = pin!(keys.read_named(&0).timeout(seconds * SECOND));
            let late = wait.as_mut().await.is_err();
            assert!(keys.waiters(&0) < 3, "its place is given up before it says so");
            late
        }))
    });
    let clock = thread::spawn(|| (0..3).for_each(|_| advance(SECOND)));
    assert_eq!(join_all(tasks), [true; 3]);
    clock.join().unwrap();
    assert_eq!(keys.waiters(&0), 0);
    drop(guard);
    assert!(keys.is_empty());
}
