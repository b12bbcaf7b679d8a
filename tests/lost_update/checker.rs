//! Forged histories: the checker finds what is wrong in them, and nothing else.

use crate::lost_update::{
    checker::{Row, Verdict, judge},
    log::{Event, Id, Line},
};

/// A history that is written down here, each line a tick later.
#[derive(Default)]
struct Forged(Vec<Line>);

impl Forged {
    fn note(&mut self, process: u64, count: u64, event: Event) -> &mut Self {
        let time = 1000 + self.0.len() as u64;
        self.0.push(Line { time, id: Id::new(process, count), event });
        self
    }

    fn asks(&mut self, process: u64, count: u64, token: u64) -> &mut Self {
        self.note(process, count, Event::Asks).note(process, count, Event::Had(Some(token)))
    }

    /// Reads what `from` has written.
    fn reads(&mut self, process: u64, count: u64, value: u64, from: u64) -> &mut Self {
        self.note(process, count, Event::Read(value, from))
    }

    fn writes(&mut self, process: u64, count: u64) -> &mut Self {
        self.note(process, count, Event::Writes).note(process, count, Event::Acked)
    }

    fn goes(&mut self, process: u64, count: u64) -> &mut Self {
        self.note(process, count, Event::LetsGo)
    }

    fn whole(&mut self, process: u64, count: u64, token: u64, value: u64, from: u64) -> &mut Self {
        self.asks(process, count, token).reads(process, count, value, from);
        self.writes(process, count).goes(process, count)
    }

    fn judge(&self, value: u64, writer: u64) -> Result<Verdict, String> {
        judge(&self.0, Row { value, writer })
    }
}

const fn id(process: u64, count: u64) -> u64 {
    Id::new(process, count).0
}

#[test]
fn one_after_the_other_loses_nothing() {
    let mut forged = Forged::default();
    forged.whole(1, 1, 10, 0, 0).whole(2, 1, 11, 1, id(1, 1)).whole(1, 2, 12, 2, id(2, 1));
    let verdict = forged.judge(3, id(1, 2)).unwrap();
    assert_eq!(verdict, Verdict { operations: 3, acknowledged: 3, ..Verdict::default() });
}

/// The first sleeps between its read and its write, and all that the others do meanwhile is gone.
#[test]
fn a_late_write_loses_all_that_it_has_not_read() {
    let mut forged = Forged::default();
    forged.asks(1, 1, 10).reads(1, 1, 0, 0);
    forged.whole(2, 1, 11, 0, 0).whole(3, 1, 12, 1, id(2, 1)).whole(2, 2, 13, 2, id(3, 1));
    forged.writes(1, 1).goes(1, 1);
    let verdict = forged.judge(1, id(1, 1)).unwrap();
    let expected =
        Verdict { operations: 4, acknowledged: 4, lost: 3, overlaps: 3, ..Verdict::default() };
    assert_eq!(verdict, expected);
    // It is no excuse that somebody goes on from there.
    forged.whole(3, 2, 14, 1, id(1, 1));
    assert_eq!(forged.judge(2, id(3, 2)).unwrap().lost, 3);
}

/// The other way round: the late one's own write is the one that is lost.
#[test]
fn a_late_write_is_lost_itself() {
    let mut forged = Forged::default();
    forged.asks(1, 1, 10).reads(1, 1, 0, 0).asks(2, 1, 11).reads(2, 1, 0, 0);
    forged.writes(1, 1).goes(1, 1).writes(2, 1).goes(2, 1);
    let verdict = forged.judge(1, id(2, 1)).unwrap();
    assert_eq!((verdict.lost, verdict.acknowledged, verdict.overlaps), (1, 2, 1));
}

#[test]
fn nobody_was_told_that_it_is_done() {
    let mut forged = Forged::default();
    // Killed while it writes: done or not, nothing is lost.
    forged.asks(1, 1, 10).reads(1, 1, 0, 0).note(1, 1, Event::Writes);
    let mut done = Forged(forged.0.clone());
    let done = done.whole(2, 1, 11, 1, id(1, 1)).judge(2, id(2, 1)).unwrap();
    let not = forged.whole(2, 1, 11, 0, 0).judge(1, id(2, 1)).unwrap();
    assert_eq!(done, not);
    let expected = Verdict { operations: 2, acknowledged: 1, unknown: 1, ..Verdict::default() };
    assert_eq!(done, expected);
}

#[test]
fn the_refused_and_the_told_are_counted() {
    let mut forged = Forged::default();
    forged.asks(1, 1, 10).reads(1, 1, 0, 0).whole(2, 1, 11, 0, 0);
    forged.note(1, 1, Event::Writes).note(1, 1, Event::Refused).goes(1, 1);
    forged.note(1, 1, Event::Late);
    forged.asks(1, 2, 12).note(1, 2, Event::Told).goes(1, 2);
    // Cut off in its write: that was not in time.
    forged.asks(1, 3, 13).reads(1, 3, 1, id(2, 1)).note(1, 3, Event::Writes);
    forged.note(1, 3, Event::Told).goes(1, 3);
    forged.note(1, 4, Event::Asks).note(1, 4, Event::Failed);
    let verdict = forged.judge(1, id(2, 1)).unwrap();
    let expected = Verdict {
        operations: 4,
        acknowledged: 1,
        refused: 1,
        told: 1,
        unknown: 1,
        failures: 1,
        overlaps: 1,
        ..Verdict::default()
    };
    assert_eq!(verdict, expected);
}

#[test]
fn a_loss_that_is_told_after_the_write_is_late() {
    let mut forged = Forged::default();
    forged.whole(1, 1, 10, 0, 0).note(1, 1, Event::Late);
    assert_eq!(forged.judge(1, id(1, 1)).unwrap().late, 1);
}

#[test]
fn tokens_that_do_not_grow_are_found() {
    let mut forged = Forged::default();
    forged.whole(1, 1, 11, 0, 0).whole(2, 1, 11, 1, id(1, 1)).whole(1, 2, 10, 2, id(2, 1));
    assert_eq!(forged.judge(3, id(1, 2)).unwrap().out_of_order, 2);
    // Asked before the other had it: either may have been first.
    let mut forged = Forged::default();
    forged.note(2, 1, Event::Asks).whole(1, 1, 11, 0, 0).note(2, 1, Event::Had(Some(10)));
    assert_eq!(forged.judge(1, id(1, 1)).unwrap().out_of_order, 0);
}

#[test]
fn an_answer_that_cannot_be_true_is_found() {
    let mut forged = Forged::default();
    forged.asks(1, 1, 10).asks(2, 1, 11);
    let asked = 1000 + forged.0.len() as u64;
    forged.note(1, 1, Event::Vouched(asked));
    assert_eq!(forged.judge(0, 0).unwrap().vouched_wrongly, 1);
    // Asked before the other had it: it may have been true.
    forged.0.pop();
    forged.note(1, 1, Event::Vouched(1002));
    assert_eq!(forged.judge(0, 0).unwrap().vouched_wrongly, 0);
}

#[test]
fn a_register_that_is_not_what_was_written_is_no_history() {
    let mut forged = Forged::default();
    forged.whole(1, 1, 10, 0, 0);
    assert!(forged.judge(2, id(1, 1)).is_err(), "the value is not of its writers");
    assert!(forged.judge(1, id(7, 7)).is_err(), "nobody has written that");
    forged.asks(2, 1, 11).reads(2, 1, 1, id(1, 1)).note(2, 1, Event::Writes);
    forged.note(2, 1, Event::Refused).goes(2, 1);
    assert!(forged.judge(2, id(2, 1)).is_err(), "refused, and there");
}
