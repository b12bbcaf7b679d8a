//! The table of rows.

use std::env;

use crate::{
    cancel,
    player::{
        Matrix,
        On::{File, Memory, MySql, Registry},
        Row, row,
    },
};

static ROWS: &[Row] = &[
    row!("22", "dropped at every await point", [Registry], [20, 1], cancel::keys::every_point),
    row!(
        "22",
        "dropped at every await point",
        [Memory, File, MySql],
        [5, 1],
        cancel::leases::every_point
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
