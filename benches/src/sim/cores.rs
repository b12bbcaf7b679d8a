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
    /// The server's, which may be everybody's.
    main: Pool,
    /// None: the processes have theirs.
    shared: bool,
    /// From then on time counts.
    since: u64,
    spent: [u64; 2],
}

#[derive(Debug)]
struct Pool {
    free: usize,
    queue: VecDeque<(u64, Side, Job)>,
}

impl Cores {
    pub(super) const fn new(machine: Machine, since: u64) -> Self {
        let (free, shared) = match machine {
            Machine::Shared { cores } => (cores, true),
            Machine::Apart { cores, .. } => (cores, false),
        };
        Self { main: Pool { free, queue: VecDeque::new() }, shared, since, spent: [0; 2] }
    }

    const fn is_scarce(&self, side: Side) -> bool {
        self.shared || matches!(side, Side::Server)
    }

    /// Has a job done, for so much processor time, when there is a core.
    pub(super) fn spend(&mut self, agenda: &mut Agenda<Event>, side: Side, cost: u64, job: Job) {
        if !self.is_scarce(side) {
            self.begin(agenda, side, cost, job);
        } else if self.main.free > 0 {
            self.main.free -= 1;
            self.begin(agenda, side, cost, job);
        } else {
            self.main.queue.push_back((cost, side, job));
        }
    }

    fn begin(&mut self, agenda: &mut Agenda<Event>, side: Side, cost: u64, job: Job) {
        if agenda.now() >= self.since {
            self.spent[side as usize] += cost;
        }
        agenda.after(cost, Event::Done(side, job));
    }

    /// A job is done: its core takes the next.
    pub(super) fn done(&mut self, agenda: &mut Agenda<Event>, side: Side) {
        if !self.is_scarce(side) {
            return;
        }
        match self.main.queue.pop_front() {
            Some((cost, side, job)) => self.begin(agenda, side, cost, job),
            None => self.main.free += 1,
        }
    }

    /// Processor time that counts.
    pub(super) const fn spent(&self, side: Side) -> u64 {
        self.spent[side as usize]
    }
}
