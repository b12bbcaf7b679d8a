//! Which servers there are, on which of them a name is at home, and which layouts may work side by side.
//!
//! **A wire format**: two programs that place one name differently do not exclude each other. The values
//! in the tests below are golden.
//!
//! * **L1** A name's home among some servers is the one with the largest weight, which is a hash of the
//!   server's address *as it is configured* and the name's native key. So a server that is added takes
//!   over the names that it wins, one of n, and no name moves between two others.
//! * **L2** A layout locks a name at its home among the members, and at its home among the previous
//!   members if there are such. Every two layouts of neighbouring generations have the same servers
//!   *before* the later one as members of the earlier one ([`judge`](Layout::judge)), and so one server on
//!   which both lock the name.
//! * **L3** All layouts of one generation are the same, to the letter. Two that are not could both be
//!   neighbours of a third, and not exclude each other.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    options::MySqlOptions,
    url::{DEFAULT_PORT, host_and_port},
};
use crate::{
    error::{Error, ErrorKind},
    url,
};

/// The longest text of a layout that goes into the table.
pub(super) const LONGEST: usize = 4096;

/// Where a server is, as it is configured: `host:port`, `[::1]:port`, or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(Arc<str>);

impl Place {
    /// Of a host, of one with a port, or of a path.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let bad = || url::bad("a server is host, host:port, [::1]:port, or the path of a socket");
        // They stand between others in a list, and in the table.
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '=');
        if text.contains(is_odd) {
            return Err(bad());
        }
        if text.starts_with('/') {
            return Ok(Self(text.into()));
        }
        let (host, port) = host_and_port(text).ok_or_else(bad)?;
        // What has one of these is a url, or a login, and so a password.
        if host.is_empty() || host.contains(['@', '/']) {
            return Err(bad());
        }
        let (host, port) = (host.to_ascii_lowercase(), port.unwrap_or(DEFAULT_PORT));
        Ok(Self(match host.contains(':') {
            true => format!("[{host}]:{port}").into(),
            false => format!("{host}:{port}").into(),
        }))
    }

    /// What leads to it: all else is the same for all servers.
    pub(super) fn options(&self, all: &MySqlOptions) -> MySqlOptions {
        let options = all.clone();
        if self.0.starts_with('/') {
            return options.socket(&*self.0);
        }
        let (host, port) = host_and_port(&self.0).expect("parsed when it was made");
        let mut options = options.host(host).port(port.unwrap_or(DEFAULT_PORT));
        options.socket = None;
        options
    }

    fn weight(&self, key: &[u8]) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0.as_bytes());
        hash.update([0]); // in no address
        hash.update(key);
        let hash: [u8; 32] = hash.finalize().into();
        u64::from_be_bytes(*hash.first_chunk().expect("32 bytes are more than 8"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Places in a text, and back.
pub(super) fn join(places: &[Place]) -> String {
    places.iter().map(|place| &*place.0).collect::<Vec<_>>().join(",")
}

pub(super) fn split(text: &str) -> Result<Vec<Place>, Error> {
    text.split(',').filter(|part| !part.is_empty()).map(Place::parse).collect()
}

/// Sorted; none twice.
fn set(mut places: Vec<Place>) -> Result<Vec<Place>, Error> {
    places.sort();
    match places.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(url::bad(format!("the server {} is named twice", two[0]))),
        None => Ok(places),
    }
}

/// The home of a name (L1).
pub(super) fn home<'p>(places: &'p [Place], key: &[u8]) -> &'p Place {
    let weights = places.iter().map(|place| (place.weight(key), place));
    weights.max().map(|(_, place)| place).expect("a layout has members")
}

/// The servers of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) generation: u64,
    members: Vec<Place>,
    previous: Option<Vec<Place>>,
    gone: Vec<Place>,
}

/// How a layout that was found stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Of an earlier generation.
    Older,
    Ours,
    /// Of the next generation, which may work beside ours.
    Next,
}

