//! Processes of tooz and of keyward on one name, some of them killed over and over: never two inside.

use std::time::Duration;

use super::{LIBRARIES, NEW, REUSED, Site};
use crate::{
    load::{Load, machine},
    peer::{EXCLUSIVE, LATE, Peer},
    protocol::Fields,
    room::{Place, Room},
};

const NAME: &str = "cinder-LIN";

/// For tooz each time that it finds the lock taken costs a second, so keyward leaves it free mostly.
const OF_KEYWARD: &Fields = &[("hold", "6000"), ("gap", "150000")];
const OF_TOOZ: &Fields = &[("hold", "6000")];

const LOOPERS: [(&str, &Fields); 5] = [
    ("keyward", &[("tasks", "3"), ("hold", "6000"), ("gap", "300000")]),
    ("keyward", OF_KEYWARD),
    // Of either way to use tooz; the kind ends where the dash would be.
    ("tooz", OF_TOOZ),
    ("tooz", OF_TOOZ),
    ("reused", OF_TOOZ),
];

#[test]
fn at_most_one_holder_at_the_server() {
    let _machine = machine();
    for site in Site::each() {
        let room = Room::new(Place::Disk);
        let load = Load {
            loopers: &LOOPERS,
            // Python takes a while to start on a busy machine, and is to have a life after it.
            killed_each: Duration::from_secs(1),
            acquisitions: 600,
            of_each_kind: 50,
            deaths: 3,
        };
        load.run("server", &room, |number| match LOOPERS[number].0 {
            "keyward" => site.keyward("names=exact", "", NAME),
            "reused" => site.python(REUSED, "", NAME),
            _ => site.python(NEW, "", NAME),
        });

        // Nothing stays behind for long.
        for library in LIBRARIES {
            assert!(site.python(library, "", NAME).could_acquire(LATE, EXCLUSIVE));
        }
        let mut keyward: Peer = site.keyward("names=exact", "", NAME);
        assert!(keyward.could_acquire(LATE, EXCLUSIVE));
    }
}
