//! The queue of a process in front of a backend, and the holds that are passed along in it.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use keyward::{_clock::advance, Acquire, ErrorKind, Lease, Locks, Released};
use shuttle::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use crate::{
    harness::Model,
    scripted::{Script, Scripted},
    support::{Log, Queued, Shared, Witness, join, join_all, queued, task},
};

pub(crate) const MODELS: &[Model] = &[
    ("hand_over_is_in_order", hand_over_is_in_order),
    ("a_cancel_meets_a_hand_over", a_cancel_meets_a_hand_over),
    ("the_last_in_the_queue_leaves", the_last_in_the_queue_leaves),
    ("a_limit_meets_a_hand_over", a_limit_meets_a_hand_over),
    ("closing_meets_waits", closing_meets_waits),
    ("closing_meets_one_who_comes", closing_meets_one_who_comes),
    ("readers_join_and_leave", readers_join_and_leave),
    ("tries_meet_a_hand_over", tries_meet_a_hand_over),
    ("two_processes_share_a_store", two_processes_share_a_store),
    ("several_leases_in_opposite_orders", several_leases_in_opposite_orders),
];

const SECOND: Duration = Duration::from_secs(1);

type Outcome = Result<Lease, keyward::Error>;

/// A store that lets holds be passed on, and takes a while.
fn store() -> Scripted {
    Scripted::new(Script { passes_on: true, admits_readers: true, turns: 1, ..Script::default() })
}

fn held(locks: &Locks) -> Lease {
    shuttle::future::block_on(locks.lock_named("a").into_future()).unwrap()
}

fn waits(acquire: Acquire) -> Queued<Outcome> {
    queued(acquire.into_future())
}

/// Of those who are in the queue when it begins; and every holder has a larger token.
fn hand_over_is_in_order() {
    let backend = store();
    let (locks, log, witness) = (backend.locks(), Log::new(), Witness::default());
    let lease = held(&locks);
    let mut last = lease.fencing_token();
    let waits = [0, 1, 2].map(|number| (number, waits(locks.lock_named("a"))));
    let tasks = waits.map(|(number, wait)| {
        let (log, witness) = (log.clone(), witness.clone());
        task(async move {
            let lease = wait.await.unwrap();
            witness.alone();
            log.note((number, lease.fencing_token()));
            if number == 1 {
                drop(lease);
            } else {
                assert_eq!(lease.release().await.unwrap(), Released::Released);
            }
        })
    });
    drop(lease);
    join_all(tasks);
    for (expected, (number, token)) in log.take().into_iter().enumerate() {
        assert_eq!(number, expected);
        assert!(token > last, "{token:?} after {last:?}");
        last = token;
    }
    let counts = backend.counts();
    assert!(counts.most_in_flight <= 1 && counts.passed_on > 0);
    assert!(backend.is_free("a"));
}

