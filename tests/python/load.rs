//! Processes of both languages on one name, some of them killed over and over: never two inside.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    oracle::{Oracle, Tally},
    peer::{EXCLUSIVE, Peer, TRY},
    protocol::Fields,
    room::{Place, Room},
};

/// How often each kind of process has to have held the lock before it is enough.
const OF_EACH_KIND: u64 = 150;
/// What has not come together by then hangs, or one of them starves.
const PATIENCE: Duration = Duration::from_secs(180);

/// Two of these tests would only slow each other down.
pub(crate) fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints past the harness, which shows only what failing tests print.
pub(crate) fn report(text: &str) {
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// A looping process, and its successors.
struct Looper {
    /// `kind-number`, and how many have gone before.
    name: String,
    lives: u32,
    peer: Peer,
}

/// Who loops: its kind, which is the library's name, options of its URL, and how its loop differs.
const LOOPERS: [(&str, &str, &Fields); 7] = [
    // They leave time for those who poll, who find the lock free by luck only: nothing wakes them.
    ("keyward", "", &[("tasks", "3"), ("gap", "6000"), ("shared", "20")]),
    ("keyward", "", &[("gap", "2500")]),
    ("keyward", "wait=poll", &[("gap", "2500"), ("shared", "20")]),
    ("fasteners", "", &[]),
    ("oslo", "", &[]),
    ("tooz", "", &[]),
    ("rw", "", &[("shared", "50")]),
];

impl Looper {
    fn start(room: &Room, oracle: &Oracle, number: usize, lives: u32) -> Self {
        let (kind, options, differences) = LOOPERS[number];
        let mut peer = match kind {
            "keyward" => Peer::keyward(options, room, "", "load"),
            library => Peer::python(library, room, "", "load"),
        };
        let name = format!("{kind}-{number}.{lives}");
        let request = oracle.request(&name).with("wait", "mixed").with("hold", "300");
        let request = request.with("dwell", "40000").with("gap", "1000");
        peer.send(&request.with_all(differences));
        Self { name, lives, peer }
    }
}

/// Somebody who has been inside for a while, and so still is when killed right away.
fn dwelling(oracle: &mut Oracle) -> Option<String> {
    (0..100).find_map(|_| {
        let before = oracle.holder();
        thread::sleep(Duration::from_millis(5));
        oracle.read();
        before.filter(|before| oracle.holder().as_ref() == Some(before))
    })
}

#[test]
fn at_most_one_holder_on_disk() {
    under_load_and_kills(Place::Disk, 20_000, 10);
}

#[test]
fn at_most_one_holder_in_memory() {
    under_load_and_kills(Place::Memory, 5_000, 3);
}

/// Until there are so many acquisitions, and so many holders have been killed.
fn under_load_and_kills(place: Place, acquisitions: u64, deaths: u64) {
    let _machine = machine();
    let room = Room::new(place);
    let mut oracle = Oracle::new(&room);
    let mut loopers: Vec<_> =
        (0..LOOPERS.len()).map(|number| Looper::start(&room, &oracle, number, 0)).collect();

    let began = Instant::now();
    for round in 1.. {
        thread::sleep(Duration::from_millis(50));
        oracle.read();
        let starved = LOOPERS.iter().any(|(kind, ..)| {
            let held = |tally: &Tally| tally.exclusive + tally.shared;
            oracle.tallies.get(*kind).is_none_or(|tally| held(tally) < OF_EACH_KIND)
        });
        let killed_holding = oracle.total(|tally| tally.killed_holding);
        let enough = oracle.acquisitions() >= acquisitions && killed_holding >= deaths;
        if (enough && !starved) || began.elapsed() > PATIENCE || !oracle.overlaps.is_empty() {
            break;
        }
        for looper in &loopers {
            looper.peer.assert_busy();
        }
        if round % 6 == 0 {
            // By turns whoever stays inside, and whoever has its turn.
            let dwelling = if round % 12 == 0 { dwelling(&mut oracle) } else { None };
            let victim = loopers.iter().position(|looper| Some(&looper.name) == dwelling.as_ref());
            let victim = victim.unwrap_or(round / 6 % loopers.len());
            let looper = &mut loopers[victim];
            oracle.kill(&looper.name, &mut looper.peer);
            *looper = Looper::start(&room, &oracle, victim, looper.lives + 1);
        }
    }
    let took = began.elapsed();
    report(&format!("{place:?} under load, in {took:.1?}: {oracle}"));
    assert_eq!(oracle.overlaps, [""; 0]);
    assert_eq!(oracle.disorders, [""; 0]);
    assert!(oracle.acquisitions() >= acquisitions);
    assert!(took <= PATIENCE, "somebody starves");

    // Nothing stays behind.
    drop(loopers);
    for library in ["fasteners", "oslo", "tooz", "rw"] {
        assert!(Peer::python(library, &room, "", "load").could_acquire(TRY, EXCLUSIVE));
    }
    assert!(Peer::keyward("", &room, "", "load").could_acquire(TRY, EXCLUSIVE));
}
