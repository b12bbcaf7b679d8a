//! The lock is lost while the program runs: its lock file is deleted.

use std::{fs, process::Command};

use rustix::process::{Signal, geteuid, kill_process};

use crate::{
    place::{KEYWARD, Place, until},
    running::{Running, state},
};

#[test]
fn the_program_is_asked_to_end() {
    let place = Place::new();
    let script = "trap 'echo TERM; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = place.start(&["run", "a", "--", "sh", "-c", script]);
    running.until_line("ready");
    fs::remove_file(place.lock_file("a")).unwrap();
    assert_eq!(running.line(), "TERM");
    let said = running.until_said("lost");
    assert!(said.starts_with("keyward: the lock was lost: "), "{said}");
    assert_eq!(running.code(), Some(76));
    assert!(running.rest().1.is_empty(), "it is said once");
}

#[test]
fn who_does_not_end_is_killed() {
    let place = Place::new();
    let script = "trap '' TERM; echo $$; while :; do sleep 0.02; done";
    let args = ["run", "--grace", "100ms", "a", "--", "sh", "-c", script];
    let mut running = place.start(&args);
    let program = running.program();
    fs::remove_file(place.lock_file("a")).unwrap();
    running.until_said("it is killed");
    assert_eq!(running.code(), Some(76));
    assert_eq!(state(program), None);
}

#[test]
fn a_program_that_stands_ends_as_well() {
    let place = Place::new();
    let script = "trap 'echo TERM; exit 3' TERM; echo $$; while :; do sleep 0.02; done";
    let mut running = place.start(&["run", "a", "--", "sh", "-c", script]);
    let program = running.program();
    kill_process(program, Signal::STOP).unwrap();
    until("it stands", || state(program) == Some('T'));
    fs::remove_file(place.lock_file("a")).unwrap();
    assert_eq!(running.line(), "TERM");
    assert_eq!(running.code(), Some(76));
}

#[test]
fn killed_at_once() {
    let place = Place::new();
    let script = "trap 'echo TERM' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = place.start(&["run", "--on-lost", "kill", "a", "--", "sh", "-c", script]);
    running.until_line("ready");
    fs::remove_file(place.lock_file("a")).unwrap();
    assert_eq!(running.code(), Some(76));
    let (out, err) = running.rest();
    assert!(out.is_empty(), "{out:?}");
    assert!(err.len() == 1 && err[0].contains("the program is killed"), "{err:?}");
}

#[test]
fn ignored() {
    let place = Place::new();
    let script =
        "trap 'echo TERM' TERM; echo ready; while [ ! -e \"$1\" ]; do sleep 0.02; done; exit 5";
    let go = place.path("go").display().to_string();
    let args = ["run", "--on-lost", "ignore", "a", "--", "sh", "-c", script, "sh", &go];
    let mut running = place.start(&args);
    running.until_line("ready");
    fs::remove_file(place.lock_file("a")).unwrap();
    running.until_said("goes on without it");
    fs::write(&go, "").unwrap();
    assert_eq!(running.code(), Some(5), "the program's own");
    assert!(running.rest().0.is_empty(), "it was asked to end");
}

#[test]
fn noticed_at_the_release_at_the_latest() {
    let place = Place::new();
    let file = place.lock_file("a").display().to_string();
    for _ in 0..5 {
        // Ends by itself, whether or not it is asked to.
        let output = place.output(&["run", "a", "--", "rm", &file]);
        assert_eq!(output.status.code(), Some(76), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the lock was lost") && said.lines().count() == 1, "{said}");
    }
    let ignored = ["run", "--on-lost", "ignore", "a", "--", "rm", &file];
    assert_eq!(place.code(&ignored), Some(0));
}

#[test]
fn who_cannot_be_killed_is_not_called_dead() {
    assert!(geteuid().is_root(), "to be run as root: another user's program is started");
    let place = Place::new();
    for (on_lost, grace, said) in [
        ("kill", "10s", "the program cannot be killed: Operation not permitted"),
        ("term", "50ms", "the program cannot be asked to end: Operation not permitted"),
    ] {
        // We may start it as another user, and not signal other users' processes.
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-kill", KEYWARD, "run", "--on-lost", on_lost]);
        command.args(["--grace", grace, "a", "--", "setpriv", "--reuid", "65534"]);
        command.args(["--clear-groups", "sh", "-c", "echo $$; exec sleep 1000"]);
        let mut running = Running::start(command.env("KEYWARD_URL", place.url()));
        let program = running.program();
        fs::remove_file(place.lock_file("a")).unwrap();
        let line = running.until_said("the lock was lost");
        assert!(line.contains(said) && line.ends_with("it goes on without the lock"), "{line}");
        if on_lost == "term" {
            let line = running.until_said("has not ended in time");
            assert!(line.contains("cannot be killed: Operation not permitted"), "{line}");
        }
        assert!(state(program).is_some());
        running.signal(Signal::USR1);
        let line = running.until_said("not be forwarded");
        assert!(line.contains("USR1") && line.contains("Operation not permitted"), "{line}");
        kill_process(program, Signal::KILL).unwrap();
        assert_eq!(running.code(), Some(76));
    }
}
