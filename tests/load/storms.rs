//! Row 23: waits and holds that are dropped by timeouts, by `select!`, by aborts and by `JoinSet`s, at any
//! moment, a million of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use keyward::{Lease, LockRegistry, Locks, NamedGuard};
use tokio::task::JoinSet;

use crate::{
    dice::Dice,
    measure::{descriptors, live, no_session_is_left, sessions, threads},
    sessions::{SLACK, millis, secs, within},
    stage::{Backend, Stage},
};

const NAMES: [&str; 5] = ["storm-a", "storm-b", "storm-c", "storm-d", "storm-e"];

/// How many tasks make the storm.
const TASKS: u64 = 24;

/// Where it rages.
#[derive(Clone)]
enum Sea {
    Registry(LockRegistry),
    Locks(Locks),
}

/// Both are held until they are dropped.
enum Hold {
    Guard { _guard: NamedGuard },
    Lease(Lease),
}

impl Sea {
    async fn lock(self, name: &'static str) -> Hold {
        match self {
            Self::Registry(registry) => Hold::Guard { _guard: registry.lock_named(name).await },
            Self::Locks(locks) => Hold::Lease(locks.lock_named(name).await.unwrap()),
        }
    }

    async fn lock_within(self, name: &'static str, limit: Duration) -> Option<Hold> {
        match self {
            Self::Registry(registry) => {
                let guard = registry.lock_named(name).timeout(limit).await;
                guard.ok().map(|guard| Hold::Guard { _guard: guard })
            }
            Self::Locks(locks) => locks.lock_named(name).timeout(limit).await.ok().map(Hold::Lease),
        }
    }
}

/// Who is in the section of each name, as nobody who locks could tell.
#[derive(Default)]
struct Inside([AtomicUsize; NAMES.len()]);

/// In a section, until it is dropped.
struct Entered(Arc<Inside>, usize);

