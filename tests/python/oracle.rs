//! The judge of exclusion, which knows nothing of the locks that are judged.
//!
//! Looping processes append to one log: a line when they have the lock and one before they give it
//! back. The kernel puts the lines in order, so that two holds overlap exactly if their lines do. A
//! process that is about to be killed has that written into the log first: whoever enters after it has
//! died enters after that line. As a second opinion each holder locks a witness file by `flock`, which
//! knows nothing of record locks: that must never wait.
//!
//! Who has a fencing token writes it behind its entry: whatever happens in between, they grow.
//!
//! A witness may outlive its dead owner for a moment, since the kernel drops record locks first when a
//! process ends: a clash is excused if a dead holder has just been passed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use crate::{peer::Peer, protocol::Request, room::Room};

/// The bytes of a line: a power of two, so that no line crosses a page and no kill can cut one.
pub(crate) const LINE: usize = 64;

/// What happened to a process, by the first letter of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Exclusive,
    Shared,
    Exit,
    /// Not acquired in time.
    Refused,
    /// The witness file was locked.
    Clash,
    /// The process is about to be killed.
    Kill,
}

impl Entry {
    const ALL: [(Self, char); 6] = [
        (Self::Exclusive, 'E'),
        (Self::Shared, 'S'),
        (Self::Exit, 'X'),
        (Self::Refused, 'N'),
        (Self::Clash, 'W'),
        (Self::Kill, 'K'),
    ];

    pub(crate) fn letter(self) -> char {
        Self::ALL.iter().find(|(entry, _)| *entry == self).unwrap().1
    }

    fn of(letter: char) -> Self {
        Self::ALL.iter().find(|(_, other)| *other == letter).expect("a known letter").0
    }
}

/// What one kind of peers has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) exclusive: u64,
    pub(crate) shared: u64,
    pub(crate) refused: u64,
    pub(crate) killed: u64,
    pub(crate) killed_holding: u64,
}

/// Reads the log as it grows. Identities are `kind-number:task`; a kill is of `kind-number`.
#[derive(Debug)]
pub(crate) struct Oracle {
    log: PathBuf,
    witness: PathBuf,
    reader: File,
    /// Another open file, since appending moves on where one reads.
    writer: File,
    /// Who is in there, and whether exclusively.
    inside: HashMap<String, bool>,
    killed: HashSet<String>,
    /// Who has come in over a dead holder.
    heirs: HashSet<String>,
    pub(crate) tallies: BTreeMap<String, Tally>,
    pub(crate) overlaps: Vec<String>,
    /// The last fencing token, and those that were no larger than the one before.
    token: u64,
    pub(crate) disorders: Vec<String>,
    pub(crate) excused: u64,
}

impl Oracle {
    pub(crate) fn new(room: &Room) -> Self {
        let (log, witness) = (room.path().join("log"), room.path().join("witness"));
        let writer = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let reader = File::open(&log).unwrap();
        Self {
            log,
            witness,
            reader,
            writer,
            inside: HashMap::new(),
            killed: HashSet::new(),
            heirs: HashSet::new(),
            tallies: BTreeMap::new(),
            overlaps: Vec::new(),
            token: 0,
            disorders: Vec::new(),
            excused: 0,
        }
    }

    /// A request to loop without end and tell this oracle; change what should be different. Times are
    /// in µs and at most so long, but for `dwell`, which is how long one hold in 300 takes.
    pub(crate) fn request(&self, id: &str) -> Request {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        Request::new("loop")
            .with("id", id)
            .with("tasks", "1")
            .with("rounds", "0")
            .with("seconds", "0")
            .with("wait", "forever")
            .with("hold", "1000")
            .with("dwell", "0")
            .with("gap", "0")
            .with("shared", "0")
            .with("log", path(&self.log))
            .with("witness", path(&self.witness))
    }

    /// Kills a peer, with its line in the log.
    pub(crate) fn kill(&mut self, id: &str, peer: &mut Peer) {
        self.write(Entry::Kill, id);
        peer.kill();
    }

    fn write(&mut self, entry: Entry, id: &str) {
        let line = format!("{} {id}", entry.letter());
        self.writer.write_all(format!("{line:<width$}\n", width = LINE - 1).as_bytes()).unwrap();
    }

    /// Who is inside now, if somebody.
    pub(crate) fn holder(&self) -> Option<String> {
        let (id, _) = self.inside.iter().find(|(id, _)| !self.is_dead(id))?;
        Some(process(id).to_owned())
    }

    fn is_dead(&self, id: &str) -> bool {
        self.killed.contains(process(id))
    }

    /// Reads what is new.
    pub(crate) fn read(&mut self) {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        for line in text.as_bytes().chunks(LINE) {
            let line = str::from_utf8(line).unwrap();
            assert!(line.len() == LINE && line.ends_with('\n'), "a torn line: {line:?}");
            let mut words = line.split_ascii_whitespace();
            let (letter, id) = words.next().zip(words.next()).expect("two words");
            self.judge(Entry::of(letter.chars().next().unwrap()), id);
            if let Some(token) = words.next() {
                self.compare(token.parse().unwrap(), id);
            }
        }
    }