fn a_cancel_meets_a_hand_over() {
    let backend = store();
    let (locks, witness) = (backend.locks(), Witness::default());
    let lease = held(&locks);
    let leaves = Shared::new(waits(locks.lock_named("a")));
    let stays = waits(locks.lock_named("a"));
    let runs = task({
        let (wait, witness) = (leaves.clone(), witness.clone());
        async move {
            if let Some(lease) = wait.run().await {
                let _lease = lease.unwrap();
                witness.alone();
            }
        }
    });
    let stays = task({
        let witness = witness.clone();
        async move {
            let lease = stays.await.unwrap();
            witness.alone();
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
    });
    let comes = task({
        let locks = locks.clone();
        async move {
            let _lease = locks.lock_named("a").await.unwrap();
            witness.alone();
        }
    });
    let cancels = thread::spawn(move || leaves.cancel());
    drop(lease);
    cancels.join().unwrap();
    join(runs);
    join(stays);
    join(comes);
    assert!(backend.counts().most_in_flight <= 1);
    assert!(backend.is_free("a"));
}

/// H2: a hold that was kept for it is freed, by whoever comes last.
fn the_last_in_the_queue_leaves() {
    let backend = store();
    let locks = backend.locks();
    let lease = held(&locks);
    let waits = [(); 2].map(|()| Shared::new(waits(locks.lock_named("a"))));
    let runs = waits.clone().map(|wait| task(async move { drop(wait.run().await) }));
    let cancels = waits.map(|wait| thread::spawn(move || wait.cancel()));
    let releases = task(async move { lease.release().await.unwrap() });
    assert_eq!(join(releases), Released::Released);
    cancels.into_iter().for_each(|thread| thread.join().unwrap());
    join_all(runs);
    assert!(backend.is_free("a"), "a hold was forgotten");
}

fn a_limit_meets_a_hand_over() {
    let backend = store();
    let (locks, witness) = (backend.locks(), Witness::default());
    let lease = held(&locks);
    let limited = waits(locks.lock_named("a").timeout(SECOND));
    let limited = task({
        let witness = witness.clone();
        async move {
            match limited.await {
                Ok(lease) => {
                    witness.alone();
                    assert_eq!(lease.release().await.unwrap(), Released::Released);
                }
                Err(e) => assert!(e.is_timed_out(), "{e}"),
            }
        }
    });
    let next = task({
        let locks = locks.clone();
        async move {
            let _lease = locks.lock_named("a").await.unwrap();
            witness.alone();
        }
    });
    let clock = thread::spawn(|| advance(SECOND));
    drop(lease);
    clock.join().unwrap();
    join(limited);
    join(next);
    assert!(backend.is_free("a"));
}

/// Whoever waits has a lease or is told; whoever closes finds the store free; it is closed once.
fn closing_meets_waits() {
    let backend = store();
    let locks = backend.locks();
    let closed = Arc::new(AtomicBool::new(false));
    let lease = held(&locks);
    let waiters = [false, true].map(|new| {
        let (locks, closed) = (locks.clone(), Arc::clone(&closed));
        let wait = (!new).then(|| waits(locks.lock_named("a")));
        task(async move {
            let outcome = match wait {
                Some(wait) => wait.await,
                None => locks.lock_named("a").await,
            };
            match outcome {
                Ok(lease) => {
                    assert!(!closed.load(SeqCst), "a lease after the end"); // H4
                    assert_eq!(lease.release().await.unwrap(), Released::Released);
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Closed),
            }
        })
    });
    let closers = [(); 2].map(|()| {
        let (locks, backend, closed) = (locks.clone(), backend.clone(), Arc::clone(&closed));
        task(async move {
            locks.close().await;
            closed.store(true, SeqCst);
            assert!(backend.is_free("a"), "the store is not free");
            let error = locks.lock_named("a").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
        })
    });
    drop(lease);
    join_all(waiters);
    join_all(closers);
    assert_eq!(backend.counts().closes, 1);
}

/// Nobody asks a store that is closed, not even for a hold that is given up at once (H4).
fn closing_meets_one_who_comes() {
    let backend = store();
    let locks = backend.locks();
    let comes = task({
        let locks = locks.clone();
        async move {
            match locks.lock_named("a").await {
                Ok(lease) => drop(lease.release().await),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Closed),
            }
        }
    });
    let closes = task(async move { locks.close().await });
    join(comes);
    join(closes);
    assert_eq!(backend.counts().late, 0);
    assert!(backend.is_free("a"));
}

/// Readers of one process share a hold; the last one to leave frees it, while others come.
fn readers_join_and_leave() {
    let backend = store();
    let (locks, witness) = (backend.locks(), Witness::default());
    let readers = [true, false, true].map(|confirmed| {
        let (locks, witness) = (locks.clone(), witness.clone());
        task(async move {
            let lease = locks.lock_named("a").shared().await.unwrap();
            witness.together();
            if confirmed {
                assert_eq!(lease.release().await.unwrap(), Released::Released);
            }
        })
    });
    let writer = task({
        let locks = locks.clone();
        async move {
            let _lease = locks.lock_named("a").await.unwrap();
            witness.alone();
        }
    });
    join_all(readers);
    join(writer);
    assert!(backend.is_free("a"));
}

/// With somebody in the queue a try finds the name held, all the way from one holder to the next. And a
/// try that is dropped leaves nothing.
fn tries_meet_a_hand_over() {
    let backend = store();
    let locks = backend.locks();
    let lease = held(&locks);
    let next = task(waits(locks.lock_named("a")));
    let tries = [false, true].map(|shared| {
        let locks = locks.clone();
        task(async move {
            let attempt = locks.try_lock_named("a");
            let attempt = if shared { attempt.shared() } else { attempt };
            let error = attempt.await.expect_err("it passed the queue");
            assert!(error.is_would_block(), "{error}");
        })
    });
    drop(lease);
    join_all(tries);
    drop(join(next).unwrap());
    assert!(backend.is_free("a"));
}

fn two_processes_share_a_store() {
    let (backend, witness) = (store(), Witness::default());
    let processes = [(); 2].map(|()| backend.locks());
    let tasks = [0, 0, 1, 1].map(|process| {
        let (locks, witness) = (processes[process].clone(), witness.clone());
        task(async move {
            let lease = locks.lock_named("a").await.unwrap();
            witness.alone();
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        })
    });
    join_all(tasks);
    assert!(backend.is_free("a"));
}

fn several_leases_in_opposite_orders() {
    let (backend, witnesses) = (store(), [(); 2].map(|()| Witness::default()));
    let locks = backend.locks();
    let tasks = [["a", "b"], ["b", "a"]].map(|names| {
        let (locks, witnesses) = (locks.clone(), witnesses.clone());
        task(async move {
            let leases = locks.lock_all(names).await.unwrap();
            witnesses.iter().for_each(Witness::alone);
            assert_eq!(leases.release().await.unwrap(), Released::Released);
        })
    });
    let single = task(async move {
        let _lease = locks.lock_named("b").await.unwrap();
        witnesses[1].alone();
    });
    join_all(tasks);
    join(single);
    assert!(backend.is_free("a") && backend.is_free("b"));
}
