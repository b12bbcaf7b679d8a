//! Hand-over, cancel and shared mode: the queue's protocol.

use std::pin::pin;

use loom::{future::block_on, thread};

use crate::support::{Counter, Guarded, Registry, explore, poll, poll_and_drop};

/// Q2, W1: a release against a re-poll that sees the grant without the mutex, and may free the waiter
/// while the releaser is still at it.
#[test]
fn a_release_meets_a_poll() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let guard = keys.try_lock_named(&0).unwrap();
        value.write();
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                let (_, waker) = Counter::new();
                let mut wait = Box::pin(keys.lock_named(&0));
                for _ in 0..3 {
                    if let Some(guard) = poll(wait.as_mut(), &waker) {
                        drop(wait);
                        value.write();
                        drop(guard);
                        return;
                    }
                }
            }
        });
        drop(guard);
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// A release against the cancel of the only waiter, which may be parked or have been granted.
#[test]
fn a_release_meets_a_cancel() {
    explore(3, || {
        let keys = Registry::default();
        let guard = keys.try_lock_named(&0).unwrap();
        let other = thread::spawn({
            let keys = keys.clone();
            move || poll_and_drop(keys.lock_named(&0))
        });
        drop(guard);
        other.join().unwrap();
        assert!(keys.is_empty());
        assert_eq!(keys.waiters(&0), 0);
    });
}

/// The same with a second waiter behind: whatever the first does with its grant, the second gets one.
#[test]
fn a_cancelled_grant_reaches_the_next() {
    explore(2, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let guard = keys.try_lock_named(&0).unwrap();
        let first = thread::spawn({
            let keys = keys.clone();
            move || poll_and_drop(keys.lock_named(&0))
        });
        let second = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                let _guard = block_on(keys.lock_named(&0));
                value.write();
            }
        });
        value.write();
        drop(guard);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(value.read(), 2);
        assert!(keys.is_empty());
    });
}

/// A woken waiter that is dropped unpolled, against a newcomer.
#[test]
fn a_woken_waiter_is_dropped_while_another_asks() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let guard = keys.try_lock_named(&0).unwrap();
        let (woken, waker) = Counter::new();
        let mut wait = Box::pin(keys.lock_named(&0));
        assert!(poll(wait.as_mut(), &waker).is_none());
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                let _guard = block_on(keys.lock_named(&0));
                value.write();
            }
        });
        drop(guard);
        assert!(woken.woken());
        drop(wait);
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// A waker that is replaced against the grant: the wake-up reaches the new one, or the re-poll has seen
/// the grant. A lost one would leave the lock with a future that is never polled again.
#[test]
fn a_waker_is_replaced_while_it_is_granted() {
    explore(3, || {
        let keys = Registry::default();
        let guard = keys.try_lock_named(&0).unwrap();
        let (_, old) = Counter::new();
        let mut wait = pin!(keys.lock_named(&0));
        assert!(poll(wait.as_mut(), &old).is_none());
        let other = thread::spawn(move || drop(guard));
        let (woken, new) = Counter::new();
        let seen = poll(wait.as_mut(), &new);
        other.join().unwrap();
        assert!(seen.is_some() || woken.woken(), "a lost wake-up");
        let _guard = seen.or_else(|| poll(wait.as_mut(), &new)).expect("it was granted");
    });
}

/// Q4: readers queue behind a writer; the writer gives up while the reader before it leaves.
#[test]
fn a_writer_gives_up_before_readers() {
    explore(3, || {
        let keys = Registry::default();
        let reader = keys.try_read_named(&0).unwrap();
        let (_, waker) = Counter::new();
        let (woken, reading) = Counter::new();
        let mut writer = Box::pin(keys.lock_named(&0));
        assert!(poll(writer.as_mut(), &waker).is_none());
        let mut late = pin!(keys.read_named(&0));
        assert!(poll(late.as_mut(), &reading).is_none());
        let other = thread::spawn(move || drop(reader));
        drop(writer);
        other.join().unwrap();
        assert!(woken.woken(), "nobody is before it any more");
        drop(poll(late.as_mut(), &reading).expect("it was granted"));
        assert!(keys.is_empty());
    });
}

