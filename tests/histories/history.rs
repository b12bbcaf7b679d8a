//! One history: its steps, and whether the world does what the model says.

use std::{
    cell::Cell,
    io::Write,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    model::{Name, Task},
    world::{End, Mode, Nature, Refusal, Wait, World, poll},
};

/// Names that are in use at a time.
const NAMES: usize = 3;
/// What happens by itself happens within that, however busy the machine is.
const SOON: Duration = Duration::from_secs(20);
/// Histories of one world, before there is a new one.
const HISTORIES: u32 = 32;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new wait, polled once.
    Ask {
        name: usize,
        handle: usize,
        mode: Mode,
        limited: bool,
    },
    Try {
        name: usize,
        handle: usize,
        mode: Mode,
    },
    /// Polls a wait, whether or not it was woken.
    Poll(usize),
    /// Drops a wait; one that was woken, if there is one and it is wanted.
    Cancel {
        which: usize,
        woken: bool,
    },
    /// Releases a hold, or drops it.
    End {
        which: usize,
        confirmed: bool,
    },
    /// Forgets a hold or a wait, for ever; its name is used no more.
    Forget {
        which: usize,
        wait: bool,
    },
    /// Somebody takes the name away from who holds it.
    Lose {
        name: usize,
        chance: u32,
    },
    /// The limits of all waits run out.
    Tick,
    /// Polls whoever is woken, until nobody is.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let mode = || prop_oneof![2 => Just(Mode::Lock), 1 => Just(Mode::Read)];
    let which = any::<usize>;
    let yes = any::<bool>;
    prop_oneof![
        80 => (0..NAMES, which(), mode(), prop::bool::weighted(0.25)).prop_map(
            |(name, handle, mode, limited)| Step::Ask { name, handle, mode, limited }
        ),
        25 => (0..NAMES, which(), mode())
            .prop_map(|(name, handle, mode)| Step::Try { name, handle, mode }),
        40 => which().prop_map(Step::Poll),
        40 => (which(), yes()).prop_map(|(which, woken)| Step::Cancel { which, woken }),
        80 => (which(), yes()).prop_map(|(which, confirmed)| Step::End { which, confirmed }),
        1 => (which(), yes()).prop_map(|(which, wait)| Step::Forget { which, wait }),
        15 => (0..NAMES, 0..1_000_u32).prop_map(|(name, chance)| Step::Lose { name, chance }),
        10 => Just(Step::Tick),
        40 => Just(Step::Settle),
    ]
}

/// A name that is in use, or was.
struct Entry {
    name: String,
    model: Name,
    /// Somebody has forgotten something of it.
    dead: bool,
}

struct Waiting<H> {
    task: Task,
    entry: usize,
    limited: bool,
    /// Its limit is over.
    late: bool,
    /// A fault may have met it.
    doubtful: bool,
    wait: Wait<H>,
}

struct Holding<H> {
    task: Task,
    entry: usize,
    held: H,
}

struct Run<'a, W: World> {
    world: &'a W,
    nature: Nature,
    entries: Vec<Entry>,
    current: [usize; NAMES],
    waits: Vec<Waiting<W::Held>>,
    holds: Vec<Holding<W::Held>>,
    next: u64,
    /// Nothing has happened since everything came to rest.
    settled: bool,
    faults: usize,
    steps: usize,
    /// Something has been forgotten in this world.
    forgotten: &'a Cell<bool>,
}

impl<'a, W: World> Run<'a, W> {
    fn new(world: &'a W, forgotten: &'a Cell<bool>) -> Self {
        let mut run = Self {
            world,
            nature: world.nature(),
            entries: Vec::new(),
            current: [0; NAMES],
            waits: Vec::new(),
            holds: Vec::new(),
            next: 0,
            settled: true,
            faults: 0,
            steps: 0,
            forgotten,
        };
        for slot in 0..NAMES {
            run.rename(slot);
        }
        run
    }

    /// Puts a name in use that nobody has used.
    fn rename(&mut self, slot: usize) {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = Entry { name: format!("name-{number}"), model: Name::default(), dead: false };
        self.current[slot] = self.entries.len();
        self.entries.push(entry);
    }

