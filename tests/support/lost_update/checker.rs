//! Finds out what has become of acknowledged writes, from the log and the row that is left.
//!
//! 1. Every operation writes what it has read, plus one, and its own number. So the row that is left
//!    names its writer, that one's log names whom it had read, and so on down to the start. Who stands in
//!    this chain is in the register. An acknowledged write that does not is **lost**: somebody who had not
//!    read it wrote over it, or over one that had.
//! 2. The value is the length of the chain, or the register or the log is not what it says.
//! 3. An operation that was killed, or cut off, after it began to write may be in the chain or not: nobody
//!    was told that it is done.
//! 4. Two **overlap** if one began to have the lock while another process still had it: from the time that
//!    is noted when it had it to the one before it lets go, is told, or is heard of last.
//! 5. Whoever asked for the lock after somebody else had it has a larger token, or the tokens are **out of
//!    order**.
//! 6. If somebody with a larger token had the lock before it was asked whether it is held still, the answer
//!    cannot be yes: it was **vouched for wrongly**.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Outcome,
    log::{Event, Id, Line},
};

/// The row: its value, and who has written it; nobody is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) value: u64,
    pub(crate) writer: u64,
}

/// What has been found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// That had the lock.
    pub(crate) operations: usize,
    /// Of these, those whose write was said to be done.
    pub(crate) acknowledged: usize,
    /// Those that the register has refused.
    pub(crate) refused: usize,
    /// Those that the lock has kept from writing.
    pub(crate) told: usize,
    /// The rest: killed, or without an answer.
    pub(crate) unknown: usize,
    /// Acknowledged, and told of a loss when they let go.
    pub(crate) late: usize,
    /// What did not work, such as to get the lock.
    pub(crate) failures: usize,
    pub(crate) lost: usize,
    pub(crate) overlaps: usize,
    pub(crate) out_of_order: usize,
    pub(crate) vouched_wrongly: usize,
}

/// What one operation has written down.
#[derive(Clone, Copy, Debug, Default)]
struct Operation {
    asked: u64,
    had: Option<u64>,
    token: Option<u64>,
    /// Whom it has read.
    read: Option<u64>,
    vouched: Option<u64>,
    writes: bool,
    acked: bool,
    refused: bool,
    told: bool,
    late: bool,
    /// When it had the lock no more, as far as it knew.
    end: u64,
    ended: bool,
}

impl Operation {
    fn note(&mut self, line: Line) {
        match line.event {
            Event::Asks => self.asked = line.time,
            Event::Had(token) => (self.had, self.token) = (Some(line.time), token),
            Event::Read(_, writer) => self.read = Some(writer),
            Event::Vouched(since) => self.vouched = Some(since),
            Event::Writes => self.writes = true,
            Event::Acked => self.acked = true,
            Event::Refused => self.refused = true,
            Event::Told => self.told = true,
            Event::Late => self.late = true,
            Event::LetsGo | Event::Failed => {}
        }
        if !self.ended {
            self.end = line.time;
        }
        self.ended |= matches!(line.event, Event::LetsGo | Event::Told);
    }
}

/// Judges a history.
///
/// # Errors
///
/// It is none: what the row says was written by nobody, or is not what was written.
pub(crate) fn judge(lines: &[Line], row: Row) -> Outcome<Verdict> {
    let mut all: BTreeMap<u64, Operation> = BTreeMap::new();
    for &line in lines {
        all.entry(line.id.0).or_default().note(line);
    }
    let chain = chain(&all, row)?;
    let failures = lines.iter().filter(|line| line.event == Event::Failed).count();
    let mut verdict = Verdict { failures, overlaps: overlaps(&all), ..Verdict::default() };
    for (id, operation) in all.iter().filter(|(_, operation)| operation.had.is_some()) {
        verdict.operations += 1;
        verdict.late += usize::from(operation.acked && operation.late);
        if operation.acked {
            verdict.acknowledged += 1;
            verdict.lost += usize::from(!chain.contains(id));
        } else if operation.refused {
            verdict.refused += 1;
            if chain.contains(id) {
                return Err(format!("{id} was refused and is there"));
            }
        } else if operation.told && !operation.writes {
            verdict.told += 1;
        } else {
            verdict.unknown += 1;
        }
    }
    (verdict.out_of_order, verdict.vouched_wrongly) = order(&all);
    Ok(verdict)
}

/// Those who are in the register (1).
fn chain(all: &BTreeMap<u64, Operation>, row: Row) -> Outcome<BTreeSet<u64>> {
    let mut chain = BTreeSet::new();
    let mut writer = row.writer;
    while writer != 0 {
        let operation = all.get(&writer).filter(|operation| operation.writes);
        let operation = operation.ok_or_else(|| format!("{writer} is there and did not write"))?;
        if !chain.insert(writer) {
            return Err(format!("{writer} has read itself"));
        }
        writer = operation.read.ok_or_else(|| format!("{writer} wrote what it did not read"))?;
    }
    if chain.len() as u64 != row.value {
        return Err(format!("{} writes have made {}", chain.len(), row.value));
    }
    Ok(chain)
}

/// How many began while somebody else was there (4).
fn overlaps(all: &BTreeMap<u64, Operation>) -> usize {
    let had = |(&id, operation): (&u64, &Operation)| {
        Some((operation.had?, operation.end, Id(id).process()))
    };
    let mut spans: Vec<_> = all.iter().filter_map(had).collect();
    spans.sort_unstable();
    // Of each process, when it had the lock no more. There are few.
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    let mut overlaps = 0;
    for (begin, end, process) in spans {
        overlaps += usize::from(ends.iter().any(|(&p, &end)| p != process && begin < end));
        let last = ends.entry(process).or_default();
        *last = end.max(*last);
    }
    overlaps
}

/// Tokens out of order (5), and holds that were vouched for wrongly (6).
fn order(all: &BTreeMap<u64, Operation>) -> (usize, usize) {
    let granted = |operation: &Operation| Some((operation.had?, operation.token?));
    let mut grants: Vec<(u64, u64)> = all.values().filter_map(granted).collect();
    grants.sort_unstable();
    // The largest token that somebody had before a time.
    let mut largest = 0;
    for (_, token) in &mut grants {
        largest = largest.max(*token);
        *token = largest;
    }
    let before = |time: u64| {
        let count = grants.partition_point(|&(had, _)| had < time);
        count.checked_sub(1).map_or(0, |last| grants[last].1)
    };
    let late = |operation: &&Operation| {
        operation.token.is_some_and(|token| token <= before(operation.asked))
    };
    let wrong = |operation: &&Operation| {
        let both = operation.token.zip(operation.vouched);
        both.is_some_and(|(token, vouched)| token < before(vouched))
    };
    (all.values().filter(late).count(), all.values().filter(wrong).count())
}
