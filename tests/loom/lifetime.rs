//! The table outlives its last handle until its last guard (T5), and not longer.

use keyward::LockRegistry;
use loom::{sync::Arc, thread};

use crate::support::{Identity, Registry, explore};

/// The last handle goes while another thread ends a fast hold.
#[test]
fn closing_meets_a_fast_unlock() {
    explore(3, || {
        let keys = Registry::default();
        let guard = keys.try_lock_named(&0).unwrap();
        let other = thread::spawn(move || drop(guard));
        drop(keys);
        other.join().unwrap();
    });
}

/// The same with a slow bucket: two readers on two threads.
#[test]
fn closing_meets_slow_unlocks() {
    explore(3, || {
        let keys = Registry::default();
        let (one, two) = (keys.try_read_named(&0).unwrap(), keys.try_read_named(&0).unwrap());
        let other = thread::spawn(move || drop(one));
        drop(keys);
        drop(two);
        other.join().unwrap();
    });
}

/// Two guards in two slots, and two handles that go at the same time.
#[test]
fn two_handles_and_two_guards_go() {
    explore(3, || {
        let keys = Registry::default();
        let clone = keys.clone();
        let (one, two) = (keys.try_lock_named(&0).unwrap(), clone.try_lock_named(&1).unwrap());
        let other = thread::spawn(move || {
            drop(clone);
            drop(one);
        });
        drop(keys);
        drop(two);
        other.join().unwrap();
    });
}

/// A hand-over as the last thing before the handle goes: the releaser may still be inside the shard
/// when the one it woke closes the table.
#[test]
fn closing_right_after_a_hand_over() {
    explore(3, || {
        let keys = Registry::default();
        let guard = keys.try_lock_named(&0).unwrap();
        let other = thread::spawn(move || drop(guard));
        let granted = loom::future::block_on(keys.lock_named(&0));
        drop(keys);
        drop(granted);
        other.join().unwrap();
    });
}

/// Every key is dropped exactly once, wherever its last hold ends: loom reports a leaked `Arc`, and a
/// second drop would be a use after free.
#[test]
fn no_key_is_leaked_or_dropped_twice() {
    #[derive(Clone)]
    struct Key(#[expect(dead_code, reason = "counted by its drop")] Arc<()>);
    impl PartialEq for Key {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }
    impl Eq for Key {}
    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            state.write_u64(0);
        }
    }
    explore(2, || {
        let keys = LockRegistry::<Key, Identity>::default();
        let key = Key(Arc::new(()));
        let other = thread::spawn({
            let (keys, key) = (keys.clone(), key.clone());
            move || drop(keys.try_lock_named(&key))
        });
        let guard = keys.try_lock_named(&key);
        drop(keys);
        drop(guard);
        other.join().unwrap();
    });
}
