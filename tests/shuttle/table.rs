//! One holder of a name, and no name that is not held: the registry's table, with keys that meet in
//! its two slots.

use shuttle::thread;

use crate::{
    harness::Model,
    support::{Registry, Witness, join, join_all, task},
};

pub(crate) const MODELS: &[Model] = &[
    ("tasks_of_one_name_are_alone", tasks_of_one_name_are_alone),
    ("names_come_and_go", names_come_and_go),
    ("the_last_drop_meets_an_arrival", the_last_drop_meets_an_arrival),
    ("a_free_name_is_never_busy", a_free_name_is_never_busy),
    ("the_last_handle_meets_the_last_guards", the_last_handle_meets_the_last_guards),
    ("several_names_in_opposite_orders", several_names_in_opposite_orders),
];

fn tasks_of_one_name_are_alone() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let tasks = [(); 4].map(|()| {
        let (keys, witness) = (keys.clone(), witness.clone());
        task(async move {
            for _ in 0..2 {
                let _guard = keys.lock_named(&0).await;
                witness.alone();
            }
        })
    });
    join_all(tasks);
    assert!(keys.is_empty());
}

/// Fast and slow buckets, flips, and nodes that are used again: each task walks over the keys in an
/// order of its own, by waiting and by trying.
fn names_come_and_go() {
    let (keys, witnesses) = (Registry::default(), [(); 4].map(|()| Witness::default()));
    let tasks = [[0, 2, 1], [2, 0, 3], [1, 3, 0], [0, 1, 2]].map(|path| {
        let (keys, witnesses) = (keys.clone(), witnesses.clone());
        task(async move {
            for (step, key) in path.into_iter().enumerate() {
                let guard = match step {
                    1 => keys.try_lock_named(&key).ok(),
                    _ => Some(keys.lock_named(&key).await),
                };
                if let Some(guard) = guard {
                    assert_eq!(*guard.name(), key);
                    witnesses[key as usize].alone();
                }
            }
        })
    });
    join_all(tasks);
    assert!(keys.is_empty());
}

/// The entry is taken out by one while others ask for it: in every order there is one entry.
fn the_last_drop_meets_an_arrival() {
    let (keys, witness) = (Registry::default(), Witness::default());
    let other = keys.try_lock_named(&2).unwrap(); // so that the bucket is slow, for a while
    let guard = keys.try_lock_named(&0).unwrap();
    let leaver = thread::spawn(move || drop(guard));
    let opener = thread::spawn(move || drop(other));
    let comers = [true, false, false].map(|shared| {
        let (keys, witness) = (keys.clone(), witness.clone());
        task(async move {
            if shared {
                let _guard = keys.read_named(&0).await;
                witness.together();
            } else {
                let _guard = keys.lock_named(&0).await;
                witness.alone();
            }
            assert!(keys.holders(&0) <= 1);
        })
    });
    leaver.join().unwrap();
    opener.join().unwrap();
    join_all(comers);
    assert!(keys.is_empty());
}

/// Whoever shares a slot with it, and whatever its bucket is just about to be.
fn a_free_name_is_never_busy() {
    let keys = Registry::default();
    let threads = [0, 2, 4].map(|key| {
        let keys = keys.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                let guard = keys.try_lock_named(&key).expect("nobody else locks it");
                assert!(keys.try_read_named(&key).is_err());
                drop(guard);
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(keys.is_empty());
}

/// The table outlives its handles, and is freed once: guards, a granted and a parked wait, and two
/// handles go, each on its own thread.
fn the_last_handle_meets_the_last_guards() {
    let keys = Registry::default();
    let guards = [0, 1].map(|key| keys.try_lock_named(&key).unwrap());
    let reader = keys.try_read_named(&2).unwrap();
    let mut threads: Vec<_> =
        guards.map(|guard| thread::spawn(move || drop(guard))).into_iter().collect();
    threads.push(thread::spawn(move || drop(reader)));
    let clone = keys.clone();
    let waits = task(async move {
        let guard = clone.lock_named(&1).await;
        drop(clone);
        drop(guard);
    });
    drop(keys);
    join(waits);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// No deadlock, whatever order they are named in, and whoever locks one of them alone.
fn several_names_in_opposite_orders() {
    let (keys, witnesses) = (Registry::default(), [(); 3].map(|()| Witness::default()));
    let tasks = [vec![0, 1, 2], vec![2, 1, 0], vec![1, 2], vec![1]].map(|names| {
        let (keys, witnesses) = (keys.clone(), witnesses.clone());
        task(async move {
            let _guards = keys.lock_all(&names).await;
            names.iter().for_each(|name| witnesses[*name as usize].alone());
        })
    });
    join_all(tasks);
    assert!(keys.is_empty());
}