impl Layout {
    pub(super) fn new(
        generation: u64,
        members: Vec<Place>,
        previous: Option<Vec<Place>>,
        gone: Vec<Place>,
    ) -> Result<Self, Error> {
        let (members, gone) = (set(members)?, set(gone)?);
        let previous = previous.map(set).transpose()?;
        let is_missing = members.is_empty() || previous.as_ref().is_some_and(Vec::is_empty);
        if generation == 0 || is_missing {
            return Err(url::bad("generations count from 1, and each has at least one server"));
        }
        if let Some(place) = gone.iter().find(|place| members.contains(place)) {
            return Err(url::bad(format!("the server {place} is a member, and so not gone")));
        }
        let this = Self { generation, members, previous, gone };
        if this.text().len() > LONGEST {
            return Err(url::bad("these are too many servers for one layout"));
        }
        Ok(this)
    }

    /// As it stands in the table.
    pub(super) fn text(&self) -> String {
        let mut text = join(&self.members);
        if let Some(previous) = &self.previous {
            text = format!("{text};previous={}", join(previous));
        }
        if !self.gone.is_empty() {
            text = format!("{text};gone={}", join(&self.gone));
        }
        text
    }

    pub(super) fn parse(generation: u64, text: &str) -> Result<Self, Error> {
        let mut parts = text.split(';');
        let members = split(parts.next().unwrap_or_default())?;
        let (mut previous, mut gone) = (None, Vec::new());
        for part in parts {
            match part.split_once('=') {
                Some(("previous", list)) => previous = Some(split(list)?),
                Some(("gone", list)) => gone = split(list)?,
                _ => return Err(url::bad("a layout that this version does not understand")),
            }
        }
        Self::new(generation, members, previous, gone)
    }

    /// The members that there were before this layout, which are those there are if none are named.
    fn before(&self) -> &[Place] {
        self.previous.as_deref().unwrap_or(&self.members)
    }

    pub(super) fn is_gone(&self, place: &Place) -> bool {
        self.gone.contains(place)
    }

