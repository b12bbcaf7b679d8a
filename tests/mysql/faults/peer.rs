//! Another process, which holds and waits as it is told, and may be killed or frozen meanwhile.
//!
//! It does as the lines of its input say, and answers in lines: `lock NAME` with `waiting` or nothing
//! and then `held TOKEN`; `left` with the milliseconds until the lease's end; `look` with how the loss is
//! told in each way, once all of them have; `release` with what came of it.

use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use futures::FutureExt;
use keyward::{Lease, Locks};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, waitpid,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

use super::room::{soon, within};

/// The URL that the process connects to; without it, its entry test has nothing to do.
const URL: &str = "KEYWARD_TEST_FAULTS_PEER";

/// Past what the test harness captures, and on a line of its own.
fn answer(answer: impl Display) {
    let mut out = stdout().lock();
    drop(write!(out, "\npeer: {answer}\n").and_then(|()| out.flush()));
}

fn lines(input: impl std::io::Read + Send + 'static) -> UnboundedReceiver<String> {
    let (send, lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The other process's side. On two threads, so that the sessions go on whatever a line asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry() {
    let Ok(url) = env::var(URL) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let locks = Locks::connect(url).await.unwrap();
    let mut commands = lines(stdin());
    let mut lease: Option<Lease> = None;
    while let Some(command) = commands.recv().await {
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("lock", name) => {
                let mut wait = Box::pin(locks.lock_named(name).into_future());
                if within_a_moment(&mut wait).await.map(|got| lease = Some(got)).is_none() {
                    answer("waiting");
                    lease = Some(wait.await.unwrap());
                }
                answer(format_args!("held {}", lease.as_ref().unwrap().fencing_token().unwrap()));
            }
            ("left", _) => {
                let until = lease.as_ref().unwrap().valid_until().unwrap();
                answer(until.saturating_duration_since(Instant::now()).as_millis());
            }
            ("look", _) => {
                let lease = lease.as_ref().unwrap();
                // Before anything else: how it looks to who has slept and goes on writing.
                let state = lease.state();
                let lost = lease.lost().now_or_never();
                let checked = lease.ensure_held().await.map_err(|e| e.is_lost());
                answer(format_args!("{state:?} {lost:?} {checked:?}"));
            }
            ("release", _) => answer(match lease.take().unwrap().release().await {
                Ok(released) => format!("{released:?}"),
                Err(e) => format!("failed: {e}"),
            }),
            _ => panic!("{command} is no command"),
        }
    }
}

/// What comes of a wait if it need not wait for others.
async fn within_a_moment(
    wait: &mut (impl Future<Output = Result<Lease, keyward::Error>> + Unpin),
) -> Option<Lease> {
    let got = tokio::time::timeout(Duration::from_millis(200), wait).await.ok()?;
    Some(got.unwrap())
}

/// The process, as a case sees it. It is killed when this is dropped.
pub(super) struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: UnboundedReceiver<String>,
}

impl Peer {
    pub(super) fn start(url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["faults::peer::entry", "--exact", "--nocapture"]).env(URL, url);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = lines(process.stdout.take().unwrap());
        Self { process, commands, answers }
    }

    pub(super) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> String {
        soon("an answer of the other process", async {
            loop {
                let line = self.answers.recv().await.expect("the other process has ended");
                if let Some(answer) = line.strip_prefix("peer: ") {
                    return answer.to_owned();
                }
            }
        })
        .await
    }

    pub(super) async fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer().await
    }

    /// Has it hold a name; returns its token.
    pub(super) async fn lock(&mut self, name: &str) -> u64 {
        self.tell(&format!("lock {name}"));
        self.holds().await
    }

    /// Has it wait for a name that is held.
    pub(super) async fn queue(&mut self, name: &str) {
        assert_eq!(self.ask(&format!("lock {name}")).await, "waiting");
    }

    /// It gets what it has asked for; returns the token.
    pub(super) async fn holds(&mut self) -> u64 {
        let mut answer = self.answer().await;
        if answer == "waiting" {
            answer = self.answer().await;
        }
        let token = answer.strip_prefix("held ").and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("the other process: {answer}"))
    }

    /// It says nothing for so long.
    pub(super) async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.answer()).await.is_err()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Freezes it, and returns when all its threads stand.
    pub(super) fn freeze(&self) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::STOP).unwrap();
        let status = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
        assert!(status.is_some_and(|(_, status)| status.stopped()), "it has not stopped");
    }

    pub(super) fn thaw(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// How a [`Peer`] sees a loss that it is told of at once.
pub(super) async fn must_see_its_loss(peer: &mut Peer) {
    let seen = within(Duration::from_secs(10), "a look", peer.ask("look")).await;
    assert!(seen.starts_with("Lost("), "{seen}");
    assert!(seen.contains(" Some("), "{seen}");
    assert!(seen.ends_with(" Err(true)"), "{seen}");
    assert_eq!(peer.ask("release").await, "WasLost");
}
