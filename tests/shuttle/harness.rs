//! Runs models and counts their schedules.

use std::{
    cell::Cell,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler},
};

/// Its name, and one schedule of it.
pub(crate) type Model = (&'static str, fn());

/// Schedules of all models together, unless somebody wants others.
const SCHEDULES: usize = 60_000;
/// How often PCT changes priorities in one schedule.
const DEPTH: usize = 3;

/// Schedules that have begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, Debug)]
enum Way {
    Random,
    Pct,
}

pub(crate) fn run(models: Vec<Model>) -> ExitCode {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let picks: Vec<_> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let picked = |model: &Model| {
        picks.is_empty() || picks.iter().any(|pick| model.0.contains(pick.as_str()))
    };
    let models: Vec<_> = models.into_iter().filter(picked).collect();
    if let Some(file) = env::var_os("KEYWARD_SHUTTLE_REPLAY") {
        return replay(&models, Path::new(&file));
    }
    let (schedules, seed) =
        (number("KEYWARD_SHUTTLE", SCHEDULES), number("KEYWARD_SHUTTLE_SEED", 1));
    let each = schedules.div_ceil(2 * models.len().max(1));
    let ways = |model: &Model| [Way::Random, Way::Pct].map(|way| (*model, way));
    let jobs = Mutex::new(models.iter().flat_map(ways));
    let failures = AtomicUsize::new(0);
    let work = || {
        loop {
            let Some((model, way)) = jobs.lock().unwrap().next() else { break };
            if !explore(model, way, each, seed as u64) {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (schedules, failures) = (BEGUN.load(Ordering::Relaxed), failures.into_inner());
    println!("shuttle schedules {schedules} models {} failures {failures}", models.len());
    ExitCode::from(u8::from(failures > 0 || schedules == 0))
}

fn number(variable: &str, otherwise: usize) -> usize {
    match env::var(variable) {
        Ok(number) => number.parse().unwrap_or_else(|e| panic!("{variable}={number}: {e}")),
        Err(_) => otherwise,
    }
}

/// Whether all of them pass.
fn explore((name, model): Model, way: Way, schedules: usize, seed: u64) -> bool {
    let work = move || {
        let mine = std::sync::Arc::new(AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&mine);
        let model = move || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            count.fetch_add(1, Ordering::Relaxed);
            begin(model);
        };
        let explored = catch_unwind(AssertUnwindSafe(|| match way {
            Way::Random => {
                let scheduler = RandomScheduler::new_from_seed(seed, schedules);
                Runner::new(scheduler, config()).run(model)
            }
            Way::Pct => {
                let scheduler = PctScheduler::new_from_seed(seed, DEPTH, schedules);
                Runner::new(scheduler, config()).run(model)
            }
        }));
        (mine.load(Ordering::Relaxed), explored.is_ok())
    };
    // The thread's name is in the message of a failure, behind the name of the schedule's file.
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    let (schedules, passed) = thread.unwrap().join().unwrap();
    let ended = if passed { "ok" } else { "FAILED" };
    println!("shuttle {name} {way:?} schedules {schedules} {ended}");
    passed
}

/// Runs one schedule of the one model again.
fn replay(models: &[Model], file: &Path) -> ExitCode {
    let [(name, model)] = models else {
        eprintln!("a schedule is one of one model: say which");
        return ExitCode::from(64);
    };
    let scheduler = ReplayScheduler::new_from_file(file);
    let scheduler = scheduler.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let runner = Runner::new(scheduler, config());
    let model = *model;
    let passed = catch_unwind(AssertUnwindSafe(|| runner.run(move || begin(model)))).is_ok();
    println!("shuttle {name} replayed {}", if passed { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!passed))
}

fn begin(model: fn()) {
    WARNED.set(0);
    model();
}

thread_local! {
    static WARNED: Cell<usize> = const { Cell::new(0) };
}

/// How often a loss has been told to the log, in this schedule.
pub(crate) fn warned() -> usize {
    WARNED.get()
}

/// Counts warnings of this thread, on which all tasks of a schedule run.
struct Warnings;

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("keyward")
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        WARNED.set(WARNED.get() + 1);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn config() -> Config {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schedules");
    fs::create_dir_all(&folder).unwrap();
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::File(Some(folder));
    // That orderings are taken for `SeqCst` is known: the others are loom's business.
    config.silence_warnings = true;
    config
}
