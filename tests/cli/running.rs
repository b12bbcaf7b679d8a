//! The command while it runs: what it says, line by line, and the signals that it gets.
//!
//! It is killed when the case ends, however that does, and what it has started with it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{SOON, until};

pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    /// In a process group of its own, as a shell starts its jobs: in one without a parent outside of it,
    /// nobody is stopped by the terminal's signals.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.process_group(0);
        Self::start_in_this_group(command.stdin(Stdio::null()))
    }

    pub(crate) fn start_in_this_group(command: &mut Command) -> Self {
        Self::spawn(command.stderr(Stdio::piped()))
    }

    /// With a standard error of the case's own.
    pub(crate) fn start_with_error(command: &mut Command, error: impl Into<Stdio>) -> Self {
        command.process_group(0);
        Self::spawn(command.stdin(Stdio::null()).stderr(error))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = match child.stderr.take() {
            Some(pipe) => lines(pipe),
            None => channel().1,
        };
        Self { child, out, err }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The next line that the program has printed.
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(SOON).expect("a line")
    }

    /// Until that line.
    pub(crate) fn until_line(&self, expected: &str) {
        while self.line() != expected {}
    }

    /// Until a line on standard error that has this in it; the line.
    pub(crate) fn until_said(&self, part: &str) -> String {
        loop {
            let line = self.err.recv_timeout(SOON);
            let line = line.unwrap_or_else(|e| panic!("nothing about {part:?} is said: {e}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The number of the program, which it prints first.
    pub(crate) fn program(&self) -> Pid {
        Pid::from_raw(self.line().parse().unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.end().code()
    }

    /// The lines that have not been looked at, once all who could write more have ended.
    pub(crate) fn rest(&mut self) -> (Vec<String>, Vec<String>) {
        self.end();
        let all = |receiver: &Receiver<String>| {
            let mut lines = Vec::new();
            loop {
                match receiver.recv_timeout(SOON) {
                    Ok(line) => lines.push(line),
                    Err(RecvTimeoutError::Disconnected) => return lines,
                    Err(RecvTimeoutError::Timeout) => panic!("somebody still writes: {lines:?}"),
                }
            }
        };
        (all(&self.out), all(&self.err))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What the process has started, that still is.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let numbers = children.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// What the process was started with.
pub(crate) fn arguments(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
}

/// Whether the process has a handler for the signal.
pub(crate) fn catches(pid: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let bits = bits.map_or(0, |bits| u64::from_str_radix(bits.trim(), 16).unwrap());
    bits & 1 << (signal.as_raw() - 1) != 0
}

/// The letter of a process in `/proc`: `T` if it is stopped; none if it is gone, or dead and not waited for.
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    (state != 'Z' && state != 'X').then_some(state)
}
