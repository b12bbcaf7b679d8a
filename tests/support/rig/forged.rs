//! Forged journals: the judge finds what is wrong in them, and nothing else.

use super::{What::*, *};

fn line(time: u64, what: What, pid: u32, token: Option<u64>) -> Event {
    Event { time, what, pid, turn: 0, token, name: "a".to_owned() }
}

/// A hold as it should be.
fn hold(pid: u32, from: u64, until: u64, token: u64) -> Vec<Event> {
    vec![
        line(from - 1, Asked, pid, None),
        line(from, Exclusive, pid, Some(token)),
        line(until, Left, pid, None),
    ]
}

#[test]
fn what_is_right_is_left_alone() {
    let verdict = judge([hold(1, 10, 20, 5), hold(2, 20, 30, 6), hold(3, 31, 40, 9)].concat());
    assert_eq!(verdict.holds, 3);
    assert!(verdict.overlaps.is_empty() && verdict.disorders.is_empty(), "{verdict:?}");
    assert_eq!(verdict.maybe, 0);
}

#[test]
fn an_overlap_is_found_however_the_lines_are_mixed() {
    let mut events = [hold(1, 10, 20, 5), hold(2, 19, 30, 6)].concat();
    events.reverse();
    let verdict = judge(events);
    assert_eq!(verdict.overlaps.len(), 1);
    assert_eq!(verdict.overlaps[0].time, 1);
    // A short hold within a long one does not hide that the next is within it, too.
    let events = [hold(1, 10, 50, 5), hold(2, 20, 21, 6), hold(3, 30, 31, 7)].concat();
    assert_eq!(judge(events).overlaps.len(), 2);
    // Other names are other locks.
    let mut others = hold(2, 15, 30, 6);
    others.iter_mut().for_each(|event| event.name = "b".to_owned());
    assert!(judge([hold(1, 10, 20, 5), others].concat()).overlaps.is_empty());
}

#[test]
fn readers_share_with_readers_only() {
    let reader =
        |pid, from, until| vec![line(from, Shared, pid, None), line(until, Left, pid, None)];
    assert!(judge([reader(1, 10, 20), reader(2, 15, 30)].concat()).overlaps.is_empty());
    let events = [reader(1, 10, 40), reader(2, 15, 20), hold(3, 30, 50, 1)].concat();
    assert_eq!(judge(events).overlaps.len(), 1);
    assert_eq!(judge([hold(3, 10, 30, 1), reader(1, 20, 40)].concat()).overlaps.len(), 1);
}

#[test]
fn an_order_violation_is_found() {
    let disorders = |a, b| judge([hold(1, 10, 20, a), hold(2, 30, 40, b)].concat()).disorders;
    assert!(disorders(5, 6).is_empty());
    assert_eq!(disorders(6, 5).len(), 1);
    assert_eq!(disorders(5, 5).len(), 1, "twice the same is no order");
    let none = [line(10, Exclusive, 1, None), line(20, Left, 1, None)].to_vec();
    assert_eq!(judge(none).disorders.len(), 1, "none is no order");
}

#[test]
fn what_was_cut_in_the_middle_may_have_held() {
    // Asked, and killed without an answer; another one gets it meanwhile.
    let cut = [line(12, Asked, 9, None), line(25, Killed, 9, None)].to_vec();
    let verdict = judge([hold(1, 10, 20, 5), cut.clone(), hold(2, 22, 30, 6)].concat());
    assert_eq!((verdict.maybe, verdict.overlaps.len()), (1, 0));
    assert_eq!(verdict.possible.len(), 2, "{verdict:?}");
    // After its death it does not hold.
    let verdict = judge([cut, hold(2, 26, 30, 6)].concat());
    assert_eq!((verdict.maybe, verdict.possible.len()), (1, 0));
    // Given up without an answer and without a death: from then on, for ever.
    let verdict = judge([vec![line(12, Asked, 9, None)], hold(2, 90, 99, 6)].concat());
    assert_eq!((verdict.maybe, verdict.possible.len()), (1, 1));
    // Who was refused has certainly not held.
    let refused = [line(12, Asked, 9, None), line(13, Refused, 9, None)].to_vec();
    let verdict = judge([refused, hold(2, 90, 99, 6)].concat());
    assert_eq!((verdict.maybe, verdict.possible.len()), (0, 0));
}

