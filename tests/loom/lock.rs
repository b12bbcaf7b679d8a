//! One holder, whatever meets: the slots' protocol.

use std::pin::pin;

use loom::{future::block_on, thread};

use crate::support::{Guarded, Registry, explore};

/// T1, T3: fast lock, fast unlock, flip and slow lock of one key against each other.
#[test]
fn two_tasks_lock_one_key() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                let _guard = block_on(keys.lock_named(&0));
                value.write();
            }
        });
        {
            let _guard = block_on(keys.lock_named(&0));
            value.write();
        }
        other.join().unwrap();
        assert_eq!(value.read(), 2);
        assert!(keys.is_empty());
    });
}

/// The same with three, so that a hand-over meets a third.
#[test]
fn three_tasks_lock_one_key() {
    explore(2, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let work = |keys: Registry, value: Guarded| {
            move || {
                let _guard = block_on(keys.lock_named(&0));
                value.write();
            }
        };
        let others = [(); 2].map(|()| thread::spawn(work(keys.clone(), value.clone())));
        work(keys.clone(), value.clone())();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(value.read(), 3);
        assert!(keys.is_empty());
    });
}

/// T2: two keys of one slot come and go against each other; both stay exclusive.
#[test]
fn two_keys_share_a_slot() {
    explore(3, || {
        let keys = Registry::default();
        let values = [Guarded::new(), Guarded::new()];
        let other = thread::spawn({
            let (keys, values) = (keys.clone(), values.clone());
            move || {
                for key in [2, 0] {
                    let _guard = block_on(keys.lock_named(&key));
                    values[usize::from(key == 2)].write();
                }
            }
        });
        for key in [0, 2] {
            let _guard = block_on(keys.lock_named(&key));
            values[usize::from(key == 2)].write();
        }
        other.join().unwrap();
        assert_eq!(values.map(|value| value.read()), [2, 2]);
        assert!(keys.is_empty());
    });
}

/// A free key of a slot that another key makes slow is never busy.
#[test]
fn a_try_is_not_disturbed_by_the_other_key() {
    explore(3, || {
        let keys = Registry::default();
        let other = thread::spawn({
            let keys = keys.clone();
            move || {
                for _ in 0..2 {
                    drop(keys.try_lock_named(&2).unwrap());
                }
            }
        });
        for _ in 0..2 {
            drop(keys.try_lock_named(&0).unwrap());
        }
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// The ABA case: while one thread flips the bucket, the other releases its node and publishes the same
/// memory with another key of the same slot. Who flips must read the node it got, not the one it saw.
#[test]
fn a_node_is_recycled_under_a_flip() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                drop(keys.try_lock_named(&0));
                let guard = keys.try_lock_named(&2).unwrap();
                assert_eq!(*guard.name(), 2);
                drop(guard);
                if let Ok(guard) = keys.try_lock_named(&4) {
                    value.write();
                    drop(guard);
                }
            }
        });
        if let Ok(guard) = keys.try_lock_named(&4) {
            assert_eq!(*guard.name(), 4);
            value.write();
            drop(guard);
        }
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// The lock CAS publishes the node: who flips the slot reads key and hash that another thread wrote.
#[test]
fn who_flips_sees_the_whole_node() {
    explore(3, || {
        let keys = Registry::default();
        let other = thread::spawn({
            let keys = keys.clone();
            move || drop(keys.try_lock_named(&0))
        });
        assert!(keys.holders(&0) <= 1);
        assert_eq!(keys.holders(&2), 0);
        assert!(keys.len() <= 1);
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// A try against a release either has the lock, with all that was done under it, or has nothing.
#[test]
fn a_try_meets_a_release() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let guard = keys.try_lock_named(&0).unwrap();
        value.write();
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                for _ in 0..2 {
                    if let Ok(_guard) = keys.try_lock_named(&0) {
                        value.write();
                    }
                }
            }
        });
        drop(guard);
        other.join().unwrap();
        let _guard = keys.try_lock_named(&0).unwrap();
        value.write();
    });
}

/// Introspection flips buckets under everybody's feet and changes nothing.
#[test]
fn looking_meets_lock_and_unlock() {
    explore(3, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                for _ in 0..2 {
                    let _guard = block_on(keys.lock_named(&0));
                    value.write();
                }
            }
        });
        assert!(keys.holders(&0) <= 1);
        assert_eq!(keys.waiters(&0), 0);
        other.join().unwrap();
        assert!(keys.is_empty());
    });
}

/// Several keys in opposite orders: no deadlock (which loom reports), and each is exclusive.
#[test]
fn lock_all_in_opposite_orders() {
    explore(2, || {
        let (keys, value) = (Registry::default(), Guarded::new());
        let other = thread::spawn({
            let (keys, value) = (keys.clone(), value.clone());
            move || {
                let _guards = block_on(keys.lock_all([&2, &0]));
                value.write();
            }
        });
        {
            let mut all = pin!(keys.lock_all([&0, &2]));
            let _guards = block_on(all.as_mut());
            value.write();
        }
        other.join().unwrap();
        assert_eq!(value.read(), 2);
        assert!(keys.is_empty());
    });
}
