//! Signals, while the command waits and while the program runs.

use std::{os::unix::process::ExitStatusExt, process::Command, thread, time::Duration};

use rustix::process::{Signal, kill_process};

use crate::{
    place::{Place, until},
    running::{Running, catches, state},
};

const ENDING: [(Signal, i32); 6] = [
    (Signal::HUP, libc::SIGHUP),
    (Signal::INT, libc::SIGINT),
    (Signal::QUIT, libc::SIGQUIT),
    (Signal::TERM, libc::SIGTERM),
    (Signal::USR1, libc::SIGUSR1),
    (Signal::USR2, libc::SIGUSR2),
];

#[test]
fn a_wait_is_ended_by_the_signal_itself_and_leaves_nothing() {
    let place = Place::new();
    let ran = place.path("ran").display().to_string();
    for (signal, number) in ENDING {
        let lease = place.hold("a");
        for args in [&["run", "a", "--", "touch", &ran][..], &["wait", "a"]] {
            let mut waiting = place.start(args);
            place.until_waiting("a");
            waiting.signal(signal);
            assert_eq!(waiting.end().signal(), Some(number), "{args:?}");
            assert_eq!(place.waiters("a"), 0);
        }
        lease.blocking_release().unwrap();
        assert_eq!(place.code(&["try", "a"]), Some(0), "somebody holds it");
    }
    assert!(!place.path("ran").exists());
}

#[test]
fn no_program_is_started_after_a_signal_that_meets_the_grant() {
    let place = Place::new();
    let ran = place.path("ran").display().to_string();
    for _ in 0..10 {
        let lease = place.hold("a");
        let mut waiting = place.start(&["run", "a", "--", "touch", &ran]);
        place.until_waiting("a");
        // While it stands, it is granted the lock and sent a signal; then it finds both.
        waiting.signal(Signal::STOP);
        until("it stands", || state(waiting.pid()) == Some('T'));
        lease.blocking_release().unwrap();
        waiting.signal(Signal::TERM);
        waiting.signal(Signal::CONT);
        assert_eq!(waiting.end().signal(), Some(libc::SIGTERM));
        assert!(!place.path("ran").exists(), "the program was started");
        place.until_free("a");
    }
}

#[test]
fn a_signal_is_heard_from_the_first_moment() {
    let place = Place::new();
    for _ in 0..100 {
        let mut waiting = Running::start(&mut place.command(&["wait", "a"]));
        while state(waiting.pid()).is_some() && !catches(waiting.pid(), Signal::TERM) {}
        waiting.signal(Signal::TERM);
        let status = waiting.end();
        // It may have had the lock, and be on its way out.
        let expected = status.signal() == Some(libc::SIGTERM) || status.code() == Some(0);
        assert!(expected, "{status}");
    }
}

#[test]
fn a_wait_stops_and_goes_on() {
    let place = Place::new();
    let lease = place.hold("a");
    let mut waiting = place.start(&["run", "a", "--", "sh", "-c", "exit 5"]);
    place.until_waiting("a");
    waiting.signal(Signal::TSTP);
    until("it stops", || state(waiting.pid()) == Some('T'));
    waiting.signal(Signal::CONT);
    until("it goes on", || state(waiting.pid()) != Some('T'));
    lease.blocking_release().unwrap();
    assert_eq!(waiting.code(), Some(5));
}

