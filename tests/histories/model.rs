//! What a name is, too simple to be wrong: who holds it, and for each handle who waits, in order.
//!
//! 1. An exclusive holder is alone; readers are together.
//! 2. Of one handle, whoever asked first is first: a reader may pass readers, and nobody else passes
//!    anybody. Of several handles the store picks one.
//! 3. What was lost is free for other handles at once. Its own handle gets the name again when the lost
//!    exclusive hold has been let go of, but for tries of readers.
//! 4. Tokens of exclusive holds grow.

use std::collections::VecDeque;

use crate::world::{Mode, Nature};

/// One who holds a name or waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) handle: usize,
    pub(crate) mode: Mode,
}

#[derive(Debug, Default)]
pub(crate) struct Name {
    /// Those who hold it in the store.
    holders: Vec<Task>,
    /// Those who have lost it, and have not let go of it.
    lost: Vec<Task>,
    /// Those who wait, of each handle.
    queues: [VecDeque<Task>; 2],
    last_token: u64,
}

impl Name {
    /// 1
    fn fits(&self, mode: Mode) -> bool {
        match mode {
            Mode::Lock => self.holders.is_empty(),
            Mode::Read => self.holders.iter().all(|holder| holder.mode == Mode::Read),
        }
    }

    /// 3
    fn is_blocked(&self, handle: usize) -> bool {
        self.lost.iter().any(|task| task.handle == handle && task.mode == Mode::Lock)
    }

    /// Whether this one may get the name now (1, 2, 3).
    pub(crate) fn admits(&self, number: u64) -> bool {
        let mut queues = self.queues.iter();
        let Some(ahead) = queues.find_map(|queue| {
            let place = queue.iter().position(|task| task.number == number)?;
            Some((queue[place], queue.range(..place)))
        }) else {
            return false;
        };
        let (task, mut ahead) = ahead;
        let first = match task.mode {
            Mode::Lock => ahead.next().is_none(),
            Mode::Read => ahead.all(|other| other.mode == Mode::Read),
        };
        first && self.fits(task.mode) && !self.is_blocked(task.handle)
    }

    /// Whether a try gets the name, where everything has come to rest.
    pub(crate) fn is_open(&self, handle: usize, mode: Mode) -> bool {
        let asks = |(handle, queue): (usize, &VecDeque<Task>)| {
            !queue.is_empty() && !self.is_blocked(handle)
        };
        self.may_try(handle, mode) && !self.queues.iter().enumerate().any(asks)
    }

    /// Whether a try may get the name, wherever others are.
    pub(crate) fn may_try(&self, handle: usize, mode: Mode) -> bool {
        // A reader's try asks the store at once: it may pass those of its handle who have not come to
        // the store yet, because they are woken and not polled, or because of a hold that was lost.
        let at_once = mode == Mode::Read;
        let first = || self.queues[handle].is_empty() && !self.is_blocked(handle);
        self.fits(mode) && (at_once || first())
    }

    /// Who has to get the name before everything has come to rest: all that fit, if there is one handle;
    /// of several at least one, and readers beside readers if no writer waits.
    pub(crate) fn is_due(&self, nature: Nature) -> bool {
        let waits = || {
            let queues = self.queues.iter().enumerate();
            queues.filter(|(handle, _)| !self.is_blocked(*handle)).flat_map(|(_, queue)| queue)
        };
        let admitted = || waits().any(|task| self.admits(task.number));
        let writers = || waits().any(|task| task.mode == Mode::Lock);
        admitted() && (nature.handles == 1 || self.holders.is_empty() || !writers())
    }

    pub(crate) fn queue(&mut self, task: Task) {
        self.queues[task.handle].push_back(task);
    }

    /// It has the name now, whether or not it waited.
    pub(crate) fn grant(&mut self, task: Task) {
        self.queues[task.handle].retain(|other| other.number != task.number);
        self.holders.push(task);
    }

    /// As a registry grants it: to all that fit, in order.
    pub(crate) fn grant_all(&mut self) {
        while let Some(task) = self.queues[0].front().copied().filter(|task| self.fits(task.mode)) {
            self.grant(task);
        }
    }

    /// It has left, from wherever it was.
    pub(crate) fn leave(&mut self, number: u64) {
        let stays = |task: &Task| task.number != number;
        self.holders.retain(stays);
        self.lost.retain(stays);
        self.queues.iter_mut().for_each(|queue| queue.retain(stays));
    }

    /// It has lost the name.
    pub(crate) fn lose(&mut self, number: u64) {
        let lost = self.holders.iter().position(|holder| holder.number == number);
        self.lost.extend(lost.map(|place| self.holders.swap_remove(place)));
    }

    /// False if it does not grow (4).
    pub(crate) fn note(&mut self, token: u64) -> bool {
        let grows = token > self.last_token;
        self.last_token = token;
        grows
    }

    pub(crate) fn holds(&self, number: u64) -> bool {
        self.holders.iter().any(|holder| holder.number == number)
    }

    pub(crate) fn has_lost(&self, number: u64) -> bool {
        self.lost.iter().any(|holder| holder.number == number)
    }

    pub(crate) fn holders(&self) -> usize {
        self.holders.len()
    }

    pub(crate) fn waiters(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }
}
