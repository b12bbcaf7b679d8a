//! Killed with -9: neither the lock nor the program nor a place in the queue is left.

use rustix::process::{Signal, kill_process};

use crate::{
    place::{Place, until},
    running::state,
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
