//! What happened, one line for each event, appended by all processes to one file.
//!
//! 1. A line is one `write` in append mode: it is there whole or not at all, also when its process is
//!    killed.
//! 2. Times are nanoseconds of CLOCK_BOOTTIME, which all processes share, and which runs while they are
//!    stopped.
//! 3. What takes time is enclosed: an event that ends something is written after its end (`had`,
//!    `acked`), one that begins something before its beginning (`asks`, `writes`, `lets-go`).
//!
//! A line is `TIME OPERATION EVENT [NUMBER [NUMBER]]`. Another language can write it.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use rustix::time::{ClockId, clock_gettime};

use super::{Outcome, text};

/// Nanoseconds of CLOCK_BOOTTIME.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// One operation: the process, which has a number that nobody else had, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u64);

impl Id {
    const BITS: u32 = 24;

    pub(crate) const fn new(process: u64, count: u64) -> Self {
        Self(process << Self::BITS | count)
    }

    pub(crate) const fn process(self) -> u64 {
        self.0 >> Self::BITS
    }
}

/// What an operation does, in this order, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is about to ask for the lock.
    Asks,
    /// It had the lock, with that token.
    Had(Option<u64>),
    /// It has read the register: its value, and the operation that has written it.
    Read(u64, u64),
    /// The lock has been asked, from that time on, and has said that it is held.
    Vouched(u64),
    /// It is about to write.
    Writes,
    /// Its write was done.
    Acked,
    /// The register has refused its read or its write, as that of an older holder.
    Refused,
    /// The lock has told it of the loss instead of letting it go on.
    Told,
    /// It is about to let go.
    LetsGo,
    /// The lock has told it of the loss only when it let go.
    Late,
    /// It could not have the lock, could not let go of it, or the register did not answer.
    Failed,
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) time: u64,
    pub(crate) id: Id,
    pub(crate) event: Event,
}

impl Line {
    /// None if it is none.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let time = words.next()?.parse().ok()?;
        let id = Id(words.next()?.parse().ok()?);
        let event = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let event = match event {
            "asks" => Event::Asks,
            "had" => Event::Had(number()),
            "read" => Event::Read(number()?, number()?),
            "vouched" => Event::Vouched(number()?),
            "writes" => Event::Writes,
            "acked" => Event::Acked,
            "refused" => Event::Refused,
            "told" => Event::Told,
            "lets-go" => Event::LetsGo,
            "late" => Event::Late,
            "failed" => Event::Failed,
            _ => return None,
        };
        Some(Self { time, id, event })
    }

    fn text(self) -> String {
        let event = match self.event {
            Event::Asks => "asks".to_owned(),
            Event::Had(None) => "had".to_owned(),
            Event::Had(Some(token)) => format!("had {token}"),
            Event::Read(value, writer) => format!("read {value} {writer}"),
            Event::Vouched(since) => format!("vouched {since}"),
            Event::Writes => "writes".to_owned(),
            Event::Acked => "acked".to_owned(),
            Event::Refused => "refused".to_owned(),
            Event::Told => "told".to_owned(),
            Event::LetsGo => "lets-go".to_owned(),
            Event::Late => "late".to_owned(),
            Event::Failed => "failed".to_owned(),
        };
        format!("{} {} {event}\n", self.time, self.id.0)
    }
}

/// The file, as a process writes it.
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        File::options().create(true).append(true).open(path).map(Self).map_err(text)
    }

    pub(crate) fn note(&self, id: Id, event: Event) {
        let line = Line { time: now(), id, event }.text();
        // Once, or there would be halves of lines (1).
        let written = (&self.0).write(line.as_bytes()).expect("the log can be written");
        assert_eq!(written, line.len(), "the log took a part of a line");
    }
}

/// The file, as somebody reads it while it grows.
pub(crate) struct Reader {
    file: File,
    rest: Vec<u8>,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        Ok(Self { file: File::open(path).map_err(text)?, rest: Vec::new() })
    }

    /// The lines that have come since.
    pub(crate) fn more(&mut self) -> Outcome<Vec<Line>> {
        self.file.read_to_end(&mut self.rest).map_err(text)?;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = String::from_utf8(self.rest.drain(..whole).collect()).map_err(text)?;
        let parse = |line: &str| Line::parse(line).ok_or_else(|| format!("in the log: {line:?}"));
        lines.lines().map(parse).collect()
    }
}
