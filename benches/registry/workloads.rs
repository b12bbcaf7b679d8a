//! The workloads that are timed.
//!
//! | name | what |
//! |---|---|
//! | hot / fresh | 20,000 x lock and drop of one key / of a key not used before in the round |
//! | same key | MT: two tasks meet at a spin barrier, 10,000 each, one key, no yield; last end - first start |
//! | same key, yield | CT, MT: two tasks, 3,000 each, one key, one yield while holding |
//! | two keys | MT: as "same key", two different keys, 20,000 each |
//! | one key, 64 tasks | CT, MT: 60 each, one yield while holding, spawn and join included |
//! | many keys | CT, MT: 10,000 tasks, one lock each over 1,000 keys, one yield while holding, spawn included |
//! | try free / busy | 20,000 x try of a free / held key |
//! | timeout | 20,000 x lock with a limit of 5 s of a free key |
//! | cancel | 4,000 queued futures on a held key, dropped newest first; per drop |
//! | four keys | 5,000 x four keys at once |
//! | read / write | 20,000 x shared / exclusive lock of one key, beside a bare tokio RwLock |

use std::{
    future::Future,
    hint::{black_box, spin_loop},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Context,
    time::{Duration, Instant},
};

use futures::task::noop_waker_ref;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};

use crate::{
    contestants::{
        Amalgam, Bare, Cleaned, Contestant, Key, KeyLock, KeyMutex, KeyedLock, Keyward, Leaking,
        Lockable, NamedLocker, NoLock, Striped, keys,
    },
    report::{Report, Run},
};

/// What every workload needs.
#[derive(Clone, Copy)]
pub(crate) struct World {
    keys: &'static [Key],
    ct: &'static Runtime,
    mt: &'static Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let ct = Builder::new_current_thread().enable_time().build();
        let mt = Builder::new_multi_thread().worker_threads(2).enable_time().build();
        let leak = |runtime: std::io::Result<Runtime>| Box::leak(Box::new(runtime.unwrap()));
        Self { keys: keys(), ct: leak(ct), mt: leak(mt) }
    }
}

/// Runs a task to its end, on its runtime.
fn in_task<T: Send + 'static>(
    runtime: &'static Runtime,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(task).await.unwrap() })
}

fn nanos(start: Instant, operations: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// Lock and drop, again and again; the key by the number of the operation.
pub(crate) async fn repeat<C: Contestant>(
    lock: &'static C,
    count: usize,
    key: impl Fn(usize) -> &'static Key + Send,
) -> f64 {
    let start = Instant::now();
    for n in 0..count {
        let guard = lock.lock(key(n)).await;
        black_box(&guard);
    }
    nanos(start, count)
}

/// How two tasks go about it.
#[derive(Clone, Copy)]
struct Pace {
    count: usize,
    /// Wait for the other by spinning; on one thread that would be for ever.
    spin: bool,
    /// Yield once while holding.
    pause: bool,
}

static MET: AtomicUsize = AtomicUsize::new(0);

async fn one_of_two<C: Contestant>(
    lock: &'static C,
    key: &'static Key,
    pace: Pace,
) -> (Instant, Instant) {
    MET.fetch_add(1, Ordering::SeqCst);
    let mut spins = 0_u32;
    while MET.load(Ordering::SeqCst) < 2 {
        spins += 1;
        // Now and then, because the other may be in this worker's own queue.
        if pace.spin && !spins.is_multiple_of(10_000) {
            spin_loop();
        } else {
            yield_now().await;
        }
    }
    let start = Instant::now();
    for _ in 0..pace.count {
        let guard = lock.lock(key).await;
        if pace.pause {
            yield_now().await;
        }
        black_box(&guard);
    }
    (start, Instant::now())
}

/// Two tasks that start together; from the first start to the last end.
fn pair<C: Contestant>(
    runtime: &'static Runtime,
    lock: &'static C,
    keys: [&'static Key; 2],
    pace: Pace,
) -> f64 {
    MET.store(0, Ordering::SeqCst);
    let ends = runtime.block_on(async {
        let [a, b] = keys.map(|key| tokio::spawn(one_of_two(lock, key, pace)));
        [a.await.unwrap(), b.await.unwrap()]
    });
    let (start, end) = (ends[0].0.min(ends[1].0), ends[0].1.max(ends[1].1));
    (end - start).as_nanos() as f64 / (2 * pace.count) as f64
}

/// So many tasks, so many locks each, with a yield while holding; spawn and join included.
fn crowd<C: Contestant>(
    runtime: &'static Runtime,
    lock: &'static C,
    (tasks, each): (usize, usize),
    key: impl Fn(usize) -> &'static Key,
) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let mut set = JoinSet::new();
        for task in 0..tasks {
            let key = key(task);
            set.spawn(async move {
                for _ in 0..each {
                    let guard = lock.lock(key).await;
                    yield_now().await;
                    black_box(&guard);
                }
            });
        }
        while set.join_next().await.is_some() {}
        nanos(start, tasks * each)
    })
}

