//! Another process that does as the lines of its input say, and may be killed or frozen meanwhile.
//!
//! It answers in lines of its own, which a mark tells from what else it prints. It ends with its input
//! and with the [`Process`], and if it has called [`die_with_the_parent`], with the thread that has
//! started it.

#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{
    fmt::Display,
    io::{BufRead, BufReader, Read, Write, stdout},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, waitpid,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What an answer begins with.
const MARK: &str = "peer: ";

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process's side: past what the test harness captures, and on a line of its own.
pub(crate) fn answer(answer: impl Display) {
    let mut out = stdout().lock();
    drop(write!(out, "\n{MARK}{answer}\n").and_then(|()| out.flush()));
}

/// The process's side: its end is that of who has started it.
pub(crate) fn die_with_the_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// The lines of an input, read by a thread of its own.
pub(crate) fn lines(input: impl Read + Send + 'static) -> UnboundedReceiver<String> {
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

/// The process, as a case sees it. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: UnboundedReceiver<String>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let commands = child.stdin.take().unwrap();
        let answers = lines(child.stdout.take().unwrap());
        Self { child, commands, answers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> String {
        let answer = tokio::time::timeout(PATIENCE, async {
            loop {
                let line = self.answers.recv().await.expect("the other process has ended");
                if let Some(answer) = line.strip_prefix(MARK) {
                    return answer.to_owned();
                }
            }
        });
        answer.await.expect("the other process does not answer")
    }

    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer().await
    }

    /// It says nothing for so long.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.answer()).await.is_err()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `kill -9`, without waiting.
    pub(crate) fn send_kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Freezes it, and returns when all its threads stand.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let status = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
        assert!(status.is_some_and(|(_, status)| status.stopped()), "it has not stopped");
    }

    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