#[test]
fn who_is_killed_or_frozen_or_told_holds_until_then() {
    for end in [Killed, Frozen, Told] {
        let start = [line(10, Exclusive, 1, Some(1)), line(20, end, 1, None)].to_vec();
        assert!(judge([start.clone(), hold(2, 20, 30, 2)].concat()).overlaps.is_empty());
        assert_eq!(judge([start, hold(2, 19, 30, 2)].concat()).overlaps.len(), 1, "{end:?}");
    }
    // Who is frozen in the queue has what he gets after it.
    let events = [line(5, Asked, 1, None), line(8, Frozen, 1, None)].to_vec();
    let granted = [line(10, Exclusive, 1, Some(1)), line(20, Left, 1, None)].to_vec();
    let verdict = judge([events, granted, hold(2, 15, 30, 2)].concat());
    assert_eq!(verdict.overlaps.len(), 1);
    // Who holds for ever shares with nobody.
    let verdict = judge([vec![line(10, Exclusive, 1, Some(1))], hold(2, 90, 99, 2)].concat());
    assert_eq!(verdict.overlaps.len(), 1);
}

#[test]
fn who_goes_on_and_is_not_told_has_held_all_the_time() {
    let stopped = [line(10, Exclusive, 1, Some(1)), line(20, Frozen, 1, None)].to_vec();
    let goes_on = [stopped, vec![line(50, Thawed, 1, None)]].concat();
    let left = [goes_on.clone(), vec![line(60, Left, 1, None)]].concat();
    assert!(judge([left.clone(), hold(2, 61, 70, 2)].concat()).overlaps.is_empty());
    for meanwhile in [30, 55] {
        let other = hold(2, meanwhile, 59, 2);
        assert_eq!(judge([left.clone(), other].concat()).overlaps.len(), 1, "{meanwhile}");
    }
    // Told as soon as it goes on: what it held, it did nothing with.
    let told = [goes_on, vec![line(51, Told, 1, None), line(60, Left, 1, None)]].concat();
    assert!(judge([told, hold(2, 30, 59, 2)].concat()).overlaps.is_empty());
}

#[test]
fn what_is_excused_hides_nobody() {
    let late = [line(10, Exclusive, 1, Some(1)), line(90, Told, 1, None)].to_vec();
    let verdict = judge([late, hold(2, 20, 40, 2), hold(3, 30, 35, 3)].concat());
    let told: Vec<_> = verdict.overlaps.iter().map(|overlap| overlap.told).collect();
    assert_eq!(told, [true, true, false], "{verdict:?}");
}

#[test]
fn a_locked_witness_is_excused_after_a_death_only() {
    let heir = [hold(2, 21, 30, 2), vec![line(22, Clash, 2, None)]].concat();
    let dead = [line(10, Exclusive, 1, Some(1)), line(20, Killed, 1, None)].to_vec();
    let verdict = judge([dead, heir.clone()].concat());
    assert_eq!((verdict.clashes.len(), verdict.excused), (0, 1));
    let verdict = judge([hold(1, 10, 20, 1), heir].concat());
    assert_eq!((verdict.clashes.len(), verdict.excused), (1, 0));
}

#[test]
fn a_journal_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("journal"));
    let turn = journal.asked("a");
    turn.granted(Some(3));
    journal.asked("a").granted(Some(2));
    turn.left();
    journal.ends(Killed, 7);
    let events = journal.read();
    assert_eq!(events.len(), 6);
    let verdict = judge(events);
    assert_eq!((verdict.holds, verdict.overlaps.len(), verdict.disorders.len()), (2, 1, 1));
}

#[test]
fn a_witness_is_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let witness = || Witness::open(&dir.path().join("witness"));
    let (one, two) = (witness(), witness());
    assert!(one.lock() && !two.lock());
    one.unlock();
    assert!(two.lock());
}