/// Q4 again, with a reader that stays: only the cancel itself can let the readers behind in.
#[test]
fn a_writer_gives_up_while_a_reader_stays() {
    explore(3, || {
        let keys = Registry::default();
        let stays = keys.try_read_named(&0).unwrap();
        let other = thread::spawn({
            let keys = keys.clone();
            move || poll_and_drop(keys.lock_named(&0))
        });
        let (woken, waker) = Counter::new();
        let mut late = pin!(keys.read_named(&0));
        let seen = poll(late.as_mut(), &waker);
        other.join().unwrap();
        assert!(seen.is_some() || woken.woken(), "the writer is gone, and the reader still waits");
        drop(seen.or_else(|| poll(late.as_mut(), &waker)).expect("it was granted"));
        drop(stays);
        assert!(keys.is_empty());
    });
}

/// The last reader leaves while another joins: both read what the writer wrote, and nothing is left.
#[test]
fn a_reader_joins_while_the_last_one_leaves() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        {
            let _guard = keys.try_lock_named(&0).unwrap();
            value.write();
        }
        let read = |keys: &Registry, value: &Guarded| {
            let _guard = block_on(keys.read_named(&0));
            assert_eq!(value.read(), 1);
        };
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || read(&keys, &value)
        });
        read(&keys, &value);
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// Readers and a writer: no reader sees a half-written value, and the reader's release is seen by the
/// writer that comes after it.
#[test]
fn readers_meet_a_writer() {
    explore(2, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let others = [(); 2].map(|()| {
            let (keys, value) = (keys.clone(), value.clone());
            thread::spawn(move || {
                let _guard = block_on(keys.read_named(&0));
                assert!(value.read() <= 1);
            })
        });
        {
            let _guard = block_on(keys.lock_named(&0));
            value.write();
        }
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(keys.is_empty());
    });
}

/// More readers are let in than one batch of wakers holds (one, in a model), while one of them leaves as
/// soon as it is woken and a newcomer asks: the share that stands for nobody keeps the node.
#[test]
fn more_readers_than_a_batch() {
    explore(2, || {
        let keys = Registry::default();
        let writer = keys.try_lock_named(&0).unwrap();
        let (first_woken, first_waker) = Counter::new();
        let (second_woken, second_waker) = Counter::new();
        let mut first = Box::pin(keys.read_named(&0));
        let mut second = Box::pin(keys.read_named(&0));
        assert!(poll(first.as_mut(), &first_waker).is_none());
        assert!(poll(second.as_mut(), &second_waker).is_none());
        let other = thread::spawn({
            let keys = keys.clone();
            move || {
                drop(writer);
                drop(keys.try_lock_named(&0));
            }
        });
        drop(first); // parked, granted, or between the batches
        other.join().unwrap();
        assert!(second_woken.woken());
        drop(poll(second.as_mut(), &second_waker).expect("it was granted"));
        drop(first_woken);
        assert!(keys.is_empty());
    });
}

/// A waiter leaves the middle of the queue while the front is granted.
#[test]
fn the_middle_leaves_while_the_front_is_granted() {
    explore(3, || {
        let keys = Registry::default();
        let guard = keys.try_lock_named(&0).unwrap();
        let counters = [(); 3].map(|()| Counter::new());
        let [mut front, middle, mut back] = [(); 3].map(|()| Some(Box::pin(keys.lock_named(&0))));
        let mut middle = middle;
        for (wait, (_, waker)) in [&mut front, &mut middle, &mut back].into_iter().zip(&counters) {
            assert!(poll(wait.as_mut().unwrap().as_mut(), waker).is_none());
        }
        let other = thread::spawn(move || drop(guard));
        middle = None;
        other.join().unwrap();
        assert!(middle.is_none() && counters[0].0.woken() && !counters[2].0.woken());
        drop(poll(front.as_mut().unwrap().as_mut(), &counters[0].1).expect("it was granted"));
        assert!(counters[2].0.woken());
        drop(poll(back.as_mut().unwrap().as_mut(), &counters[2].1).expect("it was granted"));
        assert!(keys.is_empty());
    });
}
