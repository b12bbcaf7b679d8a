//! The soak's judge, who sees nothing but the journal.
//!
//! 1. The holds of a name do not overlap, but for shared ones with each other. A hold is from its grant
//!    to when its holder is about to give it up, or is told of its loss, or is killed.
//! 2. The tokens of the exclusive holds of a name strictly increase, in the order of grants.
//! 3. Whose loss was told does not hear from the release that it was his until then.
//! 4. Nobody waits for longer than any fault lasts.
//! 5. Whoever was killed between asking and an answer *may* have held all that time. That proves nothing;
//!    how many they are, and how many others had the name meanwhile, is counted.
//!
//! What is excused from 1 and 2 is counted, and is this only, where the docs say so:
//!
//! * a hold that somebody has taken away outside of keyward (a session or a server killed, a connection
//!   reset, a lock file removed), of that process or name, from that moment on and for as long as the docs
//!   say that the news may take, if its holder does not claim in the end that it was his all the time;
//! * the same of one who was given it after that by another task of the same process, which had not heard;
//! * a hold on a server of a process that was frozen meanwhile, until it has had time to look.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::log::{Event, What};

/// How old things are when they are judged, so that every process has written its lines; and how old when
/// they are forgotten.
const SETTLED: u64 = 15_000_000_000;
const FORGOTTEN: u64 = 60_000_000_000;

/// For how long somebody who has just been thawed may not have looked yet.
const WAKING: u64 = 1_500_000_000;

/// What is not as [1](self) says, and has a reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How late a loss may be told, at most, of what is taken away.
    pub(crate) told_within: Duration,
    /// Whether a process that stands still loses what it holds.
    pub(crate) freezing_loses: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) asked: usize,
    pub(crate) holds: usize,
    pub(crate) told: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) excused: usize,
    pub(crate) longest_excused: Duration,
    pub(crate) excused_disorders: usize,
    pub(crate) maybe: usize,
    pub(crate) possible: usize,
}

type Id = (u32, u64);

#[derive(Clone, Debug)]
struct Hold {
    id: Id,
    asked: u64,
    from: u64,
    until: u64,
    shared: bool,
    /// Granted, and not only perhaps.
    is_certain: bool,
    /// The release said that it was ours all the time.
    is_sure: bool,
    token: Option<u64>,
}

impl Hold {
    fn who(&self) -> String {
        format!("{}.{}", self.id.0, self.id.1)
    }
}

/// Something that takes holds away: of which process, or of all, and of which name, or of all.
#[derive(Clone, Debug)]
struct Cut {
    pid: u32,
    name: String,
    begun: u64,
    done: u64,
}

impl Cut {
    fn concerns(&self, hold: &Hold, name: &str) -> bool {
        (self.pid == 0 || self.pid == hold.id.0) && (self.name == "*" || self.name == name)
    }
}

#[derive(Debug)]
pub(crate) struct Judge {
    rules: Rules,
    events: Vec<Event>,
    /// Pairs that have been judged.
    seen: HashSet<(Id, Id)>,
    pub(crate) verdict: Verdict,
}

/// What the lines of some time say.
struct Record {
    names: BTreeMap<String, Vec<Hold>>,
    cuts: Vec<Cut>,
    /// Who, from when to when.
    frozen: Vec<(u32, u64, u64)>,
    ended: HashSet<Id>,
}