fn try_free<C: Contestant>(lock: &'static C, key: &'static Key) -> Option<f64> {
    lock.try_lock(key)?;
    let start = Instant::now();
    for _ in 0..20_000 {
        let guard = lock.try_lock(key);
        black_box(&guard);
    }
    Some(nanos(start, 20_000))
}

fn try_busy<C: Contestant>(lock: &'static C, key: &'static Key) -> Option<f64> {
    let held = lock.try_lock(key)?;
    let start = Instant::now();
    for _ in 0..20_000 {
        black_box(lock.try_lock(key).is_some_and(|guard| guard.is_some()));
    }
    let ns = nanos(start, 20_000);
    drop(held);
    Some(ns)
}

async fn timeouts<C: Contestant>(lock: &'static C, key: &'static Key) -> f64 {
    let start = Instant::now();
    for _ in 0..20_000 {
        let guard = lock.lock_within(key, Duration::from_secs(5)).await;
        black_box(&guard);
    }
    nanos(start, 20_000)
}

async fn cancels<C: Contestant>(lock: &'static C, key: &'static Key) -> f64 {
    let guard = lock.lock(key).await;
    let mut queue: Vec<_> = (0..4000).map(|_| Box::pin(lock.lock(key))).collect();
    let mut cx = Context::from_waker(noop_waker_ref());
    for wait in &mut queue {
        // Outside of the task's budget, which 4,000 polls would exhaust.
        let mut once = pin!(tokio::task::unconstrained(wait.as_mut()));
        assert!(once.as_mut().poll(&mut cx).is_pending());
    }
    let start = Instant::now();
    while let Some(wait) = queue.pop() {
        drop(wait);
    }
    let ns = nanos(start, 4000);
    drop(guard);
    ns
}

async fn fours<C: Contestant>(lock: &'static C, keys: &'static [Key], round: usize) -> f64 {
    let start = Instant::now();
    for n in 0..5000 {
        let first = (round * 20_000 + n * 4) % (keys.len() - 4);
        let four = [&keys[first], &keys[first + 1], &keys[first + 2], &keys[first + 3]];
        let guards = lock.lock_four(four).await;
        black_box(&guards);
    }
    nanos(start, 5000)
}

/// Registers every contestant for a workload; T is the first.
macro_rules! everybody {
    ($runs:ident, $each:expr) => {
        everybody!($runs, $each, Bare Keyward Striped Leaking Cleaned Amalgam Lockable KeyedLock KeyLock NamedLocker KeyMutex);
    };
    ($runs:ident, $each:expr, $($contestant:ident)*) => {
        $(
            let lock: &'static $contestant = Box::leak(Box::default());
            let each = $each;
            let run: Run = ($contestant::NAME, Box::new(move |round| Option::<f64>::from(each(lock, round))));
            $runs.push(run);
        )*
    };
}

pub(crate) fn run(report: &mut Report) {
    let World { keys, ct, mt } = World::new();
    let scale = if report.quick { 2 } else { 1 };
    let key = &keys[0];

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| in_task(ct, repeat(lock, 20_000, move |_| key)));
    report.workload("hot, CT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| in_task(mt, repeat(lock, 20_000, move |_| key)));
    report.workload("hot, MT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, round| in_task(
        ct,
        repeat(lock, 20_000, move |n| &keys[(round * 20_000 + n) % keys.len()])
    ));
    report.workload("fresh, CT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| pair(
        mt,
        lock,
        [key, key],
        Pace { count: 10_000, spin: true, pause: false }
    ));
    report.workload("same key, MT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| pair(
        ct,
        lock,
        [key, key],
        Pace { count: 3000, spin: false, pause: true }
    ));
    report.workload("same key, yield, CT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| pair(
        mt,
        lock,
        [key, key],
        Pace { count: 3000, spin: true, pause: true }
    ));
    report.workload("same key, yield, MT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| pair(
        mt,
        lock,
        [key, &keys[1]],
        Pace { count: 20_000, spin: true, pause: false }
    ));
    report.workload("two keys, MT", runs);

    for (name, runtime) in [("one key, 64 tasks, CT", ct), ("one key, 64 tasks, MT", mt)] {
        let mut runs = Vec::new();
        everybody!(runs, move |lock, _| crowd(runtime, lock, (64, 60), |_| key));
        report.workload(name, runs);
    }

    for (name, runtime) in [("many keys, CT", ct), ("many keys, MT", mt)] {
        let mut runs = Vec::new();
        let crowded = (10_000 / scale, 1);
        everybody!(runs, move |lock, _| crowd(runtime, lock, crowded, |n| &keys[n % 1000]), NoLock Keyward Striped Leaking Cleaned Amalgam Lockable KeyedLock KeyLock NamedLocker KeyMutex);
        report.workload(name, runs);
    }

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| try_free(lock, key));
    report.workload("try free", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| try_busy(lock, key));
    report.workload("try busy", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| in_task(ct, timeouts(lock, key)));
    report.workload("timeout, CT", runs);

    let mut runs = Vec::new();
    everybody!(runs, move |lock, _| in_task(ct, cancels(lock, key)));
    report.workload("cancel, CT", runs);

    let mut runs = Vec::new();
    // Not the striped one: two of four keys may share a stripe, and then it waits for itself.
    everybody!(runs, move |lock, round| in_task(ct, fours(lock, keys, round)), Bare Keyward Leaking Cleaned Amalgam Lockable KeyedLock KeyLock NamedLocker KeyMutex);
    report.workload("four keys, CT", runs);

    shared_mode(report, ct, key);
    figures(report);
}