    pub(super) const fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// All servers that this layout locks on, in order.
    pub(super) fn servers(&self) -> Vec<Place> {
        let all = self.members.iter().chain(self.before());
        let mut all: Vec<_> = all.filter(|place| !self.is_gone(place)).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Where a name is locked, in the order in which that is done: that of the addresses and not that of
    /// the layouts, or a change to and fro would have two generations wait for each other.
    pub(super) fn homes(&self, key: &[u8]) -> (&Place, Option<&Place>) {
        let home_now = home(&self.members, key);
        let Some(previous) = &self.previous else { return (home_now, None) };
        let home_before = home(previous, key);
        match home_before.cmp(home_now) {
            _ if self.is_gone(home_before) => (home_now, None),
            std::cmp::Ordering::Equal => (home_now, None),
            std::cmp::Ordering::Less => (home_before, Some(home_now)),
            std::cmp::Ordering::Greater => (home_now, Some(home_before)),
        }
    }

    /// Whether we may work where that layout was found, and how it stands to ours (L2, L3).
    pub(super) fn judge(&self, found: &Self, place: &Place) -> Result<Standing, Error> {
        let (ours, theirs) = (self.generation, found.generation);
        let refused = |why: String| Err(refused(place, why));
        if let Some(standing) = self.judge_generation(theirs, place)?
            && standing == Standing::Older
        {
            if theirs + 1 == ours && self.before() != found.members {
                return refused(format!(
                    "peers disagree: before generation {ours} there were {}, it is said here, but \
                     generation {theirs} has {}",
                    join(self.before()),
                    join(&found.members)
                ));
            }
            return Ok(Standing::Older);
        }
        if theirs == ours {
            if self != found {
                return refused(format!(
                    "peers disagree: generation {ours} is {} there, and {} here",
                    found.text(),
                    self.text()
                ));
            }
            return Ok(Standing::Ours);
        }
        if found.before() != self.members {
            return refused(format!(
                "peers disagree: before generation {theirs} there were {}, they say, but generation \
                 {ours} has {} here",
                join(found.before()),
                join(&self.members)
            ));
        }
        Ok(Standing::Next)
    }

    /// The same by the number alone, where the layout has been looked at before: none if there is none.
    pub(super) fn judge_generation(
        &self,
        found: u64,
        place: &Place,
    ) -> Result<Option<Standing>, Error> {
        let ours = self.generation;
        match found {
            0 => Ok(None),
            _ if found == ours => Ok(Some(Standing::Ours)),
            _ if found < ours => Ok(Some(Standing::Older)),
            _ if found == ours + 1 => Ok(Some(Standing::Next)),
            _ => Err(refused(
                place,
                format!(
                    "peers use generation {found} of the servers, and this process has {ours}: two \
                     that are further apart than one do not exclude each other"
                ),
            )),
        }
    }
}

/// We must not work there.
pub(super) fn refused(place: &Place, why: impl fmt::Display) -> Error {
    let message = format!("{why} (says the server at {place})");
    Error::new(ErrorKind::Unsupported).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<Place> {
        split(text).unwrap()
    }

    fn layout(generation: u64, members: &str, previous: &str, gone: &str) -> Layout {
        let previous = Some(places(previous)).filter(|places| !places.is_empty());
        Layout::new(generation, places(members), previous, places(gone)).unwrap()
    }

    #[test]
    fn addresses() {
        for (text, place) in [
            ("a", "a:3306"),
            ("DB-1.internal:3307", "db-1.internal:3307"),
            ("[::1]", "[::1]:3306"),
            ("[::1]:33", "[::1]:33"),
            ("/run/mysqld/s", "/run/mysqld/s"),
        ] {
            let parsed = Place::parse(text).unwrap();
            assert_eq!(parsed.to_string(), place);
            assert_eq!(Place::parse(place).unwrap(), parsed);
        }
        for bad in ["", ":3306", "a:x", "a,b", "a b", "/run/a;b", "a:1=2", "[::1", "u@a", "a/b"] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
        let all = MySqlOptions::new().user("u");
        let options = Place::parse("[::1]:33").unwrap().options(&all);
        assert_eq!((&*options.host, options.port, &*options.user), ("::1", 33, "u"));
        let options = Place::parse("/run/s").unwrap().options(&options);
        assert_eq!(options.socket.as_deref(), Some(std::path::Path::new("/run/s")));
    }

    #[test]
    fn texts_are_read_as_they_were_written() {
        for layout in [
            layout(1, "b,a,c:3307", "", ""),
            layout(2, "a", "x,/run/s", ""),
            layout(7, "a,b", "b,x", "x,y"),
        ] {
            assert_eq!(Layout::parse(layout.generation, &layout.text()).unwrap(), layout);
        }
        assert_eq!(
            layout(2, "b,a", "a,x", "x").text(),
            "a:3306,b:3306;previous=a:3306,x:3306;gone=x:3306"
        );
        for bad in ["", ";previous=a", "a;previous=", "a;next=b", "a,a"] {
            assert!(Layout::parse(1, bad).is_err(), "{bad}");
        }
        assert!(Layout::new(0, places("a"), None, Vec::new()).is_err());
        assert!(Layout::new(1, places("a"), None, places("a")).is_err());
    }

    #[test]
    fn names_are_shared_out_and_one_of_n_moves() {
        let four = places("a,b,c,d");
        let mut counts = std::collections::BTreeMap::<_, u32>::new();
        let mut moved = 0;
        for i in 0..100_000 {
            let key = format!("vol-{i}");
            let weight = |place: &Place| place.weight(key.as_bytes());
            let mut weights: Vec<_> = four.iter().map(|place| (weight(place), place)).collect();
            let (_, after) = *weights.iter().max().unwrap();
            weights.pop();
            let (_, before) = *weights.iter().max().unwrap();
            *counts.entry(before.clone()).or_default() += 1;
            if before != after {
                assert_eq!(after, &four[3], "{key} moved between two that were there");
                moved += 1;
            }
            if i % 100 == 0 {
                let homes = (home(&four[..3], key.as_bytes()), home(&four, key.as_bytes()));
                assert_eq!(homes, (before, after));
            }
        }
        println!("homes {counts:?}, moved {moved}");
        assert!(counts.len() == 3 && counts.values().all(|n| n.abs_diff(33_333) < 1_000));
        assert!(25_000_u32.abs_diff(moved) < 1_000, "{moved} of 100000 have moved");
    }

    /// What any other program of ours has to come to as well.
    #[test]
    fn golden() {
        let servers = places("db1.internal:3306,db2.internal:3306,db3.internal:3307,/run/s");
        let placed: Vec<_> = ["vol-1", "vol-2", "vol-3", "vol-4", "vol-5", "", "\u{e9}"]
            .map(|key| home(&servers, key.as_bytes()).to_string())
            .into();
        assert_eq!(placed, GOLDEN);
        assert_eq!(servers[0].weight(b"vol-1"), GOLDEN_WEIGHT);
    }

    const GOLDEN: [&str; 7] = [
        "db2.internal:3306",
        "db2.internal:3306",
        "/run/s",
        "db1.internal:3306",
        "db1.internal:3306",
        "db3.internal:3307",
        "db2.internal:3306",
    ];
    const GOLDEN_WEIGHT: u64 = 4_003_882_662_403_764_784;

    #[test]
    fn a_name_is_locked_where_it_is_and_was() {
        let change = layout(2, "a,b,c,d", "a,b,c", "");
        let (mut twice, mut locked) = (0, std::collections::BTreeSet::new());
        for i in 0..1000 {
            let key = format!("{i}");
            let (now, then) =
                (home(&change.members, key.as_bytes()), home(change.before(), key.as_bytes()));
            let (first, second) = change.homes(key.as_bytes());
            let homes: std::collections::BTreeSet<_> =
                [Some(first), second].into_iter().flatten().collect();
            assert_eq!(homes, [now, then].into_iter().collect());
            assert!(second.is_none_or(|second| first < second));
            twice += u32::from(second.is_some());
            locked.extend(homes);
        }
        assert!((200..300).contains(&twice), "{twice}");
        assert_eq!(locked.len(), 4);
        // Who is gone is locked on by nobody, and nothing else moves for it.
        let without = layout(2, "a,b", "a,b,c", "c");
        assert_eq!(without.servers(), places("a,b"));
        for i in 0..1000 {
            let key = format!("{i}");
            let (first, second) = without.homes(key.as_bytes());
            assert!(first == home(&without.members, key.as_bytes()) && second.is_none());
        }
    }

    #[test]
    fn neighbours_agree_or_are_refused() {
        let at = Place::parse("a").unwrap();
        let judge = |ours: &Layout, found: &Layout| ours.judge(found, &at).map_err(|e| e.kind());
        let one = layout(1, "a,b,c", "", "");
        let two = layout(2, "a,b,c,d", "a,b,c", "");
        let three = layout(3, "a,b,c,d", "", "");
        assert_eq!(judge(&one, &one), Ok(Standing::Ours));
        assert_eq!(judge(&one, &two), Ok(Standing::Next));
        assert_eq!(judge(&two, &one), Ok(Standing::Older));
        assert_eq!(judge(&two, &three), Ok(Standing::Next));
        assert_eq!(judge(&three, &two), Ok(Standing::Older));
        assert_eq!(judge(&three, &one), Ok(Standing::Older), "drained, whatever it was");
        let refused = Err(ErrorKind::Unsupported);
        assert_eq!(judge(&one, &three), refused, "two generations on");
        assert_eq!(judge(&one, &layout(1, "a,b", "", "")), refused);
        assert_eq!(judge(&two, &layout(2, "a,b,c,d", "", "")), refused, "the same, but not before");
        let sudden = layout(2, "a,b,c,d", "", "");
        assert_eq!(judge(&sudden, &one), refused, "a name that moves, and nothing says so");
        assert_eq!(judge(&one, &sudden), refused, "nor to those who are there");
        let other = layout(2, "a,b,c", "a,b", "");
        assert_eq!(judge(&other, &one), refused);
    }

    #[test]
    fn neighbours_share_a_server_for_every_name() {
        let chain = [
            layout(1, "a,b,c", "", ""),
            layout(2, "a,b,c,d", "a,b,c", ""),
            layout(3, "b,d", "a,b,c,d", ""),
            layout(4, "a", "b,d", ""),
            layout(5, "a", "", ""),
        ];
        for two in chain.windows(2) {
            for i in 0..1000 {
                let key = format!("{i}");
                let all = |layout: &Layout| {
                    let (first, second) = layout.homes(key.as_bytes());
                    [Some(first.clone()), second.cloned()]
                };
                let (these, those) = (all(&two[0]), all(&two[1]));
                assert!(these.iter().flatten().any(|place| those.contains(&Some(place.clone()))));
            }
        }
    }
}
