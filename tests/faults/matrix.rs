//! The table of rows.

use std::env;

use crate::{
    files, kills, limits, networks,
    player::{
        Matrix,
        On::{File, Memory, MySql, Registry},
        Place, Row, row,
    },
    processes, servers,
};

static ROWS: &[Row] = &[
    row!("1", "kill -9 of a holder", [File, MySql], [200, 5], processes::holder_killed),
    row!("2", "kill -9 of a waiter", [File, MySql], [200, 5], processes::waiter_killed),
    row!("3", "SIGSTOP of a holder, and CONT", [File], [50, 5], processes::holder_stopped_on_files),
    row!(
        "3",
        "SIGSTOP of a holder for 2 ttl, and CONT",
        [MySql],
        [50, 5],
        processes::holder_stopped
    ),
    row!(
        "4",
        "SIGSTOP of a waiter, then a release",
        [File, MySql],
        [50, 5],
        processes::waiter_stopped
    ),
    row!("5", "kill -9 and restart of the server", [MySql], [100, 8], servers::killed),
    row!("6", "SIGSTOP of the server for half a ttl", [MySql], [40, 8], servers::stopped_briefly),
    row!("6", "SIGSTOP of the server for 2 ttl", [MySql], [40, 8], servers::stopped_for_long),
    row!("7", "graceful restart of the server", [MySql], [40, 8], servers::restarted),
    row!("8", "a holder is cut off, by a proxy", [MySql], [1000, 20], networks::holder_cut),
    row!(
        "8",
        "a holder is cut off, by a blackhole in its namespace",
        [MySql],
        [50, 5],
        networks::holder_in_a_blackhole
    ),
    row!("9", "a waiter is cut off", [MySql], [200, 10], networks::waiter_cut),
    row!(
        "10",
        "200 ms each way, and 800 ms for one packet in twenty",
        [MySql],
        [60, 6],
        networks::slow
    ),
    row!("11", "requests pass, replies are lost", [MySql], [100, 10], networks::half_open),
    row!("12", "KILL CONNECTION of a holder", [MySql], [200, 10], kills::holder_connection),
    row!("12", "KILL QUERY of a holder", [MySql], [200, 10], kills::holder_query),
    row!("12", "KILL CONNECTION and KILL QUERY of a waiter", [MySql], [200, 10], kills::waiter),
    row!("12", "a hold is taken away", [Memory], [200, 10], kills::memory_lost),
    row!("14", "a wait_timeout that is capped below the ttl", [MySql], [27, 5], servers::capped),
    row!("14", "idle at the shortest ttl", [MySql], [40, 4], servers::idle),
    row!(
        "16",
        "no block is left in the lock directory",
        [File],
        [200, 10],
        files::no_block,
        Place::Mounts
    ),
    row!(
        "16",
        "no inode is left in the lock directory",
        [File],
        [200, 10],
        files::no_inode,
        Place::Mounts
    ),
    row!(
        "17",
        "read-only, forbidden, missing, a link",
        [File],
        [100, 5],
        files::refused,
        Place::Mounts
    ),
    row!(
        "18",
        "removed, renamed, replaced while waited for",
        [File],
        [100_000, 5_000],
        files::replaced_while_waited_for
    ),
    row!(
        "18",
        "removed, renamed, replaced while held",
        [File],
        [300, 15],
        files::replaced_while_held
    ),
    row!(
        "19",
        "fork and exec, and the child lives on",
        [File, MySql],
        [50, 5],
        processes::child_lives_on
    ),
    row!("20", "no descriptor is left", [File, MySql], [100, 5], limits::descriptors, Place::Alone),
    row!(
        "20",
        "no descriptor is left",
        [Registry, Memory],
        [100, 5],
        limits::descriptors_in_memory,
        Place::Alone
    ),
    row!("20", "no thread is left", [File], [20, 3], limits::threads, Place::Alone),
];

/// How much of the matrix is to be run.
fn share() -> f64 {
    let share = env::var("KEYWARD_FAULT_RUNS").unwrap_or_else(|_| "0.05".to_owned());
    share.parse().unwrap_or_else(|_| panic!("KEYWARD_FAULT_RUNS={share} is no number"))
}

#[test]
fn the_matrix() {
    let test = "matrix::the_matrix";
    Matrix { rows: ROWS, test, share: share(), wanted: "KEYWARD_FAULT_ROWS" }.play();
}