/// Not a race of the same contestants: shared mode beside the bare one.
fn shared_mode(report: &mut Report, ct: &'static Runtime, key: &'static Key) {
    static BARE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
    let names: &'static Keyward = Box::leak(Box::default());
    macro_rules! timed {
        ($lock:expr) => {
            Box::new(move |_| {
                Some(in_task(ct, async move {
                    let start = Instant::now();
                    for _ in 0..20_000 {
                        let guard = $lock.await;
                        black_box(&guard);
                    }
                    nanos(start, 20_000)
                }))
            })
        };
    }
    let t: Box<dyn Fn() -> Run> = Box::new(move || {
        let bare: &'static Bare = Box::leak(Box::default());
        (Bare::NAME, timed!(bare.0[0].lock()))
    });
    report.workload(
        "read, CT",
        vec![
            t(),
            (Keyward::NAME, timed!(names.0.read_named(key.text.as_str()))),
            ("tokio RwLock, no key", timed!(BARE.read())),
        ],
    );
    report.workload(
        "write, CT",
        vec![
            t(),
            (Keyward::NAME, timed!(names.0.lock_named(key.text.as_str()))),
            ("tokio RwLock, no key", timed!(BARE.write())),
        ],
    );
}

fn figures(report: &mut Report) {
    let ratio = |workload| report.get(workload, Keyward::NAME).map(|row| row.ratio);
    let ns = |workload| report.get(workload, Keyward::NAME).map(|row| row.ns);
    let times = |peer| Some(report.get("hot, CT", peer)?.ratio / ratio("hot, CT")?);
    let slowest = |workloads: [&'static str; 2]| {
        workloads.into_iter().filter_map(ratio).max_by(f64::total_cmp)
    };
    let mut figures = vec![
        ("R1.time", ratio("hot, CT"), "T", "<=0.6"),
        ("R1.vs-amalgam-cache", times(Amalgam::NAME), "x", ">=5"),
        ("R1.vs-lockable", times(Lockable::NAME), "x", ">=8"),
        ("R1.vs-keyed-lock", times(KeyedLock::NAME), "x", ">=8"),
        ("R2.fresh", ratio("fresh, CT"), "T", "<=0.7"),
        ("R3.same-key", ratio("same key, MT"), "T", "<=0.8"),
    ];
    let crowds = ["one key, 64 tasks, CT", "one key, 64 tasks, MT"];
    figures.extend([
        ("R4.ct", ratio(crowds[0]), "T", "<=1.0"),
        ("R4.mt", ratio(crowds[1]), "T", "<=1.0"),
        ("R4.yield", slowest(["same key, yield, CT", "same key, yield, MT"]), "T", "<=1.0"),
        ("R5.two-keys", ratio("two keys, MT"), "T", "<=0.12"),
        ("R6.ct", ratio("many keys, CT"), "floor", "<=1.1"),
        ("R6.mt", ratio("many keys, MT"), "floor", "<=1.1"),
        ("R7.free", ratio("try free"), "tokio-try", "<=1.2"),
        ("R7.busy", ns("try busy"), "ns", "<=15"),
        ("R9.timeout", ratio("timeout, CT"), "timeout(T)", "<=0.45"),
        ("R9.cancel", ns("cancel, CT"), "ns", "<=25"),
        ("R9.four-keys", ratio("four keys, CT"), "four-T", "<=2.2"),
    ]);
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}
