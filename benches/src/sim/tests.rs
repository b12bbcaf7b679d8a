//! The simulation beside what can be said without it.

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn free_of_charge() -> Costs {
    Costs { connect_trips: 3, ..Costs::default() }
}

fn setting(processes: u32, workload: Workload) -> Setting {
    Setting {
        processes,
        workload,
        machine: Machine::Apart { cores: 1, round_trip: 0 },
        heartbeat: 5 * SECOND,
        warm_up: SECOND,
        length: 10 * SECOND,
        seed: 7,
    }
}

#[track_caller]
fn assert_near(value: f64, expected: f64, within: f64) {
    assert!((value / expected - 1.0).abs() < within, "{value} is not near {expected}");
}

/// A statement there and back, for the release; then the next has it.
#[test]
fn one_name_goes_round_as_fast_as_hold_and_hand_over_allow() {
    let costs = Costs { wire: 100_000, hand_over: 50_000, server_wake: 30_000, ..free_of_charge() };
    let costs = Costs { server_alone: 20_000, client_statement: 10_000, ..costs };
    for hold in [MS, 5 * MS] {
        let workload = Workload { tasks: 1, names: Some(1), hold, pause: 0 };
        let outcome = play(&costs, &setting(10, workload));
        let round = hold + 2 * 100_000 + 20_000 + 50_000 + 30_000 + 10_000;
        assert_near(outcome.rate, 1e9 / round as f64, 0.01);
        // Nine others before it, less what its own release and two questions take.
        assert_near(outcome.waits.mean(), 9.0 * round as f64, 0.1);
        assert_eq!(outcome.sessions, 20, "control, and one that tries and waits");
    }
}

/// Holds that are handed over in the process cost no round trip: five in a row, then somebody else's turn.
#[test]
fn a_process_keeps_a_name_for_four_hand_overs() {
    let costs = Costs { wire: 500_000, server_alone: 1, ..free_of_charge() };
    let workload = Workload { tasks: 20, names: Some(1), hold: MS / 2, pause: 0 };
    let outcome = play(&costs, &setting(4, workload));
    assert_near(outcome.rate, 5.0 * 1e9 / (5 * MS / 2 + MS) as f64, 0.02);
    // Of 2 ms each, the third begins before 5 ms have passed, and ends after it.
    let workload = Workload { hold: 2 * MS, ..workload };
    let outcome = play(&costs, &setting(4, workload));
    assert_near(outcome.rate, 3.0 * 1e9 / (3 * 2 * MS + MS) as f64, 0.02);
}

#[test]
fn a_server_that_has_no_time_left_is_the_limit() {
    let costs = Costs { server_alone: 40_000, ..free_of_charge() };
    let workload = Workload { tasks: 1, names: None, hold: 0, pause: 0 };
    for cores in [1, 2, 8] {
        let machine = Machine::Apart { cores, round_trip: 100_000 };
        let shorter = Setting { warm_up: SECOND / 5, length: SECOND / 2, ..setting(200, workload) };
        let outcome = play(&costs, &Setting { machine, ..shorter });
        assert_near(outcome.rate, cores as f64 * 1e9 / (2.0 * 40_000.0), 0.01);
        assert_near(outcome.server_cores, cores as f64, 0.01);
        // Little: all are always waiting for one of their two statements.
        assert_near(outcome.rate * 2.0 * outcome.waits.mean(), 200.0 * 1e9, 0.02);
    }
}

#[test]
fn with_nobody_in_the_way_it_takes_what_it_takes() {
    let costs = Costs { server_alone: 30_000, client_statement: 20_000, ..free_of_charge() };
    let costs = Costs { wire: 15_000, client_timer: 5_000, ..costs };
    let workload = Workload { tasks: 1, names: None, hold: 3 * MS, pause: 6 * MS };
    let machine = Machine::Apart { cores: 64, round_trip: 2 * MS };
    let outcome = play(&costs, &Setting { machine, ..setting(50, workload) });
    let trip = 2.0 * 15_000.0 + 2.0 * MS as f64 + 30_000.0 + 20_000.0;
    let cycle = 9.0 * MS as f64 + 2.0 * trip + 2.0 * 5_000.0;
    assert_near(outcome.rate, 50.0 * 1e9 / cycle, 0.01);
    assert_near(outcome.waits.mean(), trip, 0.01);
    assert_near(outcome.client_cores, outcome.rate * 2.0 * 25_000.0 / 1e9, 0.01);
}

/// Many who rarely ask come as by chance: the wait for the only core is that of M/D/1. A little less, since
/// releases come as their locks were granted, one after the other.
#[test]
fn many_who_rarely_ask_wait_as_the_formula_says() {
    let cost = 100_000;
    let costs = Costs { server_alone: cost, ..free_of_charge() };
    for pause in [1_100 * MS, 800 * MS] {
        let workload = Workload { tasks: 1, names: None, hold: 500 * MS, pause };
        let setting =
            Setting { warm_up: 3 * SECOND, length: 4 * SECOND, ..setting(4_000, workload) };
        let outcome = play(&costs, &setting);
        let load = outcome.rate * 2.0 * cost as f64 / 1e9;
        assert!((0.4..0.7).contains(&load), "{load}");
        let formula = load * cost as f64 / (2.0 * (1.0 - load));
        let queue = outcome.waits.mean() - cost as f64;
        assert!((0.8..1.03).contains(&(queue / formula)), "{queue} is not near {formula}");
    }
}

