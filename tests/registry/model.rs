//! Random histories against a model that is too simple to be wrong: for each key a list of holders
//! and a list of waiters, in order.

use std::collections::VecDeque;

use keyward::{
    NamedGuard, NamedReadGuard,
    futures::{LockNamed, ReadNamed},
};
use proptest::prelude::*;
use tokio_test::task::{self, Spawn};

use crate::Names;

const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Lock,
    Read,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new wait, polled once.
    Ask(usize, Mode),
    /// A try.
    Try(usize, Mode),
    /// Polls a wait again, whether or not it was woken.
    Poll(usize),
    /// Drops a wait: parked, or woken and not polled.
    Cancel(usize),
    /// Drops a guard.
    Release(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![2 => Just(Mode::Lock), 1 => Just(Mode::Read)];
    let key = 0..KEYS.len();
    prop_oneof![
        4 => (key.clone(), mode.clone()).prop_map(|(key, mode)| Step::Ask(key, mode)),
        1 => (key, mode).prop_map(|(key, mode)| Step::Try(key, mode)),
        2 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::Cancel),
        4 => any::<usize>().prop_map(Step::Release),
    ]
}

enum Wait<'a> {
    Lock(Spawn<LockNamed<'a>>),
    Read(Spawn<ReadNamed<'a>>),
}

enum Guard {
    Lock(NamedGuard),
    Read(NamedReadGuard),
}

impl Guard {
    fn name(&self) -> &str {
        match self {
            Self::Lock(guard) => guard.name(),
            Self::Read(guard) => guard.name(),
        }
    }
}

impl<'a> Wait<'a> {
    fn new(names: &'a Names, key: &'a str, mode: Mode) -> Self {
        match mode {
            Mode::Lock => Self::Lock(task::spawn(names.lock_named(key))),
            Mode::Read => Self::Read(task::spawn(names.read_named(key))),
        }
    }

    fn poll(&mut self) -> Option<Guard> {
        let poll = match self {
            Self::Lock(wait) => wait.poll().map(Guard::Lock),
            Self::Read(wait) => wait.poll().map(Guard::Read),
        };
        match poll {
            std::task::Poll::Ready(guard) => Some(guard),
            std::task::Poll::Pending => None,
        }
    }

    fn is_woken(&self) -> bool {
        match self {
            Self::Lock(wait) => wait.is_woken(),
            Self::Read(wait) => wait.is_woken(),
        }
    }
}

/// One key as the model sees it: who holds it (granted waits included) and who waits, by number.
#[derive(Default)]
struct Key {
    holders: Vec<(u64, Mode)>,
    queue: VecDeque<(u64, Mode)>,
}

impl Key {
    fn fits(&self, mode: Mode) -> bool {
        self.holders.is_empty()
            || (mode == Mode::Read && self.holders.iter().all(|(_, held)| *held == Mode::Read))
    }

    /// Whether it is held now, and not queued.
    fn ask(&mut self, number: u64, mode: Mode) -> bool {
        let free = self.queue.is_empty() && self.fits(mode);
        if free {
            self.holders.push((number, mode));
        } else {
            self.queue.push_back((number, mode));
        }
        free
    }

    fn leave(&mut self, number: u64) {
        self.holders.retain(|holder| holder.0 != number);
        self.queue.retain(|waiter| waiter.0 != number);
        while let Some((first, mode)) = self.queue.front().copied().filter(|next| self.fits(next.1))
        {
            self.queue.pop_front();
            self.holders.push((first, mode));
        }
    }

    fn holds(&self, number: u64) -> bool {
        self.holders.iter().any(|holder| holder.0 == number)
    }
}

#[derive(Default)]
struct Run<'a> {
    model: [Key; KEYS.len()],
    waits: Vec<(u64, usize, Wait<'a>)>,
    guards: Vec<(u64, usize, Guard)>,
    next: u64,
}

impl<'a> Run<'a> {
    fn step(&mut self, names: &'a Names, step: Step) {
        match step {
            Step::Ask(key, mode) => {
                let number = self.number();
                let mut wait = Wait::new(names, KEYS[key], mode);
                let held = self.model[key].ask(number, mode);
                match wait.poll() {
                    Some(guard) => {
                        assert!(held, "{number} should have queued");
                        self.guards.push((number, key, guard));
                    }
                    None => {
                        assert!(!held, "{number} should have been let in");
                        self.waits.push((number, key, wait));
                    }
                }
            }
            Step::Try(key, mode) => {
                let number = self.number();
                let model = &mut self.model[key];
                let free = model.queue.is_empty() && model.fits(mode);
                let guard = match mode {
                    Mode::Lock => names.try_lock_named(KEYS[key]).map(Guard::Lock),
                    Mode::Read => names.try_read_named(KEYS[key]).map(Guard::Read),
                };
                assert_eq!(guard.is_ok(), free);
                if let Ok(guard) = guard {
                    model.holders.push((number, mode));
                    self.guards.push((number, key, guard));
                }
            }
            Step::Poll(which) if !self.waits.is_empty() => {
                let which = which % self.waits.len();
                let (number, key, wait) = &mut self.waits[which];
                let (number, key) = (*number, *key);
                let granted = self.model[key].holds(number);
                let guard = wait.poll();
                assert_eq!(guard.is_some(), granted, "{number}");
                if let Some(guard) = guard {
                    self.waits.remove(which);
                    self.guards.push((number, key, guard));
                }
            }
            Step::Cancel(which) if !self.waits.is_empty() => {
                let which = which % self.waits.len();
                let (number, key, wait) = self.waits.remove(which);
                drop(wait);
                self.model[key].leave(number);
            }
            Step::Release(which) if !self.guards.is_empty() => {
                let which = which % self.guards.len();
                let (number, key, guard) = self.guards.remove(which);
                assert_eq!(guard.name(), KEYS[key]);
                drop(guard);
                self.model[key].leave(number);
            }
            Step::Poll(_) | Step::Cancel(_) | Step::Release(_) => {}
        }
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn compare(&self, names: &Names) {
        for (key, model) in KEYS.iter().zip(&self.model) {
            assert_eq!(names.holders(*key), model.holders.len(), "holders of {key}");
            assert_eq!(names.waiters(*key), model.queue.len(), "waiters of {key}");
        }
        let held = self.model.iter().filter(|key| !key.holders.is_empty()).count();
        assert_eq!(names.len(), held);
        for (number, key, wait) in &self.waits {
            assert_eq!(wait.is_woken(), self.model[*key].holds(*number), "{number} and its waker");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn agrees_with_the_model(
        steps in prop::collection::vec(step(), 1..60),
        looking in any::<bool>(),
    ) {
        let names = Names::new();
        let mut run = Run::default();
        for step in steps {
            run.step(&names, step);
            // Looking makes buckets slow, so half of the runs only look at the end.
            if looking {
                run.compare(&names);
            }
        }
        run.compare(&names);
        drop(run);
        prop_assert!(names.is_empty());
    }
}
