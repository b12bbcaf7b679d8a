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

/// Who is on the name, and what has to have happened before it is enough.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    /// Each looping process's kind, and how its loop differs.
    pub(crate) loopers: &'a [(&'static str, &'static Fields)],
    /// One of them is killed so often.
    pub(crate) killed_each: Duration,
    pub(crate) acquisitions: u64,
    /// By the processes of one kind.
    pub(crate) of_each_kind: u64,
    /// Of processes that hold.
    pub(crate) deaths: u64,
}

/// A looping process, and its successors.
struct Looper {
    /// `kind-number`, and how many have gone before.
    name: String,
    lives: u32,
    peer: Peer,
}

impl Load<'_> {
    /// Goes on until it is enough. `start` makes the process of that number in the list, which has
    /// opened the lock.
    pub(crate) fn run(&self, title: &str, room: &Room, start: impl Fn(usize) -> Peer) {
        const STEP: Duration = Duration::from_millis(50);

        let mut oracle = Oracle::new(room);
        let looper = |oracle: &Oracle, number: usize, lives| {
            let (kind, differences) = self.loopers[number];
            let mut peer = start(number);
            let name = format!("{kind}-{number}.{lives}");
            let request = oracle.request(&name).with("wait", "mixed").with("hold", "300");
            let request = request.with("dwell", "40000").with("gap", "1000");
            peer.send(&request.with_all(differences));
            Looper { name, lives, peer }
        };
        let mut loopers: Vec<_> =
            (0..self.loopers.len()).map(|number| looper(&oracle, number, 0)).collect();

        let (began, mut killed, mut kills) = (Instant::now(), Instant::now(), 0);
        loop {
            thread::sleep(STEP);
            oracle.read();
            let starved = self.loopers.iter().any(|(kind, ..)| {
                let held = |tally: &Tally| tally.exclusive + tally.shared;
                oracle.tallies.get(*kind).is_none_or(|tally| held(tally) < self.of_each_kind)
            });
            let killed_holding = oracle.total(|tally| tally.killed_holding);
            let enough =
                oracle.acquisitions() >= self.acquisitions && killed_holding >= self.deaths;
            if (enough && !starved) || began.elapsed() > PATIENCE || !oracle.overlaps.is_empty() {
                break;
            }
            for looper in &loopers {
                looper.peer.assert_busy();
            }
            if killed.elapsed() >= self.killed_each {
                kills += 1;
                // By turns whoever stays inside, and whoever has its turn.
                let dwelling = if kills % 2 == 0 { dwelling(&mut oracle) } else { None };
                let victim =
                    loopers.iter().position(|looper| Some(&looper.name) == dwelling.as_ref());
                let victim = victim.unwrap_or(kills % loopers.len());
                let Looper { name, lives, peer } = &mut loopers[victim];
                oracle.kill(name, peer);
                loopers[victim] = looper(&oracle, victim, *lives + 1);
                killed = Instant::now();
            }
        }
        let took = began.elapsed();
        report(&format!("{title} under load, in {took:.1?}: {oracle}"));
        assert_eq!(oracle.overlaps, [""; 0]);
        assert_eq!(oracle.disorders, [""; 0]);
        assert!(oracle.acquisitions() >= self.acquisitions);
        assert!(took <= PATIENCE, "somebody starves");
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

/// On files: a kind is a library's name.
const LOOPERS: [(&str, &Fields); 7] = [
    // They leave time for those who poll, who find the lock free by luck only: nothing wakes them.
    ("keyward", &[("tasks", "3"), ("gap", "6000"), ("shared", "20")]),
    ("keyward", &[("gap", "2500")]),
    ("keyward", &[("gap", "2500"), ("shared", "20")]),
    ("fasteners", &[]),
    ("oslo", &[]),
    ("tooz", &[]),
    ("rw", &[("shared", "50")]),
];

/// Which of them does without waiting threads.
const POLLING: usize = 2;

#[test]
fn at_most_one_holder_on_disk() {
    on_files(Place::Disk, 20_000, 10);
}

#[test]
fn at_most_one_holder_in_memory() {
    on_files(Place::Memory, 5_000, 3);
}

fn on_files(place: Place, acquisitions: u64, deaths: u64) {
    let _machine = machine();
    let room = Room::new(place);
    let killed_each = Duration::from_millis(300);
    let load = Load { loopers: &LOOPERS, killed_each, acquisitions, of_each_kind: 150, deaths };
    load.run(&format!("{place:?}"), &room, |number| match LOOPERS[number].0 {
        "keyward" => {
            Peer::keyward(if number == POLLING { "wait=poll" } else { "" }, &room, "", "load")
        }
        library => Peer::python(library, &room, "", "load"),
    });

    // Nothing stays behind.
    for library in ["fasteners", "oslo", "tooz", "rw"] {
        assert!(Peer::python(library, &room, "", "load").could_acquire(TRY, EXCLUSIVE));
    }
    assert!(Peer::keyward("", &room, "", "load").could_acquire(TRY, EXCLUSIVE));
}

/// Two processes that do not lock: both the log and the witness have to notice.
#[test]
fn processes_that_do_not_lock_are_caught() {
    let room = Room::new(Place::Disk);
    let mut oracle = Oracle::new(&room);
    let mut peers = [(); 2].map(|()| Peer::python("none", &room, "", "none"));
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(&oracle.request(&format!("none-{number}")).with("rounds", "500"));
    }
    for peer in &peers {
        assert!(peer.answer().starts_with("ok 500 "));
    }
    oracle.read();
    let by_witness = oracle.overlaps.iter().filter(|what| what.contains("witness")).count();
    assert!(by_witness > 0 && oracle.overlaps.len() > by_witness, "{oracle}");
}