#[test]
fn cores_that_are_shared_are_shared_out() {
    let costs = Costs { server_alone: 30_000, client_statement: 50_000, ..free_of_charge() };
    let workload = Workload { tasks: 1, names: None, hold: 0, pause: 0 };
    let machine = Machine::Shared { cores: 2 };
    let outcome = play(&costs, &Setting { machine, length: SECOND, ..setting(20, workload) });
    assert_near(outcome.rate, 2.0 * 1e9 / (2.0 * 80_000.0), 0.01);
    assert_near(outcome.server_cores + outcome.client_cores, 2.0, 0.01);
}

#[test]
fn commands_that_come_together_are_one_statement() {
    let costs =
        Costs { wire: 100_000, server_text: 10_000, server_alone: 10_000, ..free_of_charge() };
    let workload = Workload { tasks: 15, names: None, hold: 0, pause: 0 };
    let alone = Setting { length: SECOND, ..setting(1, workload) };
    let outcome = play(&costs, &alone);
    assert_near(outcome.rate, 15.0 * outcome.statements / 2.0, 0.01);
    assert_eq!(outcome.sessions, 2, "control, and one");
    let workload = Workload { tasks: 64, ..workload };
    assert_eq!(
        play(&costs, &Setting { workload, ..alone }).sessions,
        3,
        "a second one shares the work"
    );
}

#[test]
fn sessions_are_opened_for_what_is_held_and_beat() {
    let costs = Costs { wire: 50_000, ..free_of_charge() };
    let workload = Workload { tasks: 1_000, names: None, hold: 30 * SECOND, pause: 0 };
    let setting = Setting { warm_up: 40 * SECOND, heartbeat: SECOND, ..setting(2, workload) };
    let outcome = play(&costs, &setting);
    assert_eq!(outcome.sessions, 2 * (1 + 1_000_usize.div_ceil(64)));
    assert_near(outcome.heartbeats, outcome.sessions as f64, 0.01);
}

/// Twenty names of one process that another one holds: eight are waited for, the others polled.
#[test]
fn beyond_the_waiters_it_is_polled() {
    let costs = Costs { wire: 50_000, ..free_of_charge() };
    let workload = Workload { tasks: 40, names: Some(20), hold: 500 * MS, pause: 10 * MS };
    let outcome = play(&costs, &Setting { length: 60 * SECOND, ..setting(2, workload) });
    let most = 2 * (1 + 1 + 3 * 8 + 8);
    assert!((6..=most).contains(&outcome.sessions), "{}", outcome.sessions);
    // Twenty names, each held all the time but for the hand-overs.
    assert!(outcome.rate > 0.6 * 20.0 / 0.5 && outcome.rate < 20.0 / 0.5, "{}", outcome.rate);
}

#[test]
fn a_seed_is_an_outcome() {
    let costs = Costs { wire: 40_000, server_alone: 30_000, ..free_of_charge() };
    let workload = Workload { tasks: 4, names: Some(30), hold: MS, pause: 2 * MS };
    let of = |seed| play(&costs, &Setting { seed, length: SECOND / 5, ..setting(10, workload) });
    let line = |seed| of(seed).waits.to_line();
    assert_eq!(line(1), line(1));
    assert_ne!(line(1), line(2));
}

/// Timers of one process fire together, and what they have tasks do is one statement.
#[test]
fn timers_fire_at_ticks() {
    let costs = Costs { timer_tick: MS, timer_late: MS / 2, ..free_of_charge() };
    let workload = Workload { tasks: 1, names: None, hold: MS / 10, pause: 0 };
    let outcome = play(&costs, &setting(1, workload));
    assert_near(outcome.rate, 1_000.0, 0.01);
    let costs = Costs { wire: 10_000, ..costs };
    let workload = Workload { tasks: 16, names: None, hold: 5 * MS, pause: 5 * MS };
    let outcome = play(&costs, &setting(1, workload));
    assert!(outcome.statements < 1.5 * outcome.rate, "{outcome:?}");
}

#[test]
fn who_has_rested_costs_more() {
    let costs = Costs { server_alone: 10_000, server_roused: 90_000, ..free_of_charge() };
    let costs = Costs { client_rested: 50_000, rouse: 70_000, ..costs };
    for (hold, server, client, wait) in [(2 * MS, 100.0, 50.0, 170.0), (MS / 5, 10.0, 0.0, 10.0)] {
        let workload = Workload { tasks: 1, names: None, hold, pause: hold };
        let outcome = play(&costs, &setting(1, workload));
        assert_near(outcome.server_cores, outcome.rate * 2.0 * server / 1e6, 0.02);
        assert!((outcome.client_cores - outcome.rate * 2.0 * client / 1e6).abs() < 1e-3);
        assert_near(outcome.waits.mean(), wait * 1e3, 0.03);
    }
    // Of many, each is at rest, and the server never.
    let costs = Costs { server_rested: 40_000, ..costs };
    let workload = Workload { tasks: 1, names: None, hold: 20 * MS, pause: 20 * MS };
    let outcome = play(&costs, &setting(200, workload));
    assert_near(outcome.server_cores, outcome.rate * 2.0 * 50.0 / 1e6, 0.05);
}

#[test]
fn a_machine_that_is_slower_is_that_much_slower() {
    let costs = Costs { server_alone: 30_000, client_statement: 50_000, ..free_of_charge() };
    let workload = Workload { tasks: 1, names: None, hold: 0, pause: 0 };
    let machine = Machine::Shared { cores: 2 };
    let of = |costs| play(&costs, &Setting { machine, length: SECOND, ..setting(20, workload) });
    assert_near(of(costs).rate, 2.5 * of(costs.on_slower(2.5)).rate, 0.01);
}
