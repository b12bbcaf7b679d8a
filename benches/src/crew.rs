//! The other processes: the bench's binary once more, or Python, told what to do line by line.
//!
//! None outlives us: a child dies with its parent (PR_SET_PDEATHSIG), or when its standard input ends;
//! its handle kills it on drop; and on Ctrl-C or SIGTERM all are killed before the scratch folder goes.
//! Whoever waits for an answer says for how long.

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    io::{BufRead, BufReader, Write, stdin},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio, exit, id},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

/// What goes wrong here is printed beside the name of whom it happens to.
pub type Outcome<T> = Result<T, String>;

/// An error as such an outcome has it.
pub fn text(error: impl fmt::Display) -> String {
    error.to_string().replace('\n', " ")
}

/// Who would be left behind.
static LIVE: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn live() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that holds and waits.
#[derive(Debug)]
pub struct Member {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Member {
    /// Starts one, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn start(mut command: Command) -> Outcome<Self> {
        let mut process = {
            let mut live = live();
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let child = child.map_err(text)?;
            live.insert(child.id());
            child
        };
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let (sender, answers) = channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let member = Self { process, input, answers };
        member.hear(Duration::from_secs(30))?;
        Ok(member)
    }

    /// Gives it an order.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn say(&mut self, order: &str) -> Outcome<()> {
        writeln!(self.input.as_mut().ok_or("gone")?, "{order}").map_err(text)
    }

    /// Its next answer.
    ///
    /// # Errors
    ///
    /// What it complains of, or that nothing comes.
    pub fn hear(&self, limit: Duration) -> Outcome<Vec<f64>> {
        let line = self.answers.recv_timeout(limit).map_err(|e| format!("no answer: {e}"))?;
        match line.strip_prefix('!') {
            Some(error) => Err(error.trim().to_owned()),
            // Words, such as "ready", count as nothing.
            None => Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect()),
        }
    }

    /// One number, within a minute.
    ///
    /// # Errors
    ///
    /// As [`hear`](Self::hear).
    pub fn ask(&mut self, order: &str) -> Outcome<f64> {
        self.say(order)?;
        self.hear(Duration::from_secs(60))?.first().copied().ok_or_else(|| "no number".to_owned())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).map_err(text)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut live = live();
        // It may be dead already.
        self.process.kill().ok();
        self.process.wait().ok();
        live.remove(&self.process.id());
    }
}

/// Two processes that hand one lock to and fro: orders `acquire` and `release AFTER`.
#[derive(Debug)]
pub struct Pair([Member; 2]);

/// How long either may take.
const LIMIT: Duration = Duration::from_secs(20);

impl Pair {
    /// The first of them takes the lock.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn new(mut members: [Member; 2]) -> Outcome<Self> {
        members[0].say("acquire")?;
        members[0].hear(LIMIT)?;
        members[0].hear(LIMIT)?;
        Ok(Self(members))
    }

    /// From before the release to after the acquisition, in microseconds, with the other parked for
    /// some time; the two swap.
    ///
    /// # Errors
    ///
    /// What either complains of.
    pub fn hand_over(&mut self, parked: Duration) -> Outcome<f64> {
        let [holder, waiter] = &mut self.0;
        waiter.say("acquire")?;
        waiter.hear(LIMIT)?;
        // By itself, so that nobody but the two is awake when it lets go.
        holder.say(&format!("release {}", parked.as_micros()))?;
        let (released, acquired) = (holder.hear(LIMIT)?, waiter.hear(LIMIT)?);
        self.0.swap(0, 1);
        match (&released[..], &acquired[..]) {
            ([released], [acquired]) if acquired < released => Err("both had it".to_owned()),
            ([released], [acquired]) => Ok((acquired - released) / 1000.0),
            _ => Err("no time was told".to_owned()),
        }
    }
}

/// The bench's binary once more, as a child that takes orders.
///
/// # Errors
///
/// If it is not known where the binary is.
pub fn again(hidden: &str) -> Outcome<Command> {
    let mut command = Command::new(env::current_exe().map_err(text)?);
    command.arg(hidden);
    Ok(command)
}

/// In a child: the orders that come, as long as somebody is there to give them.
///
/// # Panics
///
/// If the kernel does not let it die with its parent.
pub fn orders() -> UnboundedReceiver<String> {
    set_pdeathsig(Signal::SIGKILL).expect("to die with the parent");
    let (sender, orders) = unbounded_channel();
    thread::spawn(move || {
        stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        exit(0);
    });
    orders
}

/// The Python that can run `imports`.
///
/// # Errors
///
/// What there should be and is not: `packages`.
pub fn python(imports: &str, packages: &str) -> Outcome<PathBuf> {
    let target = env::current_exe().ok().and_then(|exe| exe.ancestors().nth(3).map(Path::to_owned));
    let python = match (env::var_os("KEYWARD_TEST_PYTHON"), target) {
        (Some(python), _) => PathBuf::from(python),
        (None, target) => target.unwrap_or_default().join("python-env/bin/python"),
    };
    match Command::new(&python).args(["-c", imports]).output() {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err(format!("needs a Python with {packages}, named by KEYWARD_TEST_PYTHON")),
    }
}

/// A folder that goes when this is dropped, or we are told to end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// For one bench.
    ///
    /// # Panics
    ///
    /// If the folder cannot be made.
    pub fn new(bench: &str, below: &Path) -> Self {
        let path = below.join(format!("{bench}-bench-{}", id()));
        fs::create_dir_all(&path).expect("a scratch folder");
        let doomed = path.clone();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let end = |kind| signal(kind).expect("a handler");
                let (mut int, mut term) =
                    (end(SignalKind::interrupt()), end(SignalKind::terminate()));
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
            });
            // Kept, so that nobody starts another one.
            let live = live();
            for child in live.iter() {
                // It may be dead already.
                kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL).ok();
            }
            for _ in 0..50 {
                if fs::remove_dir_all(&doomed).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
            exit(130);
        });
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to `cargo clean`.
        fs::remove_dir_all(&self.0).ok();
    }
}
