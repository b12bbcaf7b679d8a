//! The judge of exclusion, which does not trust the locks that it judges.
//!
//! Whoever takes part appends lines to one journal: when a name is asked for, when it is had and with
//! which token, and when it is given up, refused, or its loss told. Times are of `CLOCK_BOOTTIME`, which
//! all processes of the machine share. Afterwards [`judge`] looks at them:
//!
//! * **J1** The holds of a name do not overlap, but for shared ones with each other. A hold begins when
//!   its holder has it in hand, and ends when he is about to give it up, or has been told of its loss.
//! * **J2** Who is killed or frozen holds until then: the rig writes that line *before* it sends the
//!   signal, so whoever comes after him comes after the line. Who is *thawed* holds again from when he
//!   goes on, unless he is told before he could do anything.
//! * **J3** Who was killed, or given up, between asking and having an answer *may* have held from the
//!   question on. That proves nothing, and is counted, in [`Verdict::possible`].
//! * **J4** Each exclusive hold has a token, and those of a name strictly increase in the order of grants.
//!
//! As a second opinion, a holder may lock a witness file by `flock`, which knows nothing of record locks
//! and of servers: that must never wait. A witness may outlive its dead owner for a moment, since the
//! kernel drops record locks first; so it is excused if the last holder was killed.

#![allow(dead_code, reason = "each binary uses a part of it")]

#[cfg(test)]
mod forged;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::time::{ClockId, clock_gettime};

/// The bytes of a line: a power of two, so that no line crosses a page and no kill can cut one.
const LINE: usize = 128;

/// Nanoseconds on a clock that all processes of the machine share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Asked,
    Exclusive,
    Shared,
    /// Certainly not had.
    Refused,
    /// About to be given up.
    Left,
    /// The loss was told.
    Told,
    /// The witness was locked.
    Clash,
    /// The process is about to be killed.
    Killed,
    /// The process is about to be frozen: what it holds, it does nothing with.
    Frozen,
    /// The process is about to go on.
    Thawed,
}

impl What {
    const ALL: [(Self, &str); 10] = [
        (Self::Asked, "asked"),
        (Self::Exclusive, "exclusive"),
        (Self::Shared, "shared"),
        (Self::Refused, "refused"),
        (Self::Left, "left"),
        (Self::Told, "told"),
        (Self::Clash, "clash"),
        (Self::Killed, "killed"),
        (Self::Frozen, "frozen"),
        (Self::Thawed, "thawed"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(what, _)| *what == self).unwrap().1
    }

    fn of(word: &str) -> Self {
        Self::ALL.iter().find(|(_, other)| *other == word).expect("a known word").0
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    time: u64,
    what: What,
    pid: u32,
    /// Of the process: which of its acquisitions.
    turn: u64,
    token: Option<u64>,
    name: String,
}

/// Where lines are appended to.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    turns: AtomicU64,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Arc<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        Arc::new(Self { path: path.to_owned(), file, turns: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, what: What, pid: u32, turn: u64, token: Option<u64>, name: &str) {
        let token = token.map_or_else(|| "-".to_owned(), |token| token.to_string());
        let line = format!("{} {} {pid} {turn} {token} {name}", now(), what.word());
        assert!(line.len() < LINE, "{line} is too long");
        (&self.file).write_all(format!("{line:<width$}\n", width = LINE - 1).as_bytes()).unwrap();
    }

    /// A name is going to be asked for.
    pub(crate) fn asked(self: &Arc<Self>, name: &str) -> Turn {
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { journal: Arc::clone(self), number, name: name.to_owned() };
        turn.write(What::Asked, None);
        turn
    }

    /// A process is about to be killed or frozen, or to go on.
    pub(crate) fn ends(&self, what: What, pid: u32) {
        self.write(what, pid, 0, None, "-");
    }

    /// All that was written by anybody.
    pub(crate) fn read(&self) -> Vec<Event> {
        let text = fs::read(&self.path).unwrap();
        assert_eq!(text.len() % LINE, 0, "a torn line");
        text.chunks(LINE).map(|line| event(str::from_utf8(line).unwrap())).collect()
    }
}

