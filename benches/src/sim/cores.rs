//! Cores, and who waits for one (E2).

use std::collections::VecDeque;

use super::{
    Machine,
    agenda::Agenda,
    world::{Event, Job},
};

/// Who spends processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// All cores there are.
#[derive(Debug)]
pub(super) struct Cores {
    /// Of the server's machine, which may be everybody's.
    free: usize,
    queue: VecDeque<(Side, Job)>,
    /// Otherwise each process has a core of its own.
    are_shared: bool,
    /// From then on time counts.
    since: u64,
    spent: [u64; 2],
}

impl Cores {
    pub(super) const fn new(machine: Machine, since: u64) -> Self {
        let (free, are_shared) = match machine {
            Machine::Shared { cores } => (cores, true),
            Machine::Apart { cores, .. } => (cores, false),
        };
        Self { free, queue: VecDeque::new(), are_shared, since, spent: [0; 2] }
    }

    const fn are_scarce(&self, side: Side) -> bool {
        self.are_shared || matches!(side, Side::Server)
    }

    /// Whether a job may begin at once; else it is told by [`give_back`](Self::give_back) when it may.
    pub(super) fn take(&mut self, side: Side, job: Job) -> bool {
        if !self.are_scarce(side) {
            return true;
        }
        if self.free == 0 {
            self.queue.push_back((side, job));
            return false;
        }
        self.free -= 1;
        true
    }

    /// A job that may begin takes so long.
    pub(super) fn spend(&mut self, agenda: &mut Agenda<Event>, side: Side, cost: u64, job: Job) {
        if agenda.now() >= self.since {
            self.spent[side as usize] += cost;
        }
        agenda.after(cost, Event::Done(side, job));
    }

    /// A job is done: who may begin on its core.
    pub(super) fn give_back(&mut self, side: Side) -> Option<(Side, Job)> {
        if !self.are_scarce(side) {
            return None;
        }
        let next = self.queue.pop_front();
        self.free += usize::from(next.is_none());
        next
    }

    /// Processor time that counts.
    pub(super) const fn spent(&self, side: Side) -> u64 {
        self.spent[side as usize]
    }
}
