//! Shared mode: readers together, writers alone, one queue for both.

use tokio_test::{assert_pending, assert_ready, task};

use crate::Names;

#[test]
fn readers_share_and_exclude_writers() {
    let names = Names::new();
    let readers: Vec<_> = (0..10).map(|_| names.try_read_named("img").unwrap()).collect();
    assert_eq!(names.holders("img"), 10);
    assert_eq!(names.len(), 1);
    assert!(names.try_lock_named("img").is_err());
    let mut writer = task::spawn(names.lock_named("img"));
    assert_pending!(writer.poll());
    for reader in readers {
        assert!(!writer.is_woken());
        drop(reader);
    }
    drop(assert_ready!(writer.poll()));
    assert!(names.is_empty());
}

#[test]
fn one_reader_alone_comes_and_goes() {
    let names = Names::new();
    for _ in 0..3 {
        let reader = names.try_read_named("img").unwrap();
        assert_eq!(reader.name(), "img");
        assert_eq!(names.len(), 1);
        drop(reader);
        assert!(names.is_empty());
    }
}

#[test]
fn a_writer_excludes_readers() {
    let names = Names::new();
    let writer = names.try_lock_named("img").unwrap();
    assert!(names.try_read_named("img").is_err());
    let mut readers: Vec<_> = (0..20).map(|_| task::spawn(names.read_named("img"))).collect();
    for reader in &mut readers {
        assert_pending!(reader.poll());
    }
    drop(writer);
    assert_eq!(names.holders("img"), 20, "all of them at once");
    let guards: Vec<_> = readers.iter_mut().map(|reader| assert_ready!(reader.poll())).collect();
    drop(guards);
    assert!(names.is_empty());
}

#[test]
fn a_waiting_writer_is_not_overtaken_by_readers() {
    let names = Names::new();
    let first = names.try_read_named("img").unwrap();
    let mut writer = task::spawn(names.lock_named("img"));
    assert_pending!(writer.poll());
    assert!(names.try_read_named("img").is_err(), "a try does not overtake either");
    let mut late = task::spawn(names.read_named("img"));
    assert_pending!(late.poll());
    drop(first);
    assert!(writer.is_woken() && !late.is_woken());
    drop(assert_ready!(writer.poll()));
    assert!(late.is_woken());
    drop(assert_ready!(late.poll()));
}

#[test]
fn readers_and_writers_stand_in_one_queue() {
    let names = Names::new();
    let holder = names.try_lock_named("img").unwrap();
    let mut r1 = task::spawn(names.read_named("img"));
    let mut r2 = task::spawn(names.read_named("img"));
    let mut w3 = task::spawn(names.lock_named("img"));
    let mut r4 = task::spawn(names.read_named("img"));
    assert_pending!(r1.poll());
    assert_pending!(r2.poll());
    assert_pending!(w3.poll());
    assert_pending!(r4.poll());
    drop(holder);
    assert!(r1.is_woken() && r2.is_woken() && !w3.is_woken() && !r4.is_woken());
    let (g1, g2) = (assert_ready!(r1.poll()), assert_ready!(r2.poll()));
    drop(g1);
    assert!(!w3.is_woken());
    drop(g2);
    assert!(w3.is_woken() && !r4.is_woken());
    drop(assert_ready!(w3.poll()));
    drop(assert_ready!(r4.poll()));
    assert!(names.is_empty());
}

#[test]
fn readers_join_when_the_writer_before_them_gives_up() {
    let names = Names::new();
    let reader = names.try_read_named("img").unwrap();
    let mut writer = task::spawn(names.lock_named("img"));
    assert_pending!(writer.poll());
    let mut late: Vec<_> = (0..20).map(|_| task::spawn(names.read_named("img"))).collect();
    for wait in &mut late {
        assert_pending!(wait.poll());
    }
    drop(writer);
    assert_eq!((names.holders("img"), names.waiters("img")), (21, 0));
    let guards: Vec<_> = late.iter_mut().map(|wait| assert_ready!(wait.poll())).collect();
    drop((reader, guards));
    assert!(names.is_empty());
}

#[test]
fn readers_stay_queued_when_a_second_writer_is_before_them() {
    let names = Names::new();
    let reader = names.try_read_named("img").unwrap();
    let mut w1 = task::spawn(names.lock_named("img"));
    let mut w2 = task::spawn(names.lock_named("img"));
    let mut late = task::spawn(names.read_named("img"));
    assert_pending!(w1.poll());
    assert_pending!(w2.poll());
    assert_pending!(late.poll());
    drop(w1);
    assert!(!w2.is_woken() && !late.is_woken());
    drop(reader);
    assert!(w2.is_woken() && !late.is_woken());
}

#[test]
fn a_thousand_readers_are_let_in_by_one_release() {
    let names = Names::new();
    let writer = names.try_lock_named("img").unwrap();
    let mut readers: Vec<_> = (0..1000).map(|_| task::spawn(names.read_named("img"))).collect();
    for reader in &mut readers {
        assert_pending!(reader.poll());
    }
    let mut last = task::spawn(names.lock_named("img"));
    assert_pending!(last.poll());
    drop(writer);
    assert!(readers.iter().all(|reader| reader.is_woken()));
    assert_eq!(names.holders("img"), 1000);
    drop(readers);
    assert!(last.is_woken());
}
