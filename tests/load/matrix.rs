//! The table of rows.

use std::env;

use crate::{
    cancel, crowd, herd, names,
    player::{
        Matrix,
        On::{File, Memory, MySql, Registry},
        Place, Row, row,
    },
    soak, storms,
};

static ROWS: &[Row] = &[
    row!(
        "23",
        "a storm of drops",
        [Registry, Memory],
        [1_000_000, 20_000],
        storms::of_drops,
        Place::Alone
    ),
    row!("23", "a storm of drops", [File, MySql], [100_000, 2_000], storms::of_drops, Place::Alone),
    row!("28", "hostile names", [Registry], [1_000_000, 20_000], names::hostile_names),
    row!("28", "hostile names", [Memory], [300_000, 5_000], names::hostile_names),
    row!("28", "hostile names", [File, MySql], [50_000, 500], names::hostile_names),
    row!("28", "names that are encoded", [Memory], [1_000_000, 30_000], names::encoded),
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
    row!("22", "dropped at every await point", [Registry], [20, 1], cancel::keys::every_point),
    row!(
        "22",
        "dropped at every await point",
        [Memory, File, MySql],
        [5, 1],
        cancel::leases::every_point
    ),
    row!("31", "many processes, one name", [File], [200, 20], herd::of_processes),
    row!("31", "many processes, one name", [MySql], [60, 12], herd::of_processes),
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