    fn judge(&mut self, entry: Entry, id: &str) {
        let kind = id.split('-').next().unwrap().to_owned();
        match entry {
            Entry::Exclusive => self.enter(id, true),
            Entry::Shared => self.enter(id, false),
            Entry::Exit => {
                let entered = self.inside.remove(id);
                assert!(entered.is_some(), "{id} goes without having come");
                self.heirs.remove(id);
            }
            Entry::Clash if self.heirs.contains(id) => self.excused += 1,
            Entry::Clash => self.overlaps.push(format!("{id} found the witness locked")),
            Entry::Refused | Entry::Kill => {}
        }
        let tally = self.tallies.entry(kind).or_default();
        match entry {
            Entry::Exclusive => tally.exclusive += 1,
            Entry::Shared => tally.shared += 1,
            Entry::Refused => tally.refused += 1,
            Entry::Exit | Entry::Clash => {}
            Entry::Kill => {
                tally.killed += 1;
                let holding = self.inside.keys().any(|inside| process(inside) == id);
                tally.killed_holding += u64::from(holding);
                self.killed.insert(id.to_owned());
            }
        }
    }

    fn compare(&mut self, token: u64, id: &str) {
        if token <= self.token {
            self.disorders.push(format!("{id} has {token} after {}", self.token));
        }
        self.token = token;
    }

    fn enter(&mut self, id: &str, exclusive: bool) {
        for (other, is_exclusive) in std::mem::take(&mut self.inside) {
            if !exclusive && !is_exclusive {
                self.inside.insert(other, is_exclusive);
            } else if self.is_dead(&other) {
                self.heirs.insert(id.to_owned());
            } else {
                self.overlaps.push(format!("{id} came while {other} was inside"));
                self.inside.insert(other, is_exclusive);
            }
        }
        self.inside.insert(id.to_owned(), exclusive);
    }

    pub(crate) fn total(&self, count: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.values().map(count).sum()
    }

    /// How often the lock was held.
    pub(crate) fn acquisitions(&self) -> u64 {
        self.total(|tally| tally.exclusive + tally.shared)
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} acquisitions, {} refused, {} processes killed, {} of them holding, {} overlaps",
            self.acquisitions(),
            self.total(|tally| tally.refused),
            self.total(|tally| tally.killed),
            self.total(|tally| tally.killed_holding),
            self.overlaps.len(),
        )?;
        for (kind, tally) in &self.tallies {
            writeln!(
                f,
                "  {kind:10} exclusive {:6}, shared {:6}, refused {:6}, killed {:3}, holding {:3}",
                tally.exclusive, tally.shared, tally.refused, tally.killed, tally.killed_holding
            )?;
        }
        Ok(())
    }
}

fn process(id: &str) -> &str {
    id.split(':').next().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Place;

    fn judged(lines: &[(Entry, &str)]) -> Oracle {
        let room = Room::new(Place::Memory);
        let mut oracle = Oracle::new(&room);
        for (entry, id) in lines {
            oracle.write(*entry, id);
        }
        oracle.read();
        oracle
    }

    #[test]
    fn holds_in_turn_are_no_overlap() {
        use Entry::{Clash, Exclusive, Exit, Kill, Shared};
        let in_turn =
            [(Exclusive, "a-1:0"), (Exit, "a-1:0"), (Exclusive, "b-1:0"), (Exit, "b-1:0")];
        assert_eq!(judged(&in_turn).overlaps.len(), 0);
        let readers = [(Shared, "a-1:0"), (Shared, "b-1:0"), (Exit, "a-1:0"), (Exit, "b-1:0")];
        assert_eq!(judged(&readers).overlaps.len(), 0);
        let after_death = [
            (Exclusive, "a-1:0"),
            (Kill, "a-1"),
            (Exclusive, "b-1:0"),
            (Clash, "b-1:0"),
            (Exit, "b-1:0"),
        ];
        let oracle = judged(&after_death);
        assert_eq!((oracle.overlaps.len(), oracle.excused), (0, 1));
        assert_eq!(oracle.total(|tally| tally.killed_holding), 1);
    }

    #[test]
    fn overlaps_are_seen_also_beside_deaths() {
        use Entry::{Clash, Exclusive, Exit, Kill, Shared};
        let writers = [(Exclusive, "a-1:0"), (Exclusive, "b-1:0"), (Exit, "a-1:0")];
        assert_eq!(judged(&writers).overlaps.len(), 1);
        let mixed = [(Shared, "a-1:0"), (Exclusive, "b-1:0"), (Shared, "c-1:0")];
        assert_eq!(judged(&mixed).overlaps.len(), 2);
        let killed_later = [(Exclusive, "a-1:0"), (Exclusive, "b-1:0"), (Kill, "a-1")];
        assert_eq!(judged(&killed_later).overlaps.len(), 1);
        let clash = [(Exclusive, "a-1:0"), (Clash, "a-1:0"), (Exit, "a-1:0")];
        assert_eq!(judged(&clash).overlaps.len(), 1);
    }

    #[test]
    fn tokens_that_do_not_grow_are_seen() {
        use Entry::{Exclusive, Exit};
        let lines = |last| {
            [
                (Exclusive, "a-1:0 7"),
                (Exit, "a-1:0"),
                (Exclusive, "python-1:0"),
                (Exit, "python-1:0"),
                (Exclusive, last),
            ]
        };
        assert_eq!(judged(&lines("b-1:0 8")).disorders, [""; 0]);
        assert_eq!(judged(&lines("b-1:0 7")).disorders, ["b-1:0 has 7 after 7"]);
    }
}
