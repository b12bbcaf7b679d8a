//! The soak's journal: lines that all processes append to one file, in the order in which they are
//! written, with times of a clock that they share.
//!
//! 1. A line is written *before* what it says can have an effect, if that takes something away (`left`,
//!    `killed`, `frozen`, `sever`), and *after* it has happened, if it gives something (`granted`).
//! 2. No kill cuts a line: its length is a power of two, so that it never crosses a page.
//! 3. Whoever drops a wait or a hold at any point writes that, by [`Turn`]'s drop.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FallocateFlags, fallocate};

use crate::oracle::now;

const LINE: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Asked,
    /// Had, exclusively.
    Granted,
    /// Had, together with others who share it.
    Shared,
    /// Not had: refused, or given up before there was an answer.
    Gone,
    /// Waited for longer than any fault lasts.
    Stuck,
    /// The holder's last act is over: what he does next is to give it up.
    Left,
    Told,
    /// What a release came to: it was ours until then; it had been lost; it is not known.
    Released,
    WasLost,
    Unsure,
    /// Of a process, from here on; all it holds ends with it.
    Killed,
    Frozen,
    Thawed,
    /// Something is going to take holds of this name away, and others will hear of it first: or of all
    /// names, `*`.
    Sever,
    /// It has done so.
    Severed,
}

use What::{
    Asked, Frozen, Gone, Granted, Killed, Left, Released, Sever, Severed, Shared, Stuck, Thawed,
    Told, Unsure, WasLost,
};

const WORDS: [(What, &str); 15] = [
    (Asked, "asked"),
    (Granted, "granted"),
    (Shared, "shared"),
    (Gone, "gone"),
    (Stuck, "stuck"),
    (Left, "left"),
    (Told, "told"),
    (Released, "released"),
    (WasLost, "waslost"),
    (Unsure, "unsure"),
    (Killed, "killed"),
    (Frozen, "frozen"),
    (Thawed, "thawed"),
    (Sever, "sever"),
    (Severed, "severed"),
];

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) time: u64,
    pub(crate) what: What,
    pub(crate) pid: u32,
    /// Of the process: which of its acquisitions.
    pub(crate) turn: u64,
    pub(crate) token: Option<u64>,
    pub(crate) name: String,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let time = words.next()?.parse().ok()?;
        let word = words.next()?;
        let what = WORDS.iter().find(|(_, other)| *other == word)?.0;
        let (pid, turn) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let token = words.next()?.parse().ok();
        Some(Self { time, what, pid, turn, token, name: words.next()?.to_owned() })
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    turns: AtomicU64,
}

impl Log {
    pub(crate) fn open(path: &Path) -> Arc<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).unwrap();
        Arc::new(Self { path: path.to_owned(), file, turns: AtomicU64::new(1) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, what: What, pid: u32, turn: u64, token: Option<u64>, name: &str) {
        let word = WORDS.iter().find(|(other, _)| *other == what).unwrap().1;
        let token = token.map_or_else(|| "-".to_owned(), |token| token.to_string());
        let line = format!("{} {word} {pid} {turn} {token} {name}", now());
        assert!(line.len() < LINE, "{line} is too long");
        (&self.file).write_all(format!("{line:<width$}\n", width = LINE - 1).as_bytes()).unwrap();
    }

    /// About a process itself.
    pub(crate) fn process(&self, what: What, pid: u32) {
        self.write(what, pid, 0, None, "*");
    }

    /// About all holds of a process.
    pub(crate) fn cut(&self, what: What, pid: u32) {
        self.write(what, pid, 0, None, "*");
    }

    /// About all holds of a name, or of every name.
    pub(crate) fn name(&self, what: What, name: &str) {
        self.write(what, 0, 0, None, name);
    }

    pub(crate) fn asked(self: &Arc<Self>, name: &str) -> Turn {
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        let turn =
            Turn { log: Arc::clone(self), number, name: name.to_owned(), at_drop: Some(Gone) };
        turn.write(Asked, None);
        turn
    }

    /// The lines from there on, and where they end.
    pub(crate) fn read(&self, from: u64) -> (Vec<Event>, u64) {
        let len = self.file.metadata().unwrap().len();
        let end = len - len % LINE as u64;
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap()];
        self.file.read_exact_at(&mut bytes, from).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let events = text.lines().map(|line| {
            Event::parse(line).unwrap_or_else(|| panic!("no line of a journal: {line}"))
        });
        (events.collect(), end)
    }

    /// Gives back the room of all lines before that, for soaks of days.
    pub(crate) fn forget(&self, before: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Where a filesystem cannot do that, the journal stays as it is.
        fallocate(&self.file, flags, 0, before).ok();
    }
}

/// One acquisition, from asking on.
#[derive(Debug)]
pub(crate) struct Turn {
    log: Arc<Log>,
    number: u64,
    name: String,
    /// What is written when it is dropped; nothing of one that has ended.
    at_drop: Option<What>,
}

impl Turn {
    fn write(&self, what: What, token: Option<u64>) {
        self.log.write(what, std::process::id(), self.number, token, &self.name);
    }

    pub(crate) fn granted(&mut self, token: Option<u64>, shared: bool) {
        self.write(if shared { Shared } else { Granted }, token);
        self.at_drop = Some(Left);
    }

    pub(crate) fn told(&self) {
        self.write(Told, None);
    }

    pub(crate) fn stuck(&self) {
        self.write(Stuck, None);
    }

    /// What comes after its last act is up to the caller.
    pub(crate) fn left(&mut self) {
        self.write(Left, None);
        self.at_drop = None;
    }

    /// What the release of one that has been left came to.
    pub(crate) fn ended(&self, how: What) {
        self.write(how, None);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(what) = self.at_drop {
            self.write(what, None);
        }
    }
}

#[test]
fn what_is_dropped_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(&dir.path().join("journal"));
    drop(log.asked("a"));
    let mut turn = log.asked("b");
    turn.granted(Some(7), false);
    drop(turn);
    let mut turn = log.asked("c");
    turn.granted(None, true);
    turn.left();
    turn.ended(Released);
    drop(turn);
    log.process(Frozen, 9);
    log.name(Sever, "*");
    let (events, end) = log.read(0);
    let words: Vec<_> = events.iter().map(|event| event.what).collect();
    let expected =
        [Asked, Gone, Asked, Granted, Left, Asked, Shared, Left, Released, Frozen, Sever];
    assert_eq!(words, expected);
    assert_eq!((events[3].token, &*events[3].name), (Some(7), "b"));
    assert!(log.read(end).0.is_empty());
    assert_eq!(events[9].pid, 9);
}