fn event(line: &str) -> Event {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let [time, what, pid, turn, token, name] = words[..] else { panic!("a torn line: {line:?}") };
    Event {
        time: time.parse().unwrap(),
        what: What::of(what),
        pid: pid.parse().unwrap(),
        turn: turn.parse().unwrap(),
        token: token.parse().ok(),
        name: name.to_owned(),
    }
}

/// One acquisition of this process. Dropped before an answer, it may have been had (J3).
#[derive(Debug)]
pub(crate) struct Turn {
    journal: Arc<Journal>,
    number: u64,
    name: String,
}

impl Turn {
    fn write(&self, what: What, token: Option<u64>) {
        self.journal.write(what, std::process::id(), self.number, token, &self.name);
    }

    pub(crate) fn granted(&self, token: Option<u64>) {
        self.write(What::Exclusive, token);
    }

    pub(crate) fn refused(&self) {
        self.write(What::Refused, None);
    }

    pub(crate) fn left(&self) {
        self.write(What::Left, None);
    }

    pub(crate) fn told(&self) {
        self.write(What::Told, None);
    }

    pub(crate) fn clash(&self) {
        self.write(What::Clash, None);
    }
}

/// Two who held together.
#[derive(Debug)]
pub(crate) struct Overlap {
    pub(crate) who: String,
    /// For how long, in nanoseconds.
    pub(crate) time: u64,
    /// The one who was there first was told of a loss, and held until then.
    pub(crate) told: bool,
}

/// What the journal says.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many holds there were.
    pub(crate) holds: usize,
    /// From asking to having, of each.
    pub(crate) waits: Vec<u64>,
    /// J1
    pub(crate) overlaps: Vec<Overlap>,
    /// J3: who *may* have held.
    pub(crate) maybe: usize,
    /// J3: which of them may have held together with somebody else who did, or may have.
    pub(crate) possible: Vec<String>,
    /// J4
    pub(crate) disorders: Vec<String>,
    pub(crate) clashes: Vec<String>,
    pub(crate) excused: usize,
}

#[derive(Clone, Debug)]
struct Hold {
    pid: u32,
    turn: u64,
    from: u64,
    until: u64,
    exclusive: bool,
    certain: bool,
    killed: bool,
    told: bool,
    token: Option<u64>,
}

impl Hold {
    fn who(&self) -> String {
        format!("{}.{}", self.pid, self.turn)
    }
}