impl Entered {
    fn enter(inside: &Arc<Inside>, at: usize, clashes: &AtomicUsize) -> Self {
        if inside.0[at].fetch_add(1, Ordering::SeqCst) != 0 {
            clashes.fetch_add(1, Ordering::SeqCst);
        }
        Self(Arc::clone(inside), at)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0[self.1].fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Count {
    clashes: AtomicUsize,
    left: AtomicUsize,
    /// Of those who were not dropped, in microseconds.
    longest_wait: AtomicU64,
    outcomes: Mutex<HashMap<&'static str, usize>>,
}

/// Takes a name, and is in its section for a moment.
async fn section(
    sea: Sea,
    at: usize,
    inside: Arc<Inside>,
    count: Arc<Count>,
    time: Option<Duration>,
) -> bool {
    let begun = Instant::now();
    let hold = sea.lock(NAMES[at]).await;
    let waited = u64::try_from(begun.elapsed().as_micros()).unwrap();
    count.longest_wait.fetch_max(waited, Ordering::Relaxed);
    // Dropped in this order, wherever it is cut off.
    let _hold = hold;
    let _entered = Entered::enter(&inside, at, &count.clashes);
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => tokio::task::yield_now().await,
    }
    true
}

async fn rage(sea: Sea, inside: Arc<Inside>, count: Arc<Count>, mut dice: Dice, unit: Duration) {
    let mut seen: HashMap<&'static str, usize> = HashMap::new();
    let take = |left: &AtomicUsize| {
        let less = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        less.is_ok()
    };
    while take(&count.left) {
        let at = dice.roll(NAMES.len() as u64) as usize;
        // Timers are as fine as a millisecond; turns of the scheduler are finer.
        let limit = unit.mul_f64(dice.roll(1000) as f64 / 1000.0);
        let time = (dice.roll(16) == 0).then_some(limit);
        let work = section(sea.clone(), at, Arc::clone(&inside), Arc::clone(&count), time);
        let (what, done) = match dice.roll(6) {
            0 => ("timeout() around it", tokio::time::timeout(limit, work).await.is_ok()),
            1 => match sea.clone().lock_within(NAMES[at], limit).await {
                Some(hold) => {
                    let _hold = hold;
                    let _entered = Entered::enter(&inside, at, &count.clashes);
                    ("timeout of its own", true)
                }
                None => ("timeout of its own", false),
            },
            2 => {
                let turns = dice.roll(6);
                let other = async {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    done = work => ("select!", done),
                    () = other => ("select!", false),
                }
            }
            3 => {
                let task = tokio::spawn(work);
                for _ in 0..dice.roll(4) {
                    tokio::task::yield_now().await;
                }
                task.abort();
                ("abort", task.await.is_ok())
            }
            4 => {
                let mut set = JoinSet::new();
                set.spawn(work);
                for _ in 0..dice.roll(3) {
                    let at = dice.roll(NAMES.len() as u64) as usize;
                    set.spawn(section(
                        sea.clone(),
                        at,
                        Arc::clone(&inside),
                        Arc::clone(&count),
                        None,
                    ));
                }
                let done = dice.roll(2) == 0 && set.join_next().await.is_some();
                drop(set);
                ("JoinSet", done)
            }
            _ => ("not dropped", work.await),
        };
        *seen.entry(what).or_default() += usize::from(!done);
    }
    let mut outcomes = count.outcomes.lock().unwrap();
    for (what, dropped) in seen {
        *outcomes.entry(what).or_default() += dropped;
    }
}

pub(crate) async fn of_drops(stage: Arc<Stage>) {
    let unit = match stage.backend {
        Backend::Registry | Backend::Memory => Duration::from_micros(50),
        _ => Duration::from_millis(4),
    };
    let registry = LockRegistry::<String>::new();
    let sea = match stage.backend {
        Backend::Registry => Sea::Registry(registry.clone()),
        _ => Sea::Locks(Locks::connect(stage.url("")).await.unwrap()),
    };
    let (inside, count) = (Arc::<Inside>::default(), Arc::<Count>::default());
    let storm = async |drops: usize, seed: u64| {
        count.left.store(drops, Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        for i in 0..TASKS {
            let (inside, count) = (Arc::clone(&inside), Arc::clone(&count));
            tasks.spawn(rage(sea.clone(), inside, count, Dice(seed + i), unit));
        }
        while let Some(task) = within(secs(600), "the storm", tasks.join_next()).await {
            stage.check(task.is_ok(), || format!("{task:?}"));
        }
    };
    let calm = async || {
        let begun = Instant::now();
        for name in NAMES {
            loop {
                let left = match &sea {
                    Sea::Registry(registry) => registry.waiters(name) + registry.holders(name),
                    Sea::Locks(locks) => {
                        let status = locks.inspect(name).await.unwrap();
                        status.waiters + usize::from(status.is_held())
                    }
                };
                if left == 0 {
                    break;
                }
                if begun.elapsed() > secs(10) {
                    return stage.violation(format!("{left} are left at {name}"));
                }
                tokio::time::sleep(millis(1)).await;
            }
        }
        stage.took("until nothing is left", begun.elapsed());
    };
    // What is kept for reuse is there after a tenth.
    storm(stage.runs / 10, 1).await;
    calm().await;
    tokio::time::sleep(millis(200)).await;
    let before = (live(), descriptors(), threads(), sessions(&stage).await);
    storm(stage.runs, 1000).await;
    calm().await;
    tokio::time::sleep(millis(200)).await;
    let after = (live(), descriptors(), threads(), sessions(&stage).await);
    let clashes = count.clashes.load(Ordering::SeqCst);
    stage.check(clashes == 0, || format!("{clashes} times two were inside"));
    // A waiter whose wake-up is lost looks again after 5 s, to warn, and would have it then.
    let longest = Duration::from_micros(count.longest_wait.load(Ordering::Relaxed));
    stage.check(longest < SLACK, || format!("somebody waited for {longest:?}"));
    stage.check(registry.is_empty(), || format!("{} keys are left", registry.len()));
    // A session more has its buffers.
    let room =
        (128 << 10) + usize::try_from(after.3.saturating_sub(before.3)).unwrap() * (64 << 10);
    stage.check(after.0 <= before.0 + room, || format!("{} bytes, {}", before.0, after.0));
    stage.check(after.1 <= before.1 + 16, || format!("{} files, then {}", before.1, after.1));
    stage.check(after.3 <= before.3 + 8, || format!("{} sessions, then {}", before.3, after.3));
    for name in NAMES {
        let begun = Instant::now();
        let next = sea.clone().lock_within(name, secs(10)).await;
        stage.took("the next one has it", begun.elapsed());
        stage.check(next.is_some(), || format!("nobody gets {name} any more"));
        if let Some(Hold::Lease(lease)) = next {
            drop(lease.release().await);
        }
    }
    if let Sea::Locks(locks) = &sea {
        within(secs(10), "closing", locks.close()).await;
    }
    if let Backend::MySql(kind) = stage.backend {
        no_session_is_left(&stage, kind.shared()).await;
    }
    (0..stage.runs).for_each(|_| stage.ran());
    let outcomes = count.outcomes.lock().unwrap();
    let mut outcomes: Vec<_> = outcomes.iter().filter(|(_, dropped)| **dropped > 0).collect();
    outcomes.sort();
    let dropped: usize = outcomes.iter().map(|(_, dropped)| **dropped).sum();
    let outcomes: Vec<_> = outcomes.iter().map(|(what, times)| format!("{what} {times}")).collect();
    stage.check(dropped * 10 > stage.runs, || format!("only {dropped} were dropped"));
    stage.note(format!(
        "{dropped} of {} were dropped in the middle ({}); descriptors {} and {}, threads {} and {}, \
         sessions {} and {}, bytes {} and {}",
        stage.runs,
        outcomes.join(", "),
        before.1,
        after.1,
        before.2,
        after.2,
        before.3,
        after.3,
        before.0,
        after.0,
    ));
}