#[test]
fn a_long_wait_is_told_with_the_holder() {
    let place = Place::new();
    let _lease = place.hold("a");
    let waiting = place.start(&["wait", "a"]);
    let said = waiting.until_said("still waiting");
    assert!(said.starts_with("keyward: still waiting for a named lock"), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
}

#[test]
fn the_program_gets_the_signals_and_decides() {
    let place = Place::new();
    let script = "for s in HUP INT QUIT TERM USR1 USR2 WINCH; do trap \"echo $s\" $s; done; \
        echo ready; while [ ! -e \"$1\" ]; do sleep 0.02; done; exit 9";
    let done = place.path("done").display().to_string();
    let mut running = place.start(&["run", "a", "--", "sh", "-c", script, "sh", &done]);
    running.until_line("ready");
    let all = [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
    ];
    for (signal, name) in all {
        running.signal(signal);
        assert_eq!(running.line(), name);
    }
    assert_eq!(place.code(&["try", "a"]), Some(75), "it is held while the program runs");
    std::fs::write(&done, "").unwrap();
    assert_eq!(running.code(), Some(9));
    assert_eq!(place.code(&["try", "a"]), Some(0));
}

#[test]
fn a_container_in_a_session_of_the_hosts_is_like_any_place() {
    let place = Place::new();
    let script = "for s in HUP INT QUIT TERM USR1 USR2 WINCH; do \
        trap \"echo $s; seen=$s\" $s; kill -$s $PPID; \
        while [ \"$seen\" != $s ]; do sleep 0.02; done; done; exit 9";
    // In a pid namespace of its own its session and its group have no number; who may not make one is
    // often in such a one already.
    let contained = ["unshare", "--pid", "--fork", "--kill-child"];
    let is_allowed = Command::new("unshare").args(&contained[1..]).arg("true").status();
    let contained = if is_allowed.unwrap().success() { &contained[..] } else { &[] };
    let mut command = place.command_by(contained, &["run", "a", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut command);
    for name in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH"] {
        assert_eq!(running.line(), name);
    }
    assert_eq!(running.code(), Some(9));
}

#[test]
fn a_program_that_dies_of_the_signal_says_so() {
    let place = Place::new();
    for (signal, number) in ENDING {
        let mut running = place.start(&["run", "a", "--", "sh", "-c", "echo $$; exec sleep 1000"]);
        let program = running.program();
        running.signal(signal);
        assert_eq!(running.code(), Some(128 + number), "we ended before the program");
        assert_eq!(state(program), None);
        assert_eq!(place.code(&["try", "a"]), Some(0));
    }
}

#[test]
fn both_stop_and_go_on() {
    let place = Place::new();
    let script = "trap 'exit 4' TERM; echo $$; while :; do sleep 0.02; done";
    let mut running = place.start(&["run", "a", "--", "sh", "-c", script]);
    let program = running.program();
    for _ in 0..5 {
        running.signal(Signal::TSTP);
        until("both stop", || [program, running.pid()].map(state) == [Some('T'); 2]);
        running.signal(Signal::CONT);
        until("both go on", || ![program, running.pid()].map(state).contains(&Some('T')));
    }
    assert_eq!(place.code(&["try", "a"]), Some(75), "a stopped program has its lock");
    // One after the other without a pause: whoever stands in the end goes on at the next continue.
    for _ in 0..20 {
        running.signal(Signal::TSTP);
        running.signal(Signal::CONT);
    }
    running.signal(Signal::TERM);
    until("the program ends", || {
        running.signal(Signal::CONT);
        state(program).is_none()
    });
    running.signal(Signal::CONT);
    assert_eq!(running.code(), Some(4));
}

#[test]
fn it_does_not_stop_alone() {
    let place = Place::new();
    let script =
        "trap 'echo tstp' TSTP; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";
    let running = place.start(&["run", "a", "--", "sh", "-c", script]);
    running.until_line("ready");
    running.signal(Signal::TSTP);
    assert_eq!(running.line(), "tstp");
    // Who stood could not forward this.
    running.signal(Signal::USR1);
    assert_eq!(running.line(), "usr1");
}

#[test]
fn an_old_stop_is_forgotten() {
    let place = Place::new();
    let script = "trap '' TSTP; trap 'echo usr1' USR1; echo $$; while :; do sleep 0.02; done";
    let running = place.start(&["run", "a", "--", "sh", "-c", script]);
    let program = running.program();
    let forwarded = || {
        running.signal(Signal::USR1);
        assert_eq!(running.line(), "usr1");
    };
    running.signal(Signal::TSTP);
    forwarded(); // after the stop, which the program takes no notice of
    thread::sleep(Duration::from_millis(3_500)); // longer than it is remembered
    for _ in 0..5 {
        kill_process(program, Signal::STOP).unwrap();
        until("the program stops", || state(program) == Some('T'));
        thread::sleep(Duration::from_millis(20)); // for us to be told
        kill_process(program, Signal::CONT).unwrap();
        until("it goes on", || state(program) != Some('T'));
        // Who stood could not forward this.
        forwarded();
    }
}

#[test]
fn nobody_reads_what_it_says() {
    let place = Place::new();
    let lease = place.hold("a");
    let script = format!("exec {} try a 2>&-", crate::place::KEYWARD);
    let mut command = Command::new("sh");
    let mut running = Running::start(command.args(["-c", &script]).env("KEYWARD_URL", place.url()));
    assert_eq!(running.code(), Some(75));
    drop(lease);
}
