//! Random histories against a model that is too simple to be wrong: for each name a list of holders
//! and a list of waiters, in order.
//!
//! The model knows nothing of turns, hand-overs and joining, so it is compared where those are over:
//! once every wait that was woken has been polled. A step may release and cancel before that, so that
//! waits are dropped that hold already, or whose hold is on its way.

use std::collections::VecDeque;

use keyward::{Lease, Locks, futures::Acquiring};
use proptest::prelude::*;
use tokio_test::task::Spawn;

use crate::{
    by_hand, memory, now, paused,
    scripted::{Script, Scripted},
};

const NAMES: [&str; 2] = ["a", "b"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Lock,
    Read,
}

#[derive(Clone, Debug)]
enum Step {
    /// A new wait, polled once.
    Ask(usize, Mode),
    /// A try.
    Try(usize, Mode),
    /// Drops a wait.
    Cancel(usize),
    /// Drops a lease, or releases it; then drops so many of the waits that it has woken, unpolled.
    Release { which: usize, confirmed: bool, cancels: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![2 => Just(Mode::Lock), 1 => Just(Mode::Read)];
    let name = 0..NAMES.len();
    prop_oneof![
        5 => (name.clone(), mode.clone()).prop_map(|(name, mode)| Step::Ask(name, mode)),
        1 => (name, mode).prop_map(|(name, mode)| Step::Try(name, mode)),
        2 => any::<usize>().prop_map(Step::Cancel),
        5 => (any::<usize>(), any::<bool>(), 0..3_usize)
            .prop_map(|(which, confirmed, cancels)| Step::Release { which, confirmed, cancels }),
    ]
}

/// One name as the model sees it.
#[derive(Default)]
struct Name {
    holders: Vec<(u64, Mode)>,
    queue: VecDeque<(u64, Mode)>,
}

impl Name {
    fn fits(&self, mode: Mode) -> bool {
        self.holders.is_empty()
            || (mode == Mode::Read && self.holders.iter().all(|(_, held)| *held == Mode::Read))
    }

    fn is_open(&self, mode: Mode) -> bool {
        self.queue.is_empty() && self.fits(mode)
    }

    fn leave(&mut self, number: u64) {
        self.holders.retain(|holder| holder.0 != number);
        self.queue.retain(|waiter| waiter.0 != number);
    }

    fn let_in(&mut self) {
        while let Some((first, mode)) = self.queue.front().copied().filter(|next| self.fits(next.1))
        {
            self.queue.pop_front();
            self.holders.push((first, mode));
        }
    }
}

struct Wait {
    number: u64,
    name: usize,
    wait: Spawn<Acquiring>,
}

#[derive(Default)]
struct Run {
    model: [Name; NAMES.len()],
    waits: Vec<Wait>,
    leases: Vec<(u64, usize, Lease)>,
    next: u64,
}

impl Run {
    fn step(&mut self, locks: &Locks, step: Step) {
        match step {
            Step::Ask(name, mode) => {
                let number = self.number();
                let wait = locks.lock_named(NAMES[name]);
                let mut wait = by_hand(if mode == Mode::Read { wait.shared() } else { wait });
                let open = self.model[name].is_open(mode);
                self.model[name].queue.push_back((number, mode));
                match wait.poll() {
                    std::task::Poll::Ready(lease) => {
                        assert!(open, "{number} should have queued");
                        self.leases.push((number, name, lease.unwrap()));
                    }
                    std::task::Poll::Pending => {
                        assert!(!open, "{number} should have been let in");
                        self.waits.push(Wait { number, name, wait });
                    }
                }
            }
            Step::Try(name, mode) => {
                let number = self.number();
                let attempt = locks.try_lock_named(NAMES[name]);
                let attempt = now(if mode == Mode::Read { attempt.shared() } else { attempt });
                assert_eq!(attempt.is_ok(), self.model[name].is_open(mode), "a try: {attempt:?}");
                if let Ok(lease) = attempt {
                    self.model[name].holders.push((number, mode));
                    self.leases.push((number, name, lease));
                }
            }
            Step::Cancel(which) if !self.waits.is_empty() => {
                self.cancel(which % self.waits.len());
            }
            Step::Release { which, confirmed, cancels } if !self.leases.is_empty() => {
                let (number, name, lease) = self.leases.remove(which % self.leases.len());
                self.model[name].leave(number);
                if confirmed {
                    let released = futures::FutureExt::now_or_never(lease.release());
                    assert_eq!(released.unwrap().unwrap(), keyward::Released::Released);
                } else {
                    drop(lease);
                }
                for _ in 0..cancels {
                    if let Some(woken) = self.waits.iter().position(|wait| wait.wait.is_woken()) {
                        self.cancel(woken);
                    }
                }
            }
            Step::Cancel(_) | Step::Release { .. } => {}
        }
        self.settle();
        self.compare(locks);
    }

    fn cancel(&mut self, which: usize) {
        let Wait { number, name, wait } = self.waits.remove(which);
        drop(wait);
        self.model[name].leave(number);
    }

    /// Polls what is woken until nothing is.
    fn settle(&mut self) {
        while let Some(which) = self.waits.iter().position(|wait| wait.wait.is_woken()) {
            if let std::task::Poll::Ready(lease) = self.waits[which].wait.poll() {
                let Wait { number, name, .. } = self.waits.remove(which);
                self.leases.push((number, name, lease.unwrap()));
            }
        }
        self.model.iter_mut().for_each(Name::let_in);
    }

    fn compare(&self, locks: &Locks) {
        for (name, model) in self.model.iter().enumerate() {
            let mut expected: Vec<_> = model.holders.iter().map(|holder| holder.0).collect();
            let held = self.leases.iter().filter(|lease| lease.1 == name).map(|lease| lease.0);
            let mut held: Vec<_> = held.collect();
            expected.sort_unstable();
            held.sort_unstable();
            assert_eq!(held, expected, "who holds {}", NAMES[name]);
            let status = futures::FutureExt::now_or_never(locks.inspect(NAMES[name]));
            assert_eq!(status.unwrap().unwrap().is_held(), !held.is_empty());
        }
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = paused();
        let _inside = runtime.enter();
        let locks = memory();
        let mut run = Run::default();
        for step in steps {
            run.step(&locks, step);
        }
        drop(run);
        for name in NAMES {
            prop_assert!(now(locks.try_lock_named(name)).is_ok());
        }
    }

    #[test]
    fn agrees_with_the_model_where_holds_are_passed_on(
        steps in prop::collection::vec(step(), 1..50),
        passes_on in any::<bool>(),
    ) {
        let runtime = paused();
        let _inside = runtime.enter();
        let backend = Scripted::new(Script { passes_on, ..Script::default() });
        let locks = backend.locks();
        let mut run = Run::default();
        for step in steps {
            run.step(&locks, step);
        }
        prop_assert!(backend.counts().most_in_flight <= 1);
        drop(run);
        prop_assert!(NAMES.iter().all(|name| backend.is_free(name)));
    }
}
