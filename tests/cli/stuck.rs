//! A standard error that nobody reads: a pipe that is full, a terminal that Ctrl-S has stopped. What is said
//! there waits; what is to be done does not.

use std::{
    fs,
    io::{PipeReader, PipeWriter, Write},
    os::unix::process::ExitStatusExt,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    process::Signal,
};

use crate::{
    place::{Place, until},
    running::{Running, state},
};

/// A pipe that takes no byte more, and the end that is not read.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}

#[test]
fn a_loss_is_acted_upon_before_it_is_told() {
    let place = Place::new();
    for on_lost in ["kill", "term"] {
        let (_reader, writer) = full();
        let script = "exec 2>/dev/null; echo $$; exec sleep 1000";
        let args = ["run", "--on-lost", on_lost, "a", "--", "sh", "-c", script];
        let mut running = Running::start_with_error(&mut place.command(&args), writer);
        let program = running.program();
        fs::remove_file(place.lock_file("a")).unwrap();
        until("the program ends", || state(program).is_none());
        assert_eq!(running.code(), Some(76));
    }
}

#[test]
fn who_does_not_end_in_time_is_killed() {
    let place = Place::new();
    let (_reader, writer) = full();
    let script = "exec 2>/dev/null; trap '' TERM; echo $$; while :; do sleep 0.02; done";
    let args = ["run", "-v", "--grace", "50ms", "a", "--", "sh", "-c", script];
    let mut running = Running::start_with_error(&mut place.command(&args), writer);
    let program = running.program();
    fs::remove_file(place.lock_file("a")).unwrap();
    until("the program ends", || state(program).is_none());
    assert_eq!(running.code(), Some(76));
}

#[test]
fn signals_and_ends_are_noticed() {
    let place = Place::new();
    let (_reader, writer) = full();
    let script = "exec 2>/dev/null; trap 'exit 4' TERM; echo ready; while :; do sleep 0.02; done";
    let args = ["run", "-v", "a", "--", "sh", "-c", script];
    let mut running = Running::start_with_error(&mut place.command(&args), writer);
    running.until_line("ready");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(4));
    place.until_free("a");
}

#[test]
fn a_wait_goes_on_and_can_be_ended() {
    let place = Place::new();
    let lease = place.hold("a");
    let (_reader, writer) = full();
    let mut waiting = Running::start_with_error(&mut place.command(&["wait", "-v", "a"]), writer);
    place.until_waiting("a");
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().signal(), Some(libc::SIGTERM));
    lease.blocking_release().unwrap();
    place.until_free("a");
}

#[test]
fn a_program_that_cannot_be_run_holds_nothing() {
    let place = Place::new();
    let (_reader, writer) = full();
    let mut command = place.command(&["run", "a", "--", "/nonexistent/program"]);
    assert_eq!(Running::start_with_error(&mut command, writer).code(), Some(127));
    place.until_free("a");
}
