//! Politeness to those who poll: how long one of Python's libraries waits at most for a name that
//! keyward's processes want without end.

use std::time::Duration;

use crate::{
    load::{machine, report},
    oracle::Oracle,
    peer::{FOREVER, Peer},
    protocol::Fields,
    room::{Place, Room},
};

const GAP: Duration = Duration::from_millis(150);
const HOLD: Duration = Duration::from_millis(2);
/// The longest sleep of those who poll.
const SLEEP: Duration = Duration::from_millis(100);
/// For a busy machine, on which nobody runs when it should.
const SLACK: Duration = Duration::from_secs(1);

const SATURATING: usize = 3;

/// How long a poller is watched, in seconds.
const WATCHED: &str = "3";

/// A poller's library, and how the loops of its neighbours differ.
const PAIRS: [(&str, &Fields); 5] = [
    ("fasteners", &[]),
    ("oslo", &[("tasks", "3")]),
    ("tooz", &[("shared", "50")]),
    ("rw", &[("shared", "100")]),
    ("fasteners", &[("shared", "100"), ("tasks", "3")]),
];

/// The longest wait of a poller for a saturated name, beside what its neighbours got.
fn longest_wait(
    (library, differences): (&str, &Fields),
    options: &str,
    wait: &str,
) -> (Duration, Oracle) {
    let room = Room::new(Place::Disk);
    let mut oracle = Oracle::new(&room);
    let mut poller = Peer::python(library, &room, "", "busy");
    let mut neighbours = [(); SATURATING].map(|()| Peer::keyward(options, &room, "", "busy"));
    let hold = HOLD.as_micros().to_string();
    for (number, neighbour) in neighbours.iter_mut().enumerate() {
        let request = oracle.request(&format!("keyward-{number}")).with("hold", &hold);
        neighbour.send(&request.with_all(differences));
    }
    while oracle.acquisitions() < 100 {
        std::thread::sleep(Duration::from_millis(10));
        oracle.read();
    }
    let request = oracle.request(&format!("{library}-0"));
    let request = request.with("hold", &hold).with("gap", "60000").with("wait", wait);
    let request = request.with("seconds", WATCHED);
    let answer = poller.ask(&request);
    let longest = answer.split(' ').nth(2).unwrap_or_else(|| panic!("{answer}"));
    for neighbour in &neighbours {
        neighbour.assert_busy();
    }
    oracle.read();
    assert_eq!(oracle.overlaps, [""; 0]);
    assert_eq!(oracle.disorders, [""; 0]);
    (Duration::from_millis(longest.parse().unwrap()), oracle)
}

/// What [`LocksBuilder::polite`](keyward::LocksBuilder::polite) says.
#[test]
fn a_poller_waits_no_longer_than_two_gaps_and_a_hold() {
    let _machine = machine();
    let bound = 2 * GAP + HOLD + SLEEP;
    let options = format!("polite={}ms", GAP.as_millis());
    for pair @ (library, differences) in PAIRS {
        let (longest, oracle) = longest_wait(pair, &options, FOREVER);
        let shares = shares(&oracle, library);
        report(&format!(
            "polite: {library} waits up to {longest:?}, at most {bound:?}; {shares} {differences:?}"
        ));
        assert!(longest <= bound + SLACK, "{library} waited {longest:?}");
    }
    // For comparison, and no test: how it would be else.
    let (longest, oracle) = longest_wait(PAIRS[0], "", WATCHED);
    let shares = shares(&oracle, PAIRS[0].0);
    report(&format!("not polite: fasteners waits up to {longest:?} of {WATCHED} s; {shares}"));
}

fn shares(oracle: &Oracle, library: &str) -> String {
    let held = |kind| oracle.tallies.get(kind).map_or(0, |tally| tally.exclusive + tally.shared);
    format!("it held {} times beside keyward's {}", held(library), held("keyward"))
}
