//! Another process, from both ends: what it does, and how a case commands it.
//!
//! They speak in lines. A command is `lock NAME`, `shared NAME`, `try NAME` or `release`; an answer
//! starts with [`MARK`], since a test harness may be writing to the same output: `waiting`, `held
//! TOKEN` (or `held -`), `busy`, `released`, `was lost`, or `failed` and why.

use std::{
    fmt,
    future::IntoFuture,
    io::{BufRead, BufReader, Write, stdin, stdout},
    pin::pin,
    process::{Child, ChildStdin, Stdio},
    task::Poll,
    thread,
};

use futures::future::{Either, select};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Fixture, NotApplicable, soon};
use crate::{
    error::Error,
    lease::{Lease, Released},
    locks::Locks,
    token::FencingToken,
};

/// What stands before an answer.
const MARK: &str = "keyward: ";

/// What the process of [`Fixture::another_process`] does once it is connected: it does as the lines of
/// its standard input say, and returns at their end.
///
/// It has to be the only reader of the standard input. It needs a runtime with time and, if the backend
/// does, input and output enabled.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), keyward::Error> {
/// let url = std::env::var("CONFORMANCE_URL").expect("the test has set it");
/// keyward::conformance::serve(keyward::Locks::connect(url).await?).await;
/// # Ok(())
/// # }
/// ```
pub async fn serve(locks: Locks) {
    let mut commands = lines(stdin());
    let mut lease = None;
    while let Some(command) = commands.recv().await {
        let (verb, name) = command.split_once(' ').unwrap_or((&command, ""));
        let wait = match verb {
            "lock" => locks.lock_named(name),
            "shared" => locks.lock_named(name).shared(),
            "try" => locks.try_lock_named(name),
            "release" => {
                answer(release(lease.take()).await);
                continue;
            }
            _ => return answer(format_args!("failed: {command:?} is no command")),
        };
        let mut wait = wait.into_future();
        let got = match futures::poll!(&mut wait) {
            Poll::Ready(got) => got,
            Poll::Pending => {
                if verb != "try" {
                    answer("waiting");
                }
                // The end of the input ends a wait as well.
                match select(wait, pin!(commands.recv())).await {
                    Either::Left((got, _)) => got,
                    Either::Right(_) => return,
                }
            }
        };
        answer(held(got, &mut lease));
    }
}

fn held(got: Result<Lease, Error>, lease: &mut Option<Lease>) -> String {
    match got {
        Ok(got) => {
            let token =
                got.fencing_token().map_or_else(|| "-".to_owned(), |token| token.to_string());
            *lease = Some(got);
            format!("held {token}")
        }
        Err(e) if e.is_would_block() => "busy".to_owned(),
        Err(e) => format!("failed: {e}"),
    }
}

async fn release(lease: Option<Lease>) -> String {
    let Some(lease) = lease else { return "failed: nothing is held".to_owned() };
    match lease.release().await {
        Ok(Released::Released) => "released".to_owned(),
        Ok(Released::WasLost) => "was lost".to_owned(),
        Err(e) => format!("failed: {e}"),
    }
}

/// Past the capture of a test harness, and on a line of its own.
fn answer(answer: impl fmt::Display) {
    let mut out = stdout().lock();
    let written = write!(out, "\n{MARK}{answer}\n").and_then(|()| out.flush());
    drop(written); // whoever does not listen any more is not told
}

/// The lines of an input, read by a thread of its own: it may block, and nobody waits for it.
fn lines(input: impl std::io::Read + Send + 'static) -> UnboundedReceiver<String> {
    let (send, lines) = unbounded_channel();
    thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The process, as a case sees it. It is killed when this is dropped.
pub(super) struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: UnboundedReceiver<String>,
}

impl Peer {
    pub(super) fn start(fixture: &impl Fixture) -> Result<Self, NotApplicable> {
        let mut command = fixture.another_process()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let commands = process.stdin.take().expect("it is piped");
        let answers = lines(process.stdout.take().expect("it is piped"));
        Ok(Self { process, commands, answers })
    }

    /// Gives a command and leaves its answer for later.
    pub(super) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the other process is there");
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> String {
        soon("the answer of another process", async {
            loop {
                let line = self.answers.recv().await.expect("the other process has ended");
                if let Some(answer) = line.strip_prefix(MARK) {
                    return answer.to_owned();
                }
            }
        })
        .await
    }

    pub(super) async fn expect(&mut self, expected: &str) {
        assert_eq!(self.answer().await, expected, "from another process");
    }

    /// Its next answer that is not `waiting` must be that it holds; returns its token.
    pub(super) async fn must_hold(&mut self) -> Option<FencingToken> {
        let mut answer = self.answer().await;
        if answer == "waiting" {
            answer = self.answer().await;
        }
        let token = answer.strip_prefix("held ");
        let token = token.unwrap_or_else(|| panic!("another process: {answer}"));
        token.parse().ok().map(FencingToken::new)
    }

    /// Has it hold a free name.
    pub(super) async fn lock(&mut self, name: &str) -> Option<FencingToken> {
        self.tell(&format!("lock {name}"));
        self.must_hold().await
    }

    /// Has it wait for a held name.
    pub(super) async fn queue(&mut self, name: &str) {
        self.tell(&format!("lock {name}"));
        self.expect("waiting").await;
    }

    pub(super) async fn release(&mut self) {
        self.tell("release");
        self.expect("released").await;
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        let killed = self.process.kill().and_then(|()| self.process.wait());
        killed.expect("our own process can be killed");
    }

    /// `kill -STOP`, and waits until it has stopped.
    #[cfg(unix)]
    pub(super) fn stop(&self) -> Result<(), NotApplicable> {
        use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

        let pid = rustix::process::Pid::from_child(&self.process);
        kill_process(pid, Signal::STOP).expect("our own process can be stopped");
        let status = waitpid(Some(pid), WaitOptions::UNTRACED).expect("it is our child");
        assert!(status.is_some_and(|(_, status)| status.stopped()), "it has not stopped");
        Ok(())
    }

    #[cfg(not(unix))]
    pub(super) fn stop(&self) -> Result<(), NotApplicable> {
        Err(NotApplicable::because("processes cannot be stopped here"))
    }

    /// `kill -CONT`.
    #[cfg(unix)]
    pub(super) fn resume(&self) {
        use rustix::process::{Pid, Signal, kill_process};

        kill_process(Pid::from_child(&self.process), Signal::CONT).expect("it is our child");
    }

    #[cfg(not(unix))]
    pub(super) fn resume(&self) {}
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
