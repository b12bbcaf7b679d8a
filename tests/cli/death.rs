//! Killed with -9: neither the lock nor the program nor a place in the queue is left.

use std::path::Path;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::{
    place::{Place, until},
    running::{Running, arguments, catches, children, state},
};

#[test]
fn the_program_does_not_outlive_us() {
    let place = Place::new();
    // One that ignores all that can be ignored, and is not waiting for input.
    let script = "trap '' HUP INT QUIT TERM; echo $$; while :; do sleep 0.02; done";
    let mut running = place.start(&["run", "a", "--", "sh", "-c", script]);
    let program = running.program();
    assert_eq!(place.code(&["try", "a"]), Some(75));
    running.signal(Signal::KILL);
    running.end();
    until("the program has ended", || state(program).is_none());
    place.until_free("a");
}

#[test]
fn killed_at_any_moment_of_the_start() {
    let place = Place::new();
    let file = place.path("pid").display().to_string();
    for delay in 0..20 {
        let script = "echo $$ > \"$1\"; while :; do sleep 0.02; done";
        let mut running = place.start(&["run", "a", "--", "sh", "-c", script, "sh", &file]);
        // Not to wait for anything: to come at different moments.
        std::thread::sleep(std::time::Duration::from_micros(delay * 500));
        running.signal(Signal::KILL);
        // Its output ends when nobody has it open: neither the command nor the program.
        running.rest();
        if let Ok(pid) = std::fs::read_to_string(&file) {
            let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap_or(0));
            until("it has ended", || pid.is_none_or(|pid| state(pid).is_none()));
            drop(std::fs::remove_file(&file));
        }
        place.until_free("a");
    }
}

#[test]
fn no_ghost_waits() {
    let place = Place::new();
    let lease = place.hold("a");
    let ran = place.path("ran").display().to_string();
    let mut first = place.start(&["run", "a", "--", "touch", &ran]);
    place.until_waiting("a");
    let mut second = place.start(&["run", "a", "--", "sh", "-c", "exit 8"]);
    first.signal(Signal::KILL);
    first.end();
    // The next one moves up, and is not held up by the dead one.
    place.until_waiting("a");
    lease.blocking_release().unwrap();
    assert_eq!(second.code(), Some(8));
    place.until_free("a");
    assert!(!place.path("ran").exists());
}

#[test]
fn a_program_that_is_killed_frees_the_lock() {
    let place = Place::new();
    let mut running = place.start(&["run", "a", "--", "sh", "-c", "echo $$; exec sleep 1000"]);
    kill_process(running.program(), Signal::KILL).unwrap();
    assert_eq!(running.code(), Some(137));
    assert_eq!(place.code(&["try", "a"]), Some(0));
}

/// A program that becomes another user while it runs: the kernel forgets its death signal then.
fn with_another_user(place: &Place) -> (Running, Pid) {
    assert!(geteuid().is_root(), "to be run as root: the program becomes another user");
    let script = "echo $$; while :; do sleep 0.02; done";
    let becomes = ["setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c", script];
    let running = place.start(&[&["run", "a", "--"][..], &becomes].concat());
    let program = running.program();
    (running, program)
}

#[test]
fn a_program_that_changes_its_user_does_not_outlive_us() {
    let place = Place::new();
    for _ in 0..5 {
        let (mut running, program) = with_another_user(&place);
        running.signal(Signal::KILL);
        running.end();
        until("the program has ended", || state(program).is_none());
        place.until_free("a");
    }
}

#[test]
fn the_watcher_stays_until_the_program_has_ended_and_no_longer() {
    let place = Place::new();
    let watcher_of = |running: &Running, program| {
        let mut watcher = None;
        until("somebody watches, and hears what would end it", || {
            let found = children(running.pid());
            watcher = found.into_iter().find(|&pid| pid != program);
            // Before it executes, it is a copy of its parent, which hears them too.
            watcher.is_some_and(|pid| {
                arguments(pid).contains("watching") && catches(pid, Signal::USR2)
            })
        });
        watcher.unwrap()
    };
    for ends_first in [Signal::TERM, Signal::KILL] {
        let (mut running, program) = with_another_user(&place);
        let watcher = watcher_of(&running, program);
        // As somebody does who means us all.
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1] {
            kill_process(watcher, signal).unwrap();
        }
        running.signal(ends_first);
        let code = running.code();
        assert_eq!(code, (ends_first == Signal::TERM).then_some(143));
        until("the program has ended", || state(program).is_none());
        until("nobody watches any more", || state(watcher).is_none());
        let entry = Path::new("/proc").join(watcher.as_raw_nonzero().to_string());
        assert!(code.is_none() || !entry.exists(), "it was not waited for");
    }
}