/// Looks at the lines of all who took part, in whatever order.
pub(crate) fn judge(mut events: Vec<Event>) -> Verdict {
    events.sort_by_key(|event| event.time);
    let mut ends: HashMap<u32, Vec<(u64, What)>> = HashMap::new();
    let mut turns: BTreeMap<(String, u32, u64), Vec<Event>> = BTreeMap::new();
    for event in events {
        match event.what {
            What::Killed | What::Frozen | What::Thawed => {
                ends.entry(event.pid).or_default().push((event.time, event.what));
            }
            _ => {
                let turn = (event.name.clone(), event.pid, event.turn);
                turns.entry(turn).or_default().push(event);
            }
        }
    }
    let mut verdict = Verdict::default();
    let mut names: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    let mut clashes = Vec::new();
    for ((name, pid, turn), events) in turns {
        let first = |all: &[What]| events.iter().find(|event| all.contains(&event.what));
        if let Some(clash) = first(&[What::Clash]) {
            clashes.push((name.clone(), clash.clone()));
        }
        if first(&[What::Refused]).is_some() {
            continue;
        }
        let granted = first(&[What::Exclusive, What::Shared]);
        let from = granted.unwrap_or(&events[0]).time;
        if granted.is_some() {
            verdict.waits.push(from - events[0].time);
        }
        let ends = ends.get(&pid).map_or(&[][..], Vec::as_slice);
        let goes_on =
            |after: u64| ends.iter().any(|&(time, it)| it == What::Thawed && time >= after);
        let told = first(&[What::Told]).map(|event| event.time);
        let stop = ends.iter().find(|&&(time, what)| match what {
            _ if time < from => false,
            What::Killed => true,
            // Who was frozen in the queue is not at his end: he has what he gets after it. Nor is who goes on
            // and has never heard of a loss: then nobody else may have had it, meanwhile neither.
            What::Frozen => granted.is_some() && (told.is_some() || !goes_on(time)),
            _ => false,
        });
        let left = first(&[What::Left]).map(|event| event.time);
        let until = left.into_iter().chain(told).chain(stop.map(|(time, _)| *time)).min();
        let until = until.unwrap_or(u64::MAX);
        let killed = stop.is_some_and(|(time, what)| *time == until && *what == What::Killed);
        names.entry(name).or_default().push(Hold {
            pid,
            turn,
            from,
            until,
            exclusive: granted.is_none_or(|granted| granted.what == What::Exclusive),
            certain: granted.is_some(),
            killed,
            told: told == Some(until),
            token: granted.and_then(|granted| granted.token),
        });
    }
    for (name, holds) in &mut names {
        holds.sort_by_key(|hold| hold.from);
        judge_name(name, holds, &mut verdict);
    }
    for (name, clash) in clashes {
        let holds = names.get(&name).map_or(&[][..], Vec::as_slice);
        let is_own = |hold: &&Hold| (hold.pid, hold.turn) == (clash.pid, clash.turn);
        let own = holds.iter().find(is_own).map_or(clash.time, |own| own.from);
        match holds.iter().rev().find(|hold| hold.certain && hold.from < own) {
            Some(last) if last.killed => verdict.excused += 1,
            _ => verdict
                .clashes
                .push(format!("{}.{} found the witness of {name} locked", clash.pid, clash.turn)),
        }
    }
    verdict
}

/// Of one name: its holds, in the order in which they began.
fn judge_name(name: &str, holds: &[Hold], verdict: &mut Verdict) {
    let mut last_token: Option<&Hold> = None;
    for hold in holds.iter().filter(|hold| hold.certain) {
        verdict.holds += 1;
        let Some(token) = hold.token else {
            if hold.exclusive {
                verdict.disorders.push(format!("{} has no token for {name}", hold.who()));
            }
            continue;
        };
        if let Some(last) = last_token
            && last.token >= Some(token)
        {
            let (who, before) = (hold.who(), last.token.unwrap_or_default());
            verdict.disorders.push(format!("{who} has {token} for {name} after {before}"));
        }
        last_token = Some(hold);
    }
    verdict.maybe += holds.iter().filter(|hold| !hold.certain).count();
    // All who are there, and not only who stays longest: what is excused must hide nobody behind it.
    let mut there: Vec<&Hold> = Vec::new();
    for hold in holds {
        there.retain(|other| other.until > hold.from);
        for other in there.iter().filter(|other| other.exclusive || hold.exclusive) {
            let who = format!("{} and {} hold {name}", other.who(), hold.who());
            if hold.certain && other.certain {
                let time = other.until.min(hold.until).saturating_sub(hold.from);
                verdict.overlaps.push(Overlap { who, time, told: other.told });
            } else {
                verdict.possible.push(who);
            }
        }
        there.push(hold);
    }
}

/// A file that is locked by `flock` while a name is held.
#[derive(Debug)]
pub(crate) struct Witness(File);

impl Witness {
    pub(crate) fn open(path: &Path) -> Self {
        Self(OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap())
    }

    /// False if somebody else has it.
    pub(crate) fn lock(&self) -> bool {
        self.0.try_lock().is_ok()
    }

    pub(crate) fn unlock(&self) {
        self.0.unlock().unwrap();
    }
}
