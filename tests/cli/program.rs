//! What the program finds: its environment, its descriptors, its signals.

use std::{collections::BTreeSet, fs, process::Command};

use rustix::process::{Pid, Signal};

use crate::{
    place::{Place, command},
    running::Running,
};

fn variables(output: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let variables = text.lines().filter_map(|line| line.split_once('='));
    // The suite has some of its own.
    let ours = variables
        .filter(|(name, _)| name.starts_with("KEYWARD_") && !name.starts_with("KEYWARD_TEST_"));
    let mut ours: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    ours.sort();
    ours
}

#[test]
fn it_is_told_of_the_lock() {
    let place = Place::new();
    let args = ["run", "--prefix", "nightly-", "a b", "--", "env"];
    let found = variables(&place.output(&args).stdout);
    let names: Vec<_> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["KEYWARD_BACKEND", "KEYWARD_NAME", "KEYWARD_TOKEN", "KEYWARD_URL"]);
    assert_eq!(found[0].1, "file");
    assert_eq!(found[1].1, "nightly-a b");
    assert_eq!(found[3].1, place.url(), "it was in our environment");
}

#[test]
fn a_url_of_the_command_line_stays_there() {
    let place = Place::new();
    let output = command(&[], &["run", "--url", &place.url(), "a", "--", "env"]).output().unwrap();
    let found = variables(&output.stdout);
    assert!(found.iter().all(|(name, _)| name != "KEYWARD_URL"), "{found:?}");
    assert_eq!(found.len(), 3);
}

#[test]
fn tokens_grow_and_are_of_this_lock() {
    let place = Place::new();
    let print = ["--", "sh", "-c", "echo ${KEYWARD_TOKEN-none}"];
    let mut last = 0_u64;
    for _ in 0..5 {
        let output = place.output(&[&["run", "a"][..], &print].concat());
        let token = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
    }
    // A shared lock has none; what it must not have is that of a lock around it.
    let mut shared = place.command(&[&["run", "--shared", "a"][..], &print].concat());
    let output = shared.env("KEYWARD_TOKEN", "7").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "none\n");
}

#[test]
fn its_input_and_output_are_ours() {
    let place = Place::new();
    fs::write(place.path("input"), "a line\n").unwrap();
    let mut run = place.command(&["run", "a", "--", "sh", "-c", "cat; echo wrong >&2"]);
    let output = run.stdin(fs::File::open(place.path("input")).unwrap()).output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"a line\n"[..], &b"wrong\n"[..]));
}

fn descriptors(pid: Pid) -> BTreeSet<String> {
    let dir = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    dir.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn it_inherits_no_descriptor_of_ours() {
    let place = Place::new();
    let script = ["sh", "-c", "echo $$; exec sleep 1000"];
    let with = place.start(&[&["run", "a", "--"][..], &script].concat());
    let without = Running::start(Command::new(script[0]).args(&script[1..]));
    let program = with.program();
    assert_eq!(descriptors(program), descriptors(without.program()));
    // That would have been seen: the lock file is open here.
    assert!(descriptors(with.pid()).len() > descriptors(program).len());
}

/// The masks that a program finds, by itself and under the command.
fn masks(option: &str, place: &Place) -> [String; 2] {
    let print = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let mut alone = Command::new("env");
    alone.arg("--default-signal").arg(option).args(print);
    let args = [&["run", "a", "--"][..], &print].concat();
    let mut under = command(&[option], &args);
    under.env("KEYWARD_URL", place.url());
    [alone, under].map(|mut command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

#[test]
fn its_signals_are_as_they_were() {
    let place = Place::new();
    let [alone, under] = masks("--default-signal", &place);
    assert_eq!(alone, under);
    let [hup_alone, hup_under] = masks("--ignore-signal=HUP", &place);
    assert_eq!(hup_alone, hup_under);
    assert_ne!(alone, hup_alone, "that would have been seen");
    let [blocked_alone, blocked_under] = masks("--block-signal=TERM", &place);
    assert_eq!(blocked_alone, blocked_under);
    assert_ne!(alone, blocked_alone, "that would have been seen");
}

#[test]
fn its_end_and_a_loss_are_noticed_where_signals_are_blocked() {
    let place = Place::new();
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137)] {
        let mut command = command(&["--block-signal"], &["run", "a", "--", "sh", "-c", script]);
        let mut running = Running::start(command.env("KEYWARD_URL", place.url()));
        assert_eq!(running.code(), Some(code));
    }
    let script = "echo $$; exec sleep 1000";
    let args = ["run", "--grace", "50ms", "a", "--", "sh", "-c", script];
    let mut command = command(&["--block-signal"], &args);
    let mut running = Running::start(command.env("KEYWARD_URL", place.url()));
    running.program();
    fs::remove_file(place.lock_file("a")).unwrap();
    assert_eq!(running.code(), Some(76));
}

#[test]
fn what_is_ignored_is_not_forwarded_either() {
    let place = Place::new();
    let script = "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";
    let args = ["run", "a", "--", "sh", "-c", script];
    let mut command = command(&["--ignore-signal=HUP"], &args);
    let mut running = Running::start(command.env("KEYWARD_URL", place.url()));
    running.until_line("ready");
    running.signal(Signal::HUP);
    running.signal(Signal::USR1);
    running.until_line("usr1");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(143));
}

#[test]
fn how_it_ended_is_known_where_children_are_ignored() {
    let place = Place::new();
    let args = ["run", "a", "--", "sh", "-c", "exit 7"];
    let mut command = command(&["--ignore-signal=CHLD"], &args);
    assert_eq!(command.env("KEYWARD_URL", place.url()).status().unwrap().code(), Some(7));
}