impl Judge {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, events: Vec::new(), seen: HashSet::new(), verdict: Verdict::default() }
    }

    /// Roughly how many bytes it has in mind, which are none of those that are watched.
    pub(crate) fn weight(&self) -> usize {
        let names: usize = self.events.iter().map(|event| event.name.capacity()).sum();
        self.events.capacity() * size_of::<Event>()
            + names
            + self.seen.capacity() * (size_of::<(Id, Id)>() + 1)
    }

    /// More lines; at the end, all that has been left open is judged as well.
    pub(crate) fn hear(&mut self, events: Vec<Event>, is_end: bool) {
        for event in &events {
            match event.what {
                What::Asked => self.verdict.asked += 1,
                What::Granted | What::Shared => self.verdict.holds += 1,
                What::Told => self.verdict.told += 1,
                What::Stuck => self.verdict.violations.push(format!(
                    "{}.{} does not get {}, at {}",
                    event.pid, event.turn, event.name, event.time
                )),
                _ => {}
            }
        }
        self.events.extend(events);
        self.events.sort_by_key(|event| event.time);
        let newest = self.events.last().map_or(0, |event| event.time);
        let settled = if is_end { u64::MAX } else { newest.saturating_sub(SETTLED) };
        let record = self.record(is_end);
        for (name, holds) in &record.names {
            self.overlaps(&record, name, holds, settled);
            self.disorders(&record, name, holds, settled);
        }
        // What has ended long ago cannot meet what comes.
        let old = newest.saturating_sub(FORGOTTEN);
        let mut ends: BTreeMap<Id, u64> = BTreeMap::new();
        for event in &self.events {
            let id = (event.pid, event.turn);
            let is_open = event.turn != 0 && !record.ended.contains(&id);
            ends.insert(id, if is_open { u64::MAX } else { event.time });
        }
        self.events.retain(|event| match event.turn {
            0 => event.time >= old,
            turn => ends[&(event.pid, turn)] >= old,
        });
    }

    /// Puts the lines together.
    fn record(&mut self, is_end: bool) -> Record {
        let mut turns: BTreeMap<Id, Vec<&Event>> = BTreeMap::new();
        let (mut cuts, mut frozen): (Vec<Cut>, Vec<(u32, u64, u64)>) = (Vec::new(), Vec::new());
        let mut killed = BTreeMap::new();
        for event in &self.events {
            match event.what {
                What::Killed => drop(killed.insert(event.pid, event.time)),
                What::Frozen => frozen.push((event.pid, event.time, u64::MAX)),
                What::Thawed => {
                    let of_pid = |it: &&mut (u32, u64, u64)| it.0 == event.pid && it.2 == u64::MAX;
                    if let Some(one) = frozen.iter_mut().find(of_pid) {
                        one.2 = event.time;
                    }
                }
                What::Sever => cuts.push(Cut {
                    pid: event.pid,
                    name: event.name.clone(),
                    begun: event.time,
                    done: u64::MAX,
                }),
                What::Severed => {
                    let is_it = |it: &&mut Cut| {
                        it.pid == event.pid && it.name == event.name && it.done == u64::MAX
                    };
                    if let Some(cut) = cuts.iter_mut().find(is_it) {
                        cut.done = event.time;
                    }
                }
                _ => turns.entry((event.pid, event.turn)).or_default().push(event),
            }
        }
        let (mut names, mut ended) = (BTreeMap::<_, Vec<Hold>>::new(), HashSet::new());
        for (id, events) in turns {
            let at = |all: &[What]| events.iter().find(|it| all.contains(&it.what));
            let killed = killed.get(&id.0).copied().filter(|&it| it >= events[0].time);
            if let Some(told) = at(&[What::Told])
                && let Some(released) = at(&[What::Released])
                && self.seen.insert((id, id))
            {
                self.verdict.violations.push(format!(
                    "{}.{}: the loss of {} is told at {}, and at {} the release says that it was ours",
                    id.0, id.1, told.name, told.time, released.time
                ));
            }
            let granted = at(&[What::Granted, What::Shared]);
            let is_gone = at(&[What::Gone]).is_some();
            let over = at(&[What::Left, What::Told]).map(|it| it.time);
            if is_gone || over.is_some() || killed.is_some() {
                ended.insert(id);
            }
            if is_gone || (granted.is_none() && killed.is_none() && !is_end) {
                continue;
            }
            let until = over.into_iter().chain(killed).min().unwrap_or(u64::MAX);
            names.entry(events[0].name.clone()).or_default().push(Hold {
                id,
                asked: events[0].time,
                from: granted.unwrap_or(&events[0]).time,
                until,
                shared: granted.is_some_and(|it| it.what == What::Shared),
                is_certain: granted.is_some(),
                is_sure: at(&[What::Released]).is_some(),
                token: granted.and_then(|it| it.token),
            });
        }
        for holds in names.values_mut() {
            holds.sort_by_key(|hold| hold.from);
        }
        Record { names, cuts, frozen, ended }
    }

    fn overlaps(&mut self, record: &Record, name: &str, holds: &[Hold], settled: u64) {
        let mut open: Vec<&Hold> = Vec::new();
        for hold in holds {
            open.retain(|it| it.until > hold.from);
            for other in open.iter().filter(|other| !(hold.shared && other.shared)) {
                let (start, end) = (hold.from, hold.until.min(other.until));
                if end > settled || end <= start || !self.seen.insert((other.id, hold.id)) {
                    continue;
                }
                if !(hold.is_certain && other.is_certain) {
                    self.verdict.possible += 1;
                    continue;
                }
                let time = Duration::from_nanos(end - start);
                if self.is_excused(record, name, [other, hold], start, end) {
                    self.verdict.excused += 1;
                    self.verdict.longest_excused = self.verdict.longest_excused.max(time);
                } else {
                    let (one, two) = (other.who(), hold.who());
                    self.verdict.violations.push(format!(
                        "{one} and {two} both hold {name} for {time:?}, from {start} on"
                    ));
                }
            }
            if !hold.is_certain && self.seen.insert((hold.id, (0, 0))) {
                self.verdict.maybe += 1;
            }
            open.push(hold);
        }
    }

    fn disorders(&mut self, record: &Record, name: &str, holds: &[Hold], settled: u64) {
        let exclusive =
            holds.iter().filter(|it| !it.shared && it.is_certain && it.until <= settled);
        let mut largest: Option<&Hold> = None;
        for hold in exclusive.filter(|it| it.token.is_some()) {
            let Some(before) = largest.replace(hold) else { continue };
            if before.token < hold.token {
                continue;
            }
            largest = Some(before);
            if !self.seen.insert((hold.id, before.id)) {
                continue;
            }
            // One of them had lost it, or had it late: that is an overlap of what they believe, though
            // not always of what they have done.
            let until = hold.until.min(before.until.max(hold.from + 1));
            if self.is_excused(record, name, [before, hold], hold.from, until) {
                self.verdict.excused_disorders += 1;
            } else {
                self.verdict.violations.push(format!(
                    "{} has {name} with the token {:?}, after {} had it with {:?}, at {}",
                    hold.who(),
                    hold.token,
                    before.who(),
                    before.token,
                    hold.from
                ));
            }
        }
    }

    /// Whether two may believe that they hold a name.
    fn is_excused(
        &self,
        record: &Record,
        name: &str,
        both: [&Hold; 2],
        start: u64,
        end: u64,
    ) -> bool {
        let bound = u64::try_from(self.rules.told_within.as_nanos()).unwrap();
        // Who claims to the end that it was his has not merely not heard.
        both.into_iter().filter(|hold| !hold.is_sure).any(|hold| {
            let is_frozen = record.frozen.iter().any(|&(pid, from, until)| {
                pid == hold.id.0
                    && hold.asked < until
                    && start >= from
                    && end <= until.saturating_add(WAKING)
            });
            let is_cut = |cut: &Cut| {
                let heard = cut.done.saturating_add(bound);
                // The store may have granted it before that, and the holder got to it later. On a server
                // another task of the process may have passed it on.
                let had_it =
                    hold.asked <= cut.done || self.rules.freezing_loses && hold.from <= heard;
                bound > 0
                    && cut.concerns(hold, name)
                    && start >= cut.begun
                    && end <= heard
                    && had_it
            };
            self.rules.freezing_loses && is_frozen || record.cuts.iter().any(is_cut)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::log::What::*, *};

    const MS: u64 = 1_000_000;

    const RULES: Rules = Rules { told_within: Duration::from_millis(100), freezing_loses: true };

    fn event(ms: u64, what: What, pid: u32, token: Option<u64>) -> Event {
        let (turn, name) = match what {
            Killed | Frozen | Thawed | Sever | Severed => (0, "*"),
            _ => (1, "a"),
        };
        Event { time: ms * MS, what, pid, turn, token, name: name.to_owned() }
    }

    /// A hold that ends with a release that says so.
    fn hold(pid: u32, from: u64, until: u64, end: What) -> Vec<Event> {
        let token = Some(from);
        let asked = event(from - 1, Asked, pid, None);
        let granted = event(from, Granted, pid, token);
        vec![asked, granted, event(until, Left, pid, None), event(until + 1, end, pid, None)]
    }

    fn judged(rules: Rules, events: Vec<Event>) -> Verdict {
        let mut judge = Judge::new(rules);
        judge.hear(events, true);
        judge.verdict
    }

    fn cut(pid: u32, ms: u64) -> Vec<Event> {
        vec![event(ms, Sever, pid, None), event(ms + 1, Severed, pid, None)]
    }

    fn counts(verdict: &Verdict) -> (usize, usize) {
        (verdict.violations.len(), verdict.excused)
    }

    #[test]
    fn overlaps_are_found_and_only_what_was_taken_away_is_excused() {
        let sound = [hold(1, 10, 20, Released), hold(2, 20, 30, Released)].concat();
        assert_eq!(counts(&judged(RULES, sound)), (0, 0));
        let two = |end| [hold(1, 10, 50, end), hold(2, 20, 30, Released)].concat();
        // An overlap, and the tokens are in order.
        assert_eq!(counts(&judged(RULES, two(WasLost))), (1, 0));
        let taken = |end, pid| [two(end), cut(pid, 15)].concat();
        assert_eq!(counts(&judged(RULES, taken(WasLost, 1))), (0, 1));
        assert_eq!(counts(&judged(RULES, taken(Unsure, 0))), (0, 1));
        // He says that it was his.
        assert_eq!(counts(&judged(RULES, taken(Released, 1))), (1, 0));
        let strict = Rules { told_within: Duration::ZERO, ..RULES };
        assert_eq!(counts(&judged(strict, taken(WasLost, 1))), (1, 0));
        // Of another process; later; too long.
        assert_eq!(counts(&judged(RULES, taken(WasLost, 3))), (1, 0));
        let later = [two(WasLost), cut(1, 25)].concat();
        assert_eq!(counts(&judged(RULES, later)), (1, 0));
        let long = [hold(1, 10, 250, WasLost), hold(2, 20, 240, Released), cut(1, 15)].concat();
        assert_eq!(counts(&judged(RULES, long)), (1, 0));
    }

    #[test]
    fn what_is_lost_before_its_holder_gets_to_it_is_excused() {
        // Asked for at 9, granted by the store then, taken away at 15, and in hand at 30.
        let mut late = hold(1, 10, 35, WasLost);
        late[1].time = 30 * MS;
        let other = |end| [hold(2, 20, 40, end), cut(1, 15)].concat();
        let verdict = judged(RULES, [late.clone(), other(Released)].concat());
        assert_eq!((counts(&verdict), verdict.excused_disorders), ((0, 1), 1), "{verdict:?}");
        // Asked for after that, on a server: by way of another task. But not a lock file.
        late[0].time = 17 * MS;
        let events = [late, other(Released)].concat();
        assert_eq!(counts(&judged(RULES, events.clone())), (0, 1));
        let files = Rules { freezing_loses: false, ..RULES };
        assert_ne!(counts(&judged(files, events)).0, 0);
    }

    #[test]
    fn a_frozen_holder_is_excused_on_servers_while_it_is_frozen() {
        let frozen = [event(15, Frozen, 1, None), event(40, Thawed, 1, None)].to_vec();
        let events =
            |end| [frozen.clone(), hold(1, 10, 50, end), hold(2, 20, 30, Released)].concat();
        assert_eq!(counts(&judged(RULES, events(WasLost))), (0, 1));
        assert_eq!(counts(&judged(RULES, events(Released))).0, 1);
        let files = Rules { freezing_loses: false, ..RULES };
        assert_eq!(counts(&judged(files, events(WasLost))).0, 1);
    }

    #[test]
    fn tokens_are_in_order() {
        let mut late = hold(2, 20, 30, Released);
        late[1].token = Some(5);
        let verdict = judged(RULES, [hold(1, 10, 15, Released), late].concat());
        assert_eq!(verdict.violations.len(), 1, "{verdict:?}");
    }

    #[test]
    fn who_is_told_was_not_the_owner_and_who_is_killed_may_have_been() {
        let mut told = hold(1, 10, 20, Released);
        told.insert(2, event(15, Told, 1, None));
        assert_eq!(judged(RULES, told).violations.len(), 1);
        let killed = [event(12, Asked, 9, None), event(25, Killed, 9, None)].to_vec();
        let verdict = judged(RULES, [hold(1, 10, 20, Released), killed].concat());
        assert_eq!((verdict.maybe, verdict.possible), (1, 1));
        assert_eq!(judged(RULES, vec![event(9, Stuck, 1, None)]).violations.len(), 1);
    }

    #[test]
    fn what_is_judged_in_parts_is_judged_once() {
        let mut judge = Judge::new(RULES);
        let all = [
            hold(1, 10, 50, Released),
            hold(2, 20, 30, Released),
            hold(3, 90_000, 90_020, Released),
            hold(4, 90_010, 90_030, Released),
        ];
        for part in all {
            judge.hear(part, false);
        }
        assert_eq!(judge.verdict.violations.len(), 1, "the first two, which are old by now");
        assert_eq!(judge.events.len(), 8, "and they are forgotten");
        judge.hear(Vec::new(), true);
        assert_eq!((judge.verdict.violations.len(), judge.verdict.holds), (2, 4));
    }
}
