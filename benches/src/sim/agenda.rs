//! What is to happen when; and chance, by a seed.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// Events in the order of their time; of one time, in the order of being written down (E1).
#[derive(Debug)]
pub(super) struct Agenda<E> {
    now: u64,
    written: u64,
    events: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> Agenda<E> {
    pub(super) const fn new() -> Self {
        Self { now: 0, written: 0, events: BinaryHeap::new() }
    }

    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn after(&mut self, delay: u64, event: E) {
        self.written += 1;
        self.events.push(Reverse(Entry { at: self.now + delay, number: self.written, event }));
    }

    /// The next one before that time; the clock is set to its time.
    pub(super) fn next_before(&mut self, end: u64) -> Option<E> {
        if self.events.peek()?.0.at >= end {
            return None;
        }
        let Reverse(entry) = self.events.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

/// Numbers that the seed knows. SplitMix64.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below a bound, which may be zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
