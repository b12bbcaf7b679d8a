//! Who locks and unlocks during a soak: tasks that wait, give up, drop, abort, share, take several names,
//! and hold for a moment or for long, as their dice say. In this process and in others.

use std::{
    env,
    io::stdin,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyward::{Error, FencingToken, Lease, Locks, Released};
use tokio::task::JoinSet;

use super::log::{Log, Turn, What};
use crate::{
    dice::Dice,
    process::{Process, answer, die_with_the_parent, lines},
    sessions::{millis, secs},
};

pub(crate) const NAMES: [&str; 4] = ["soak-a", "soak-b", "soak-c", "soak-d"];

/// Longer than all faults together hold somebody up. A wait on a server whose bytes are lost without a
/// word takes a minute, the slice that is asked of the server, to find that out.
const PATIENCE: Duration = Duration::from_secs(150);

const URL: &str = "KEYWARD_LOAD_CREW";
const JOURNAL: &str = "KEYWARD_LOAD_JOURNAL";
const SEED: &str = "KEYWARD_LOAD_CREW_SEED";

/// How many tasks each process has.
const TASKS: u64 = 4;

/// A lease and its line in the journal, which is written first when both are dropped.
struct Section {
    turn: Turn,
    lease: Lease,
}

impl Section {
    fn new(mut turn: Turn, lease: Lease, shared: bool) -> Self {
        turn.granted(lease.fencing_token().map(FencingToken::get), shared);
        Self { turn, lease }
    }

    /// Works under it until the work is done or the lease is lost.
    async fn work(&self, time: Duration) {
        tokio::select! {
            biased;
            _ = self.lease.lost() => self.turn.told(),
            () = tokio::time::sleep(time) => {}
        }
    }

    async fn release(self) {
        let Self { mut turn, lease } = self;
        turn.left();
        turn.ended(match lease.release().await {
            Ok(Released::Released) => What::Released,
            Ok(Released::WasLost) => What::WasLost,
            Err(_) => What::Unsure,
        });
    }
}

/// The work of a process, until it is told to stop.
pub(crate) struct Crew {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Crew {
    pub(crate) fn start(locks: &[Locks], log: &Arc<Log>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for i in 0..TASKS {
            let locks = locks[i as usize % locks.len()].clone();
            let mate = Mate {
                shares: locks.capability().shared,
                locks,
                log: Arc::clone(log),
                dice: Dice::new(seed.wrapping_mul(31).wrapping_add(i)),
                stop: Arc::clone(&stop),
            };
            tasks.spawn(mate.live());
        }
        Self { tasks, stop }
    }

    /// Until everybody has come to an end.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
    }
}

#[derive(Clone)]
struct Mate {
    locks: Locks,
    log: Arc<Log>,
    dice: Dice,
    shares: bool,
    stop: Arc<AtomicBool>,
}

impl Mate {
    async fn live(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.step().await;
            tokio::time::sleep(self.dice.micros(4_000)).await;
        }
    }

    /// How long a section takes: mostly a moment, and sometimes long enough to be hit.
    fn length(&mut self) -> Duration {
        match self.dice.roll(60) {
            0 => self.dice.micros(1_500_000),
            1..=10 => Duration::ZERO,
            _ => self.dice.micros(4_000),
        }
    }

    async fn step(&mut self) {
        // One that everybody wants, so that there are queues.
        let name = if self.dice.roll(2) == 0 { NAMES[0] } else { self.dice.pick(&NAMES) };
        let shared = self.shares && self.dice.roll(6) == 0;
        let turn = self.log.asked(name);
        let mut wait = self.locks.lock_named(name);
        if shared {
            wait = wait.shared();
        }
        let patient = wait.timeout(PATIENCE);
        let short = self.dice.micros(6_000);
        let wait = self.locks.lock_named(name);
        let wait = if shared { wait.shared() } else { wait };
        let got = match self.dice.roll(12) {
            0 | 1 => Some(wait.timeout(short).await),
            2 => tokio::time::timeout(short, wait).await.ok(),
            3 => tokio::select! {
                lease = wait.into_future() => Some(lease),
                () = tokio::time::sleep(short) => None,
            },
            4 => Some(wait.blocking(false).await),
            5 => {
                drop(turn);
                return self.abort(name, short).await;
            }
            6 => {
                drop(turn);
                return self.several(name).await;
            }
            _ => {
                let got = patient.await;
                if got.as_ref().is_err_and(Error::is_timed_out) {
                    turn.stuck();
                }
                Some(got)
            }
        };
        match got {
            None => {}
            Some(Ok(lease)) => {
                let section = Section::new(turn, lease, shared);
                section.work(self.length()).await;
                self.end(section).await;
            }
            Some(Err(e)) if e.is_timed_out() || e.is_would_block() => {}
            Some(Err(_)) => tokio::time::sleep(millis(50)).await,
        }
    }

    async fn end(&mut self, section: Section) {
        if self.dice.roll(4) > 0 {
            section.release().await;
        }
    }

    /// A task of its own, which is aborted wherever it is.
    async fn abort(&mut self, name: &'static str, after: Duration) {
        let (locks, log, length) = (self.locks.clone(), Arc::clone(&self.log), self.length());
        let task = tokio::spawn(async move {
            let turn = log.asked(name);
            if let Ok(lease) = locks.lock_named(name).await {
                let section = Section::new(turn, lease, false);
                section.work(length).await;
                section.release().await;
            }
        });
        tokio::time::sleep(after).await;
        task.abort();
        drop(task.await);
    }

    async fn several(&mut self, name: &'static str) {
        let other = *self.dice.pick(&NAMES);
        let mut names = vec![name, other];
        names.sort_unstable();
        names.dedup();
        let turns: Vec<_> = names.iter().map(|name| self.log.asked(name)).collect();
        let Ok(leases) = self.locks.lock_all(names).timeout(millis(500)).await else { return };
        let mut turns: Vec<_> = turns
            .into_iter()
            .zip(leases.iter())
            .map(|(mut turn, lease)| {
                turn.granted(lease.fencing_token().map(FencingToken::get), false);
                turn
            })
            .collect();
        tokio::time::sleep(self.dice.micros(3_000)).await;
        turns.iter_mut().for_each(Turn::left);
        let how = match leases.release().await {
            Ok(Released::Released) => What::Released,
            Ok(Released::WasLost) => What::WasLost,
            Err(_) => What::Unsure,
        };
        turns.iter().for_each(|turn| turn.ended(how));
    }
}

/// The process's side, within its entry test: it works until its input ends.
pub(crate) fn run() {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let log = Log::open(Path::new(&env::var_os(JOURNAL).unwrap()));
    let seed = env::var(SEED).unwrap().parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut commands = lines(stdin());
        // Its server may just be away.
        let locks = loop {
            match Locks::connect(&*url).await {
                Ok(locks) => break locks,
                Err(_) => tokio::time::sleep(millis(200)).await,
            }
        };
        answer("ready");
        let crew = Crew::start(std::slice::from_ref(&locks), &log, seed);
        assert_eq!(commands.recv().await.as_deref(), Some("stop"));
        crew.stop().await;
        answer(match tokio::time::timeout(secs(20), locks.close()).await {
            Ok(()) => "closed",
            Err(_) => "its locks do not close",
        });
        drop(commands.recv().await);
    });
}

/// Another process that works.
pub(crate) fn start(url: &str, log: &Log, seed: u64) -> Process {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(URL, url).env(JOURNAL, log.path()).env(SEED, seed.to_string());
    Process::start(command)
}
