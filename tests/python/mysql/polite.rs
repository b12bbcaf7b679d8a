//! Politeness to tooz, which asks once a second: how long it waits at most for a name that keyward's
//! processes want without end.

use std::{thread, time::Duration};

use super::{NEW, POLL, SLACK, Site};
use crate::{
    load::{machine, report},
    oracle::Oracle,
    peer::{FOREVER, LATE, Peer},
    protocol::Fields,
    room::{Place, Room},
};

const NAME: &str = "busy";
const GAP: Duration = Duration::from_millis(1_200);
const HOLD: Duration = Duration::from_millis(10);

const SATURATING: usize = 2;

/// How long tooz is watched.
const WATCHED: Duration = Duration::from_secs(15);

/// How the loops of tooz's neighbours differ.
const NEIGHBOURS: [&Fields; 2] = [&[], &[("tasks", "3")]];

/// A saturated name, its neighbours, and what became of it.
struct Population {
    oracle: Oracle,
    neighbours: [Peer; SATURATING],
    tooz: Peer,
    /// Until it is over, the files that they write.
    _room: Room,
}

impl Population {
    /// `wait` is how tooz waits, each time.
    fn start(site: &Site, options: &str, differences: &Fields, wait: &str) -> Self {
        let room = Room::new(Place::Disk);
        let mut oracle = Oracle::new(&room);
        let mut tooz = site.python(NEW, "", NAME);
        let mut neighbours = [(); SATURATING].map(|()| site.keyward(options, "", NAME));
        let hold = HOLD.as_micros().to_string();
        for (number, neighbour) in neighbours.iter_mut().enumerate() {
            let request = oracle.request(&format!("keyward-{number}")).with("hold", &hold);
            neighbour.send(&request.with_all(differences));
        }
        super::await_that("a busy name", || {
            oracle.read();
            oracle.acquisitions() >= 50
        });
        let request = oracle.request("tooz-0").with("hold", &hold).with("gap", "60000");
        let seconds = WATCHED.as_secs().to_string();
        tooz.send(&request.with("wait", wait).with("seconds", seconds));
        Self { oracle, neighbours, tooz, _room: room }
    }

    /// The longest wait of tooz, once it has been watched.
    fn longest_wait(&mut self) -> Duration {
        let answer = self.tooz.answer();
        self.judge();
        let longest = answer.split(' ').nth(2).unwrap_or_else(|| panic!("{answer}"));
        Duration::from_millis(longest.parse().unwrap())
    }

    fn judge(&mut self) {
        for neighbour in &self.neighbours {
            neighbour.assert_busy();
        }
        self.oracle.read();
        assert_eq!(self.oracle.overlaps, [""; 0]);
        assert_eq!(self.oracle.disorders, [""; 0]);
    }

    fn held(&self, kind: &str) -> u64 {
        self.oracle.tallies.get(kind).map_or(0, |tally| tally.exclusive)
    }

    fn shares(&self) -> String {
        format!("it held {} times beside keyward's {}", self.held("tooz"), self.held("keyward"))
    }
}

/// What [`LocksBuilder::polite`](keyward::LocksBuilder::polite) says, and that the gap is long enough.
#[test]
fn tooz_waits_no_longer_than_two_gaps_and_a_hold() {
    let _machine = machine();
    let bound = 2 * GAP + HOLD + POLL;
    let options = format!("polite={}ms", GAP.as_millis());
    for site in Site::each() {
        for differences in NEIGHBOURS {
            let mut population = Population::start(&site, &options, differences, FOREVER);
            let longest = population.longest_wait();
            let shares = population.shares();
            report(&format!(
                "polite: tooz waits up to {longest:?}, at most {bound:?}; {shares} {differences:?}"
            ));
            assert!(longest <= bound + SLACK, "tooz waited {longest:?}");
            // So often at least, if each wait were the longest.
            let turns = (WATCHED.as_millis() / (bound + SLACK).as_millis()) as u64;
            assert!(population.held("tooz") >= turns, "{shares}");
        }
        // For comparison, and no test: how it would be else.
        let mut population = Population::start(&site, "", NEIGHBOURS[0], FOREVER);
        thread::sleep(WATCHED / 2);
        population.judge();
        let shares = population.shares();
        report(&format!("not polite: in {:?} of tooz {shares}", WATCHED / 2));
    }
}

/// A tooz with a time limit of some seconds stands in the server's queue, as keyward does, and has its
/// turn without any politeness: after a few holds of others, however many want the name.
#[test]
fn tooz_with_a_time_limit_waits_in_the_queue() {
    let _machine = machine();
    for site in Site::each() {
        for differences in NEIGHBOURS {
            let mut population = Population::start(&site, "", differences, LATE);
            let longest = population.longest_wait();
            let shares = population.shares();
            report(&format!("queued: tooz waits up to {longest:?}; {shares} {differences:?}"));
            assert!(longest < 5 * SLACK, "tooz waited {longest:?}");
        }
    }
}
