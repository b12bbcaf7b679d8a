//! Other processes that lock and unlock, write into the journal, and are killed, frozen and cut off.
//!
//! They do as the lines of their input say: `lock NAME` with `waiting` or nothing and then `held`;
//! `hold NAME` is the same without listening for a loss; `release`, `look`, `left`, `told`; `within NAME MS`
//! waits for no longer than that; `stale FILE COUNT` writes to a register as somebody does who has slept;
//! `spawn` starts a program that outlives them; `clock` is the wall's; `forget` leaks what is held, and
//! `panic` aborts; `loop NAME ROUNDS DIR` locks and unlocks as fast as it can, and does to the lock file
//! what must not be done.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    env, fs,
    io::{Read, Seek, Write, stdin},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use keyward::{Lease, LeaseState, Locks};

use crate::{
    oracle::{Journal, Turn, What, Witness, now},
    process::{Process, answer, die_with_the_parent, lines},
    sessions::soon,
    stage::Stage,
};

const URL: &str = "KEYWARD_FAULT_WORKER";
const JOURNAL: &str = "KEYWARD_FAULT_JOURNAL";

/// The process's side, within its entry test. On two threads, so that sessions go on whatever a line
/// asks for.
pub(crate) fn run() {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let journal = Journal::open(Path::new(&env::var_os(JOURNAL).unwrap()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(url, journal));
}

async fn serve(url: String, journal: Arc<Journal>) {
    let mut commands = lines(stdin());
    let locks = Locks::connect(url).await.unwrap();
    answer("ready");
    let mut held: Option<(Lease, Arc<Turn>)> = None;
    while let Some(command) = commands.recv().await {
        let words: Vec<_> = command.split(' ').collect();
        match words[..] {
            [verb @ ("lock" | "hold"), name] => {
                let turn = Arc::new(journal.asked(name));
                let mut wait = locks.lock_named(name).into_future();
                let lease = match tokio::time::timeout(Duration::from_millis(100), &mut wait).await
                {
                    Ok(lease) => lease,
                    Err(_) => {
                        answer("waiting");
                        wait.await
                    }
                };
                let lease = lease.unwrap();
                let token = lease.fencing_token().unwrap().get();
                turn.granted(Some(token));
                if verb == "lock" {
                    tell_of_the_loss(&lease, Arc::clone(&turn));
                }
                held = Some((lease, turn));
                answer(format_args!("held {token}"));
            }
            ["release"] => {
                let (lease, turn) = held.take().unwrap();
                turn.left();
                answer(match lease.release().await {
                    Ok(released) => format!("{released:?}"),
                    Err(e) => format!("failed: {e}"),
                });
            }
            ["left"] => {
                let until = held.as_ref().unwrap().0.valid_until();
                let left = until.map_or(0, |until| {
                    until.saturating_duration_since(tokio::time::Instant::now()).as_millis()
                });
                answer(left);
            }
            ["look"] => {
                let lease = &held.as_ref().unwrap().0;
                let state = lease.state();
                let checked = lease.ensure_held().await.map_err(|e| e.is_lost());
                answer(format_args!("{state:?} {checked:?}"));
            }
            ["told"] => {
                let reason = held.as_ref().unwrap().0.lost().await;
                answer(format_args!("{} {reason:?}", now()));
            }
            ["stale", register, count] => {
                let (lease, turn) = held.as_ref().unwrap();
                answer(stale(lease, turn, Path::new(register), count.parse().unwrap()).await);
            }
            ["spawn"] => {
                answer(orphan());
            }
            ["within", name, limit] => {
                let (limit, begun) = (Duration::from_millis(limit.parse().unwrap()), now());
                let wait = locks.lock_named(name).timeout(limit).await;
                let kind = wait.map_or_else(|e| format!("{:?}", e.kind()), |_| "held".to_owned());
                answer(format_args!("{kind} {}", (now() - begun) / 1_000_000));
            }
            ["clock"] => {
                let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                answer(wall.unwrap().as_secs());
            }
            ["forget"] => {
                std::mem::forget(held.take());
                answer("forgotten");
            }
            ["panic"] => {
                // As in a program that is built with `panic = "abort"`: nothing is unwound.
                std::panic::set_hook(Box::new(|_| std::process::abort()));
                panic!("in the section");
            }
            ["loop", name, rounds, dir] => {
                let rounds = rounds.parse().unwrap();
                answer(spin(&locks, &journal, name, rounds, Path::new(dir)).await);
            }
            _ => panic!("{command} is no command"),
        }
    }
}

/// A program that lives on when we are killed; who has asked for it sees to its end.
fn orphan() -> u32 {
    Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap().id()
}

/// Writes the loss into the journal as soon as it is told.
fn tell_of_the_loss(lease: &Lease, turn: Arc<Turn>) {
    let lost = lease.lost();
    tokio::spawn(async move {
        lost.await;
        turn.told();
    });
}

/// What somebody does who has slept and goes on: he looks first, and is refused; then all the same.
async fn stale(lease: &Lease, turn: &Turn, register: &Path, count: u32) -> String {
    let state = lease.state();
    let told = lease.lost().now_or_never();
    let checked = lease.ensure_held().await;
    let known = now();
    let knows = matches!(state, LeaseState::Lost(_))
        && told.is_some()
        && checked.is_err_and(|e| e.is_lost());
    if knows {
        turn.told();
    }
    let token = lease.fencing_token().unwrap().get();
    let accepted = (0..count).filter(|_| write_fenced(register, token)).count();
    format!("{knows} {known} {accepted}")
}

/// Writes to a register that takes no token smaller than the largest it has seen.
pub(crate) fn write_fenced(register: &Path, token: u64) -> bool {
    let options =
        fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(register).unwrap();
    file.lock().unwrap();
    let mut seen = String::new();
    file.read_to_string(&mut seen).unwrap();
    if seen.trim().parse().unwrap_or(0) > token {
        return false;
    }
    file.rewind().unwrap();
    write!(file, "{token:20}").unwrap();
    true
}

/// A lock for each round, with a witness; at the end of every other section, when it is over and not
/// yet released, the lock file is removed, renamed or replaced.
async fn spin(
    locks: &Locks,
    journal: &Arc<Journal>,
    name: &str,
    rounds: u64,
    dir: &Path,
) -> String {
    let file = dir.join(name);
    let witness = Witness::open(&journal.path().with_file_name("witness"));
    let mut random = u64::from(std::process::id());
    let mut acts = 0;
    for round in 0..rounds {
        let turn = journal.asked(name);
        let lease = match locks.lock_named(name).await {
            Ok(lease) => lease,
            Err(e) => {
                turn.refused();
                return format!("failed: {e}");
            }
        };
        turn.granted(lease.fencing_token().map(keyward::FencingToken::get));
        let alone = witness.lock();
        if alone {
            std::thread::yield_now();
            witness.unlock();
        } else {
            turn.clash();
        }
        turn.left();
        // xorshift: the same for everybody who has the same number.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // They may be gone already: another one has removed what was ours.
        match random % 6 {
            0 => drop(fs::remove_file(&file)),
            1 => {
                drop(fs::rename(&file, dir.with_file_name(format!("away-{}", std::process::id()))))
            }
            2 => {
                let new = dir.with_file_name(format!("new-{}-{round}", std::process::id()));
                fs::write(&new, "").unwrap();
                fs::rename(&new, &file).unwrap();
            }
            _ => acts -= 1,
        }
        acts += 1;
        lease.release().await.unwrap();
    }
    format!("done {acts}")
}

/// The process, as a row sees it. It is killed when this is dropped.
pub(crate) struct Worker {
    process: Process,
    journal: Arc<Journal>,
}

impl Worker {
    pub(crate) async fn start(stage: &Stage, url: &str) -> Self {
        let command = Command::new(env::current_exe().unwrap());
        Self::start_as(command, stage, url).await
    }

    /// By a command that ends with the binary.
    pub(crate) async fn start_as(mut command: Command, stage: &Stage, url: &str) -> Self {
        command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(URL, url).env(JOURNAL, stage.journal.path());
        let mut process = Process::start(command);
        assert_eq!(process.answer().await, "ready");
        Self { process, journal: Arc::clone(&stage.journal) }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        self.process.tell(command);
    }

    pub(crate) async fn answer(&mut self) -> String {
        self.process.answer().await
    }

    /// The next answer, if it comes within a second.
    pub(crate) async fn done(&mut self) -> Option<String> {
        tokio::time::timeout(Duration::from_secs(1), self.process.answer()).await.ok()
    }

    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.process.ask(command).await
    }

    /// Has it hold a name; returns the token.
    pub(crate) async fn lock(&mut self, name: &str) -> u64 {
        self.process.tell(&format!("lock {name}"));
        self.holds().await
    }

    /// Has it hold a name, and not listen for a loss; returns the token.
    pub(crate) async fn hold(&mut self, name: &str) -> u64 {
        self.process.tell(&format!("hold {name}"));
        self.holds().await
    }

    /// Has it wait for a name that is held.
    pub(crate) async fn queue(&mut self, name: &str) {
        assert_eq!(self.ask(&format!("lock {name}")).await, "waiting");
    }

    pub(crate) async fn holds(&mut self) -> u64 {
        let mut answer = self.answer().await;
        if answer == "waiting" {
            answer = soon("a hold", self.answer()).await;
        }
        let token = answer.strip_prefix("held ").and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("the other process: {answer}"))
    }

    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        self.process.is_silent(time).await
    }

    /// `kill -9`; returns when the signal was sent. It is gone when this returns.
    pub(crate) fn kill(&mut self) -> Instant {
        self.journal.ends(What::Killed, self.process.id());
        let sent = Instant::now();
        self.process.kill();
        sent
    }

    /// `kill -STOP`, and waits until it stands.
    pub(crate) fn freeze(&self) -> Instant {
        self.journal.ends(What::Frozen, self.process.id());
        let sent = Instant::now();
        self.process.freeze();
        sent
    }

    pub(crate) fn thaw(&self) {
        self.journal.ends(What::Thawed, self.process.id());
        self.process.thaw();
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}
