//! The judge of exclusion, which does not trust the locks that it judges.
//!
//! Whoever takes part appends lines to one journal: when a name is asked for, when it is had and with
//! which token, and when it is given up, refused, or its loss told. Times are of `CLOCK_BOOTTIME`, which
//! all processes of the machine share. Afterwards [`judge`] looks at them:
//!
//! * **J1** The holds of a name do not overlap, but for shared ones with each other. A hold begins when
//!   its holder has it in hand, and ends when he is about to give it up, or has been told of its loss.
//! * **J2** Who is killed or frozen holds until then: the rig writes that line *before* it sends the
//!   signal, so whoever comes after him comes after the line.
//! * **J3** Who was killed, or given up, between asking and having an answer *may* have held from the
//!   question on. That proves nothing, and is counted, in [`Verdict::possible`].
//! * **J4** The tokens of the exclusive holds of a name strictly increase in the order of grants.
//!
//! As a second opinion, a holder may lock a witness file by `flock`, which knows nothing of record locks
//! and of servers: that must never wait. A witness may outlive its dead owner for a moment, since the
//! kernel drops record locks first; so it is excused if the last holder was killed.

#![allow(dead_code, reason = "each binary uses a part of it")]

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
}

impl What {
    const ALL: [(Self, &str); 9] = [
        (Self::Asked, "asked"),
        (Self::Exclusive, "exclusive"),
        (Self::Shared, "shared"),
        (Self::Refused, "refused"),
        (Self::Left, "left"),
        (Self::Told, "told"),
        (Self::Clash, "clash"),
        (Self::Killed, "killed"),
        (Self::Frozen, "frozen"),
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

    /// A process is about to be killed or frozen.
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

/// What the journal says.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many holds there were.
    pub(crate) holds: usize,
    /// From asking to having, of each.
    pub(crate) waits: Vec<u64>,
    /// J1: who held together with whom, and for how long.
    pub(crate) overlaps: Vec<(String, u64)>,
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
            What::Killed | What::Frozen => {
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
        let stop = ends.get(&pid).and_then(|ends| ends.iter().find(|(time, _)| *time >= from));
        // Who was frozen in the queue is not at his end: he has what he gets after it.
        let stop = stop.filter(|(_, what)| granted.is_some() || *what == What::Killed);
        let given_up = first(&[What::Left, What::Told]).map(|event| event.time);
        let until = given_up.into_iter().chain(stop.map(|(time, _)| *time)).min();
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
        let Some(token) = hold.token else { continue };
        if let Some(last) = last_token
            && last.token >= Some(token)
        {
            let (who, before) = (hold.who(), last.token.unwrap_or_default());
            verdict.disorders.push(format!("{who} has {token} for {name} after {before}"));
        }
        last_token = Some(hold);
    }
    verdict.maybe += holds.iter().filter(|hold| !hold.certain).count();
    // Of those before: who stays longest, of all and of the exclusive ones.
    for certain in [true, false] {
        let (mut longest, mut exclusive): (Option<&Hold>, Option<&Hold>) = (None, None);
        for hold in holds.iter().filter(|hold| hold.certain || !certain) {
            let other = if hold.exclusive { longest } else { exclusive };
            if let Some(other) = other.filter(|other| other.until > hold.from) {
                let both = other.until.min(hold.until).saturating_sub(hold.from);
                let text = format!("{} and {} hold {name}", other.who(), hold.who());
                if certain {
                    verdict.overlaps.push((text, both));
                } else if !hold.certain || !other.certain {
                    verdict.possible.push(text);
                }
            }
            let later = |kept: Option<&Hold>| kept.is_none_or(|kept| kept.until < hold.until);
            if later(longest) {
                longest = Some(hold);
            }
            if hold.exclusive && later(exclusive) {
                exclusive = Some(hold);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::{What::*, *};

    fn line(time: u64, what: What, pid: u32, token: Option<u64>) -> Event {
        Event { time, what, pid, turn: 0, token, name: "a".to_owned() }
    }

    /// A hold as it should be.
    fn hold(pid: u32, from: u64, until: u64, token: u64) -> Vec<Event> {
        vec![
            line(from - 1, Asked, pid, None),
            line(from, Exclusive, pid, Some(token)),
            line(until, Left, pid, None),
        ]
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let verdict = judge([hold(1, 10, 20, 5), hold(2, 20, 30, 6), hold(3, 31, 40, 9)].concat());
        assert_eq!(verdict.holds, 3);
        assert!(verdict.overlaps.is_empty() && verdict.disorders.is_empty(), "{verdict:?}");
        assert_eq!(verdict.maybe, 0);
    }

    #[test]
    fn an_overlap_is_found_however_the_lines_are_mixed() {
        let mut events = [hold(1, 10, 20, 5), hold(2, 19, 30, 6)].concat();
        events.reverse();
        let verdict = judge(events);
        assert_eq!(verdict.overlaps.len(), 1);
        assert_eq!(verdict.overlaps[0].1, 1);
        // A short hold within a long one does not hide that the next is within it, too.
        let events = [hold(1, 10, 50, 5), hold(2, 20, 21, 6), hold(3, 30, 31, 7)].concat();
        assert_eq!(judge(events).overlaps.len(), 2);
        // Other names are other locks.
        let mut others = hold(2, 15, 30, 6);
        others.iter_mut().for_each(|event| event.name = "b".to_owned());
        assert!(judge([hold(1, 10, 20, 5), others].concat()).overlaps.is_empty());
    }

    #[test]
    fn readers_share_with_readers_only() {
        let reader =
            |pid, from, until| vec![line(from, Shared, pid, None), line(until, Left, pid, None)];
        assert!(judge([reader(1, 10, 20), reader(2, 15, 30)].concat()).overlaps.is_empty());
        let events = [reader(1, 10, 40), reader(2, 15, 20), hold(3, 30, 50, 1)].concat();
        assert_eq!(judge(events).overlaps.len(), 1);
        assert_eq!(judge([hold(3, 10, 30, 1), reader(1, 20, 40)].concat()).overlaps.len(), 1);
    }

    #[test]
    fn an_order_violation_is_found() {
        let disorders = |a, b| judge([hold(1, 10, 20, a), hold(2, 30, 40, b)].concat()).disorders;
        assert!(disorders(5, 6).is_empty());
        assert_eq!(disorders(6, 5).len(), 1);
        assert_eq!(disorders(5, 5).len(), 1, "twice the same is no order");
    }

    #[test]
    fn what_was_cut_in_the_middle_may_have_held() {
        // Asked, and killed without an answer; another one gets it meanwhile.
        let cut = [line(12, Asked, 9, None), line(25, Killed, 9, None)].to_vec();
        let verdict = judge([hold(1, 10, 20, 5), cut.clone(), hold(2, 22, 30, 6)].concat());
        assert_eq!((verdict.maybe, verdict.overlaps.len()), (1, 0));
        assert_eq!(verdict.possible.len(), 2, "{verdict:?}");
        // After its death it does not hold.
        let verdict = judge([cut, hold(2, 26, 30, 6)].concat());
        assert_eq!((verdict.maybe, verdict.possible.len()), (1, 0));
        // Given up without an answer and without a death: from then on, for ever.
        let verdict = judge([vec![line(12, Asked, 9, None)], hold(2, 90, 99, 6)].concat());
        assert_eq!((verdict.maybe, verdict.possible.len()), (1, 1));
        // Who was refused has certainly not held.
        let refused = [line(12, Asked, 9, None), line(13, Refused, 9, None)].to_vec();
        let verdict = judge([refused, hold(2, 90, 99, 6)].concat());
        assert_eq!((verdict.maybe, verdict.possible.len()), (0, 0));
    }

    #[test]
    fn who_is_killed_or_frozen_or_told_holds_until_then() {
        for end in [Killed, Frozen, Told] {
            let start = [line(10, Exclusive, 1, Some(1)), line(20, end, 1, None)].to_vec();
            assert!(judge([start.clone(), hold(2, 20, 30, 2)].concat()).overlaps.is_empty());
            assert_eq!(judge([start, hold(2, 19, 30, 2)].concat()).overlaps.len(), 1, "{end:?}");
        }
        // Who is frozen in the queue has what he gets after it.
        let events = [line(5, Asked, 1, None), line(8, Frozen, 1, None)].to_vec();
        let granted = [line(10, Exclusive, 1, Some(1)), line(20, Left, 1, None)].to_vec();
        let verdict = judge([events, granted, hold(2, 15, 30, 2)].concat());
        assert_eq!(verdict.overlaps.len(), 1);
        // Who holds for ever shares with nobody.
        let verdict = judge([vec![line(10, Exclusive, 1, Some(1))], hold(2, 90, 99, 2)].concat());
        assert_eq!(verdict.overlaps.len(), 1);
    }

    #[test]
    fn a_locked_witness_is_excused_after_a_death_only() {
        let heir = [hold(2, 21, 30, 2), vec![line(22, Clash, 2, None)]].concat();
        let dead = [line(10, Exclusive, 1, Some(1)), line(20, Killed, 1, None)].to_vec();
        let verdict = judge([dead, heir.clone()].concat());
        assert_eq!((verdict.clashes.len(), verdict.excused), (0, 1));
        let verdict = judge([hold(1, 10, 20, 1), heir].concat());
        assert_eq!((verdict.clashes.len(), verdict.excused), (1, 0));
    }

    #[test]
    fn a_journal_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal"));
        let turn = journal.asked("a");
        turn.granted(Some(3));
        journal.asked("a").granted(Some(2));
        turn.left();
        journal.ends(Killed, 7);
        let events = journal.read();
        assert_eq!(events.len(), 6);
        let verdict = judge(events);
        assert_eq!((verdict.holds, verdict.overlaps.len(), verdict.disorders.len()), (2, 1, 1));
    }

    #[test]
    fn a_witness_is_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let witness = || Witness::open(&dir.path().join("witness"));
        let (one, two) = (witness(), witness());
        assert!(one.lock() && !two.lock());
        one.unlock();
        assert!(two.lock());
    }
}