    const fn task(&mut self, handle: usize, mode: Mode) -> Task {
        self.next += 1;
        Task { number: self.next, handle: handle % self.nature.handles, mode }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { name, handle, mode, limited } => {
                let mode = if self.nature.shared { mode } else { Mode::Lock };
                let (task, entry) = (self.task(handle, mode), self.current[name]);
                let Entry { name, model, .. } = &mut self.entries[entry];
                let wait = self.world.ask(task.handle, name, mode, limited);
                let open = model.is_open(task.handle, mode);
                model.queue(task);
                if self.nature.grants_at_once && open {
                    model.grant(task);
                }
                self.waits.push(Waiting {
                    task,
                    entry,
                    limited,
                    late: false,
                    doubtful: false,
                    wait,
                });
                self.poll(self.waits.len() - 1);
            }
            Step::Try { name, handle, mode } => self.attempt(self.current[name], handle, mode),
            Step::Poll(which) if !self.waits.is_empty() => self.poll(which % self.waits.len()),
            Step::Cancel { which, woken } if !self.waits.is_empty() => {
                let one_that_is_woken = self.waits.iter().position(|wait| wait.wait.is_woken());
                let which = one_that_is_woken.filter(|_| woken).unwrap_or(which % self.waits.len());
                self.cancel(which);
            }
            Step::End { which, confirmed } if !self.holds.is_empty() => {
                self.end(which % self.holds.len(), confirmed);
            }
            Step::Forget { .. } if !self.nature.forgets => return,
            Step::Forget { which, wait: true } if !self.waits.is_empty() => {
                let Waiting { entry, wait, .. } = self.waits.swap_remove(which % self.waits.len());
                std::mem::forget(wait);
                self.bury(entry);
            }
            Step::Forget { which, wait: false } if !self.holds.is_empty() => {
                let Holding { entry, held, .. } = self.holds.swap_remove(which % self.holds.len());
                std::mem::forget(held);
                self.bury(entry);
            }
            Step::Lose { name, chance } if self.nature.loses && chance < self.nature.losses => {
                self.settle();
                self.lose(self.current[name]);
            }
            Step::Tick => {
                self.world.tick();
                self.waits.iter_mut().for_each(|wait| wait.late = wait.limited);
                self.settled = false;
            }
            Step::Settle => self.settle(),
            Step::Poll(_)
            | Step::Cancel { .. }
            | Step::End { .. }
            | Step::Forget { .. }
            | Step::Lose { .. } => return,
        }
        self.steps += 1;
    }

    fn bury(&mut self, entry: usize) {
        self.forgotten.set(true);
        self.entries[entry].dead = true;
        if let Some(slot) = self.current.iter().position(|current| *current == entry) {
            self.rename(slot);
        }
    }

    fn left(&mut self, entry: usize, number: u64) {
        let model = &mut self.entries[entry].model;
        model.leave(number);
        if self.nature.grants_at_once {
            model.grant_all();
        }
        self.settled = false;
    }

    fn cancel(&mut self, which: usize) {
        let Waiting { task, entry, wait, .. } = self.waits.swap_remove(which);
        self.world.inside(|| drop(wait));
        self.left(entry, task.number);
    }

    fn poll(&mut self, which: usize) {
        let Waiting { task, entry, limited, late, doubtful, wait } = &mut self.waits[which];
        let (task, entry) = (*task, *entry);
        let outcome = self.world.inside(|| poll(wait));
        let model = &self.entries[entry].model;
        let at_once = self.nature.grants_at_once;
        match &outcome {
            None => assert!(!(at_once && model.holds(task.number)), "{task:?} should be let in"),
            Some(Ok(_)) if at_once => assert!(model.holds(task.number), "{task:?} let in"),
            Some(Ok(_)) => assert!(model.admits(task.number), "{task:?} let in: {model:?}"),
            Some(Err(Refusal::TimedOut)) => {
                let may_be = *limited && (*late || !self.nature.prompt);
                assert!(may_be && !model.holds(task.number), "{task:?} is late: {model:?}");
            }
            Some(Err(Refusal::Unavailable(_))) if *doubtful => {}
            Some(Err(e)) => panic!("{task:?}: {e}"),
        }
        let Some(outcome) = outcome else { return };
        self.waits.swap_remove(which);
        match outcome {
            Ok(held) => self.granted(task, entry, held),
            Err(_) => self.left(entry, task.number),
        }
    }

    fn granted(&mut self, task: Task, entry: usize, held: W::Held) {
        let model = &mut self.entries[entry].model;
        if !model.holds(task.number) {
            model.grant(task);
        }
        if let Some(token) = self.world.token(&held) {
            assert!(model.note(token), "{token} does not grow: {model:?}");
        }
        self.holds.push(Holding { task, entry, held });
    }

    fn attempt(&mut self, entry: usize, handle: usize, mode: Mode) {
        let task = self.task(handle, mode);
        let Entry { name, model, .. } = &self.entries[entry];
        let exact = self.nature.grants_at_once || (self.nature.prompt && self.settled);
        let (open, may) = (model.is_open(task.handle, mode), model.may_try(task.handle, mode));
        match self.world.attempt(task.handle, name, mode) {
            Ok(held) => {
                assert!(may && (open || !exact), "{task:?} by a try: {model:?}");
                self.granted(task, entry, held);
            }
            Err(Refusal::Busy) => assert!(!(open && exact), "{task:?} is busy: {model:?}"),
            Err(Refusal::Unsupported) => assert!(mode == Mode::Read && !self.nature.shared),
            Err(Refusal::Unavailable(_)) if self.nature.indeterminate && self.faults > 0 => {}
            Err(e) => panic!("{task:?} by a try: {e}"),
        }
    }

    fn end(&mut self, which: usize, confirmed: bool) {
        let Holding { task, entry, held } = self.holds.swap_remove(which);
        let told = self.world.is_lost(&held);
        let ended = self.world.inside(|| self.world.end(held, confirmed));
        let lost = self.entries[entry].model.has_lost(task.number);
        let right = match ended {
            End::Untold => true,
            End::Released => !lost,
            End::WasLost => lost,
            // Of a hold that was lost and whose holder has not been told.
            End::Unconfirmed => lost && self.nature.indeterminate && !told,
        };
        assert!(
            right,
            "{task:?} has ended as {ended:?}, told: {told}: {:?}",
            self.entries[entry].model
        );
        self.left(entry, task.number);
    }

    fn lose(&mut self, entry: usize) {
        let Entry { name, model, .. } = &self.entries[entry];
        // Who waits for a file that is deleted learns it late.
        let quick = self.nature.prompt || self.nature.indeterminate || model.waiters() == 0;
        if model.holders() == 0 || !quick {
            return;
        }
        let live =
            |hold: &&Holding<W::Held>| self.entries[hold.entry].model.holds(hold.task.number);
        let live: Vec<_> = self.holds.iter().filter(live).collect();
        let names =
            live.iter().map(|hold| (hold.task.handle, self.entries[hold.entry].name.as_str()));
        let Some(gone) = self.world.lose(name, &names.collect::<Vec<_>>()) else { return };
        assert!(!gone.is_empty(), "nobody has lost {name}");
        let gone: Vec<_> =
            gone.iter().map(|which| (live[*which].task, live[*which].entry)).collect();
        for (task, entry) in gone {
            self.entries[entry].model.lose(task.number);
            let waits = self.waits.iter_mut().filter(|wait| wait.task.handle == task.handle);
            waits.for_each(|wait| wait.doubtful |= self.nature.indeterminate);
        }
        self.faults += 1;
        self.settled = false;
    }

    /// Polls who is woken until nobody is, and until everything has happened that has to.
    fn settle(&mut self) {
        let begun = Instant::now();
        loop {
            while let Some(which) = self.waits.iter().position(|wait| wait.wait.is_woken()) {
                self.poll(which);
            }
            let Some(due) = self.is_due() else { break };
            assert!(!self.nature.prompt && begun.elapsed() < SOON, "not done: {due}");
            self.world.pause();
        }
        self.settled = true;
        for hold in &self.holds {
            let model = &self.entries[hold.entry].model;
            let lost = self.world.is_lost(&hold.held);
            assert_eq!(lost, model.has_lost(hold.task.number), "what {:?} is told", hold.task);
        }
        self.look();
    }

    /// What has to happen yet.
    fn is_due(&self) -> Option<String> {
        for Entry { name, model, .. } in self.entries.iter().filter(|entry| !entry.dead) {
            if model.is_due(self.nature) {
                return Some(format!("{name} is free: {model:?}"));
            }
        }
        if let Some(late) = self.waits.iter().find(|wait| wait.late) {
            return Some(format!("{:?} is late", late.task));
        }
        let untold = |hold: &&Holding<W::Held>| {
            let lost = self.entries[hold.entry].model.has_lost(hold.task.number);
            lost && !self.world.is_lost(&hold.held)
        };
        let untold = self.holds.iter().find(untold)?;
        Some(format!("{:?} has not been told of its loss", untold.task))
    }

    /// Whether the store says the same.
    fn look(&self) {
        for Entry { name, model, dead } in &self.entries {
            if *dead && !self.nature.grants_at_once {
                continue;
            }
            let (is_held, holders, waiters) = self.world.look(name);
            assert!(holders.is_none_or(|holders| holders == model.holders()), "{name}: {model:?}");
            assert!(waiters.is_none_or(|waiters| waiters == model.waiters()), "{name}: {model:?}");
            // Where things take a moment, who has left may still be seen.
            let seen = is_held == Some(model.holders() > 0)
                || (!self.nature.prompt && model.holders() == 0);
            assert!(seen, "{name} is held: {is_held:?}, {model:?}");
        }
        if self.nature.grants_at_once {
            for Waiting { task, entry, late, wait, .. } in &self.waits {
                let granted = self.entries[*entry].model.holds(task.number);
                assert_eq!(wait.is_woken(), granted || *late, "{task:?} and its waker");
            }
        }
    }

    /// Ends whatever there is: nothing is left but what was forgotten.
    fn finish(&mut self) {
        while !self.waits.is_empty() {
            self.cancel(0);
        }
        while !self.holds.is_empty() {
            self.end(0, false);
        }
        self.settle();
        for entry in 0..self.entries.len() {
            if self.entries[entry].dead {
                continue;
            }
            for handle in 0..self.nature.handles {
                let begun = Instant::now();
                loop {
                    self.attempt(entry, handle, Mode::Lock);
                    if !self.holds.is_empty() {
                        break;
                    }
                    let name = &self.entries[entry].name;
                    assert!(begun.elapsed() < SOON && !self.nature.prompt, "{name} is not free");
                    self.world.pause();
                }
                self.end(0, true);
            }
        }
        assert!(self.forgotten.get() || self.world.is_empty());
    }
}

