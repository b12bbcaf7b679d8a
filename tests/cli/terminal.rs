//! Keys on a terminal: the kernel sends their signals to the whole foreground group.
#![allow(unsafe_code, reason = "opening a pseudo-terminal")]

use std::{
    env,
    ffi::CStr,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::OpenOptionsExt,
    },
    process::{Command, exit},
};

use rustix::process::Signal;
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};

use crate::{
    place::{KEYWARD, Place, until},
    running::{Running, state},
};

/// In the environment of a [`witness`].
const WITNESS: &str = "KEYWARD_TEST_WITNESS";

/// A program that prints each signal that it gets and where it comes from, and ends with `TERM`.
///
/// A shell would not do: of two signals that come while it waits, it tells one.
#[test]
fn witness() {
    if env::var_os(WITNESS).is_none() {
        return; // as a test of its own it does nothing
    }
    let heard = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT];
    let mut signals = SignalsInfo::<WithOrigin>::new(heard).unwrap();
    println!("\nready");
    for origin in signals.forever() {
        let from = if origin.cause == Cause::Kernel { "the terminal" } else { "somebody" };
        println!("{} from {from}", signal_hook::low_level::signal_name(origin.signal).unwrap());
        if origin.signal == SIGTERM {
            exit(3);
        }
    }
}

/// Both ends of a new terminal.
fn terminal() -> (File, File) {
    // SAFETY: no preconditions; the descriptor is new, and owned by the file that is made of it.
    let keys = unsafe {
        let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        File::from_raw_fd(fd)
    };
    let mut path = [0; 64];
    // SAFETY: the descriptor is open, and the buffer as long as is said.
    let opened = unsafe {
        libc::grantpt(keys.as_raw_fd()) == 0
            && libc::unlockpt(keys.as_raw_fd()) == 0
            && libc::ptsname_r(keys.as_raw_fd(), path.as_mut_ptr(), path.len()) == 0
    };
    assert!(opened, "{}", io::Error::last_os_error());
    // SAFETY: the call has written a string there.
    let path = unsafe { CStr::from_ptr(path.as_ptr()) }.to_str().unwrap();
    let mut options = OpenOptions::new();
    let screen = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap();
    (keys, screen)
}

/// The command in the foreground of a terminal of its own, started `by_shell` with a script, or
/// without, leading the session.
fn start(place: &Place, program: &[&str], by_shell: Option<&str>) -> (Running, File) {
    let (keys, screen) = terminal();
    let mut command = Command::new("setsid");
    command.arg("--ctty");
    if let Some(script) = by_shell {
        command.args(["sh", "-c", script, "sh"]);
    }
    command.args(["env", "--default-signal", KEYWARD, "run", "a", "--"]).args(program);
    command.env("KEYWARD_URL", place.url()).env(WITNESS, "1").stdin(screen);
    (Running::start_in_this_group(&mut command), keys)
}

/// Without job control a shell stays in one group with its children.
const IN_ONE_GROUP: &str = "trap : INT QUIT; \"$@\"; exit $?";

fn witness_command() -> Vec<String> {
    let binary = env::current_exe().unwrap().display().to_string();
    let rest = ["terminal::witness", "--exact", "--nocapture", "--test-threads=1"];
    std::iter::once(binary).chain(rest.map(str::to_owned)).collect()
}

#[test]
fn a_key_is_one_signal_to_the_program() {
    let place = Place::new();
    let witness = witness_command();
    let witness: Vec<_> = witness.iter().map(|arg| &**arg).collect();
    for by_shell in [None, Some(IN_ONE_GROUP)] {
        let (mut running, mut keys) = start(&place, &witness, by_shell);
        running.until_line("ready");
        for (key, name) in [(b"\x03", "SIGINT"), (b"\x1c", "SIGQUIT"), (b"\x03", "SIGINT")] {
            keys.write_all(key).unwrap();
            assert_eq!(running.line(), format!("{name} from the terminal"));
        }
        assert_eq!(place.code(&["try", "a"]), Some(75), "the wrapper has ended");
        // What is forwarded comes in order: after this, nothing of the above is under way.
        let wrapper = if by_shell.is_some() { child_of(&running) } else { running.pid() };
        rustix::process::kill_process(wrapper, Signal::TERM).unwrap();
        assert_eq!(running.line(), "SIGTERM from somebody");
        assert_eq!(running.code(), Some(3));
        place.until_free("a");
    }
}

/// What the shell has started: the command, since `env` becomes it.
fn child_of(running: &Running) -> rustix::process::Pid {
    let pid = running.pid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    rustix::process::Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
        .unwrap()
}

#[test]
fn a_hang_up_reaches_the_program_of_a_leader() {
    let place = Place::new();
    let witness = witness_command();
    let witness: Vec<_> = witness.iter().map(|arg| &**arg).collect();
    let (mut running, keys) = start(&place, &witness, None);
    running.until_line("ready");
    // The kernel tells the leader of the session, and nobody else.
    drop(keys);
    loop {
        match &*running.line() {
            "SIGHUP from somebody" => break,
            "SIGCONT from somebody" => {} // comes with it
            other => panic!("{other}"),
        }
    }
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(3));
}

#[test]
fn the_stop_key_stops_nobody_where_nobody_could_go_on() {
    let place = Place::new();
    let script = "trap 'exit 6' TERM; echo $$; while :; do sleep 0.02; done";
    let (mut running, mut keys) = start(&place, &["sh", "-c", script], Some(IN_ONE_GROUP));
    let (program, wrapper) = (running.program(), child_of(&running));
    keys.write_all(b"\x1a").unwrap();
    // The group of a session's leader has no parent outside of it: the kernel stops nobody then, and so
    // we do not stop either.
    rustix::process::kill_process(wrapper, Signal::TERM).unwrap();
    assert_eq!(running.code(), Some(6));
    assert_eq!([program, wrapper].map(state), [None; 2]);
    until("it is free", || place.code(&["try", "a"]) == Some(0));
}

#[test]
fn the_stop_key_stops_both_for_a_shell_with_jobs() {
    let place = Place::new();
    let go = place.path("go");
    let jobs = format!(
        "set -m; \"$@\"; echo \"stopped $?\"; while [ ! -e {} ]; do sleep 0.02; done; \
         fg >/dev/null; echo \"ended $?\"",
        go.display()
    );
    // Not a loop: of a shell that starts a command just then, the kernel stops the command only.
    let script = "echo $$; exec sleep 1000";
    let (running, mut keys) = start(&place, &["sh", "-c", script], Some(&jobs));
    let (program, wrapper) = (running.program(), child_of(&running));
    keys.write_all(b"\x1a").unwrap();
    let stopped = 128 + libc::SIGSTOP;
    running.until_line(&format!("stopped {stopped}")); // so says the shell
    assert_eq!([program, wrapper].map(state), [Some('T'); 2]);
    std::fs::write(&go, "").unwrap();
    until("both go on", || ![program, wrapper].map(state).contains(&Some('T')));
    rustix::process::kill_process(wrapper, Signal::TERM).unwrap();
    running.until_line("ended 143");
    place.until_free("a");
}
