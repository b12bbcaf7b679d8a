//! The other processes: this binary once more, or Python, told what to do line by line.
//!
//! None outlives us: a child dies with its parent (PR_SET_PDEATHSIG), or when its standard input ends;
//! its handle kills it on drop; and on Ctrl-C or SIGTERM all are killed before the scratch folder goes.
//! Whoever waits for an answer says for how long.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
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
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::{
    child,
    peers::{Outcome, Who, text},
};

/// Who would be left behind.
static LIVE: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn live() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that holds and waits.
pub(crate) struct Member {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Member {
    /// Starts one, and waits until it is ready.
    pub(crate) fn start(who: Who, directory: &Path) -> Outcome<Self> {
        let mut command = if who.is_python() {
            let mut command = Command::new(python()?);
            command.args(["-c", include_str!("peers.py")]);
            command
        } else {
            let mut command = Command::new(env::current_exe().map_err(text)?);
            command.arg(child::HIDDEN);
            command
        };
        command.arg(who.argument()).arg(directory);
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

    pub(crate) fn several(who: Who, directory: &Path, count: usize) -> Outcome<Vec<Self>> {
        (0..count).map(|_| Self::start(who, directory)).collect()
    }

    pub(crate) fn say(&mut self, order: &str) -> Outcome<()> {
        writeln!(self.input.as_mut().ok_or("gone")?, "{order}").map_err(text)
    }

    /// Its next answer.
    pub(crate) fn hear(&self, limit: Duration) -> Outcome<Vec<f64>> {
        let line = self.answers.recv_timeout(limit).map_err(|e| format!("no answer: {e}"))?;
        match line.strip_prefix('!') {
            Some(error) => Err(error.trim().to_owned()),
            // Words, such as "ready", count as nothing.
            None => Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect()),
        }
    }

    /// One number, within a minute.
    pub(crate) fn ask(&mut self, order: &str) -> Outcome<f64> {
        self.say(order)?;
        self.hear(Duration::from_secs(60))?.first().copied().ok_or_else(|| "no number".to_owned())
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

/// The Python that has the peers, or why there is none.
pub(crate) fn python() -> Outcome<PathBuf> {
    static FOUND: std::sync::OnceLock<Outcome<PathBuf>> = std::sync::OnceLock::new();
    let find = || {
        let target =
            env::current_exe().ok().and_then(|exe| exe.ancestors().nth(3).map(Path::to_owned));
        let python = match (env::var_os("KEYWARD_TEST_PYTHON"), target) {
            (Some(python), _) => PathBuf::from(python),
            (None, target) => target.unwrap_or_default().join("python-env/bin/python"),
        };
        let wanted = "import fasteners, oslo_concurrency";
        let tried = Command::new(&python).args(["-c", wanted]).output();
        match tried {
            Ok(output) if output.status.success() => Ok(python),
            _ => Err("needs a Python with oslo.concurrency==7.6.1 and fasteners==0.20, \
                      named by KEYWARD_TEST_PYTHON"
                .to_owned()),
        }
    };
    FOUND.get_or_init(find).clone()
}

/// A folder that goes when this is dropped, or we are told to end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-bench-{}", id()));
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

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to `cargo clean`.
        fs::remove_dir_all(&self.0).ok();
    }
}