/// Runs histories until there have been so many transitions, or as many as somebody wants.
pub(crate) fn explore<W: World>(name: &str, transitions: usize, world: impl Fn() -> W) {
    let wanted = match std::env::var("KEYWARD_HISTORIES") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => transitions,
    };
    let taken = Cell::new(0);
    let config = Config {
        cases: HISTORIES,
        failure_persistence: None,
        // What does not happen takes long to be seen.
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let steps = (prop::collection::vec(step(), 1..120), any::<bool>());
    let mut failed = None;
    while taken.get() < wanted && failed.is_none() {
        let (world, forgotten) = (world(), Cell::new(false));
        let mut runner = TestRunner::new(config.clone());
        let ran = runner.run(&steps, |(steps, looking)| {
            if taken.get() >= wanted {
                return Ok(());
            }
            let mut run = Run::new(&world, &forgotten);
            for step in steps {
                run.step(step);
                // Looking changes what a registry does next, so half of the runs do not.
                if looking && run.nature.grants_at_once {
                    run.look();
                }
            }
            run.settle();
            taken.set(taken.get() + run.steps);
            run.finish();
            Ok(())
        });
        failed = ran.err();
    }
    let violations = usize::from(failed.is_some());
    // Past what the test harness captures.
    let line = format!("\nhistories {name} transitions {} violations {violations}", taken.get());
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
    if let Some(failure) = failed {
        panic!("{failure}");
    }
}
