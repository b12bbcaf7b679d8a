//! The table of rows.

use std::env;

use crate::{
    cancel, clocks, crowd, deadlock, ends, herd, names,
    player::{
        Matrix,
        On::{File, Memory, MySql, Registry},
        Place, Row, row,
    },
    runtimes, soak, storms,
};

static ROWS: &[Row] = &[
    row!(
        "21",
        "a client's clock is set by a day",
        [File, MySql],
        [20, 1],
        clocks::client_set,
        Place::Beside
    ),
    row!(
        "21",
        "a server's clock is set by a day",
        [MySql],
        [20, 1],
        clocks::server_set,
        Place::Beside
    ),
    row!(
        "21",
        "a clock stands while the machine goes on",
        [File, MySql],
        [20, 1],
        clocks::client_stands,
        Place::Beside
    ),
    row!("26", "a hold is forgotten", [File, MySql], [20, 1], ends::forgets, Place::Beside),
    row!("22", "dropped at every await point", [Registry], [20, 1], cancel::keys::every_point),
    row!(
        "22",
        "dropped at every await point",
        [Memory, File, MySql],
        [5, 1],
        cancel::leases::every_point
    ),
    row!(
        "23",
        "a storm of drops",
        [Registry, Memory],
        [1_000_000, 20_000],
        storms::of_drops,
        Place::Alone
    ),
    row!("23", "a storm of drops", [File, MySql], [100_000, 2_000], storms::of_drops, Place::Alone),
    row!(
        "24",
        "runtimes that end, two, and none",
        [Registry, Memory, File, MySql],
        [120, 6],
        runtimes::that_end,
        Place::Alone
    ),
    row!("25", "a panic in a section", [Registry, Memory], [2_000, 100], ends::panics),
    row!("25", "a panic in a section, and an abort", [File, MySql], [100, 3], ends::panics),
    row!("26", "a hold is forgotten", [Registry, Memory], [200, 10], ends::forgets),
    row!(
        "27",
        "granted, and never polled again",
        [Registry, Memory, File, MySql],
        [100, 6],
        ends::futurelock
    ),
    row!("28", "hostile names", [Registry], [1_000_000, 20_000], names::hostile_names),
    row!("28", "hostile names", [Memory], [300_000, 5_000], names::hostile_names),
    row!("28", "hostile names", [File, MySql], [50_000, 500], names::hostile_names),
    row!("28", "names that are encoded", [Memory], [10_000_000, 30_000], names::encoded),
    row!(
        "29",
        "many names, each once",
        [Registry, Memory, File, MySql],
        [100_000, 3_000],
        crowd::of_names,
        Place::Alone
    ),
    row!(
        "30",
        "many tasks wait for one name",
        [Registry, Memory, File, MySql],
        [10_000, 1_000],
        crowd::on_one_name,
        Place::Alone
    ),
    row!("31", "many processes, one name", [File], [200, 16], herd::of_processes),
    row!("31", "many processes, one name", [MySql], [60, 8], herd::of_processes),
    row!("34", "A then B, B then A", [Registry, Memory, File, MySql], [100, 4], deadlock::of_two),
    row!(
        "33",
        "a soak of mixed faults",
        [Memory, File, MySql],
        [1, 1],
        soak::mixed_faults,
        Place::Beside
    ),
];

/// All of it, or as little as each row can do with.
fn share() -> f64 {
    match env::var("KEYWARD_LOAD").as_deref() {
        Ok("full") => 1.0,
        Err(_) => 0.0,
        Ok(other) => panic!("KEYWARD_LOAD={other} is not full"),
    }
}

#[test]
fn the_matrix() {
    let test = "matrix::the_matrix";
    Matrix { rows: ROWS, test, share: share(), wanted: "KEYWARD_LOAD_ROWS" }.play();
}
