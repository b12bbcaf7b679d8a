//! `doctor` and `inspect`: what they say, and that it is so.

use std::{fs, os::unix::process::ExitStatusExt, process::Output};

use rustix::process::Signal;

use crate::place::{Place, command, until};

/// The row of that name: its verdict, and the text.
fn row(output: &Output, what: &str) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let row = text.lines().find_map(|line| line.strip_prefix(what));
    row.unwrap_or_else(|| panic!("no {what} in:\n{text}{output:?}")).trim().to_owned()
}

#[test]
fn files_do_what_they_should_and_nothing_is_left() {
    let place = Place::new();
    for options in ["", "?fencing=off", "?names=oslo&prefix=cinder", "?names=tooz", "?wait=poll"] {
        let url = format!("{}{options}", place.url());
        let output = command(&[], &["doctor", "--url", &url]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{options}: {output:?}");
        assert_eq!(row(&output, "store"), "file");
        for what in ["reachable", "handles", "processes", "shared mode"] {
            assert!(row(&output, what).starts_with("yes"), "{options}: {output:?}");
        }
        assert!(row(&output, "latency").contains("median"));
        let loss = row(&output, "loss");
        assert!(loss.starts_with("yes  told after") && loss.contains("(stated)"), "{loss}");
        let fencing = row(&output, "fencing");
        let expected = if options.contains("off") { "none" } else { "yes" };
        assert!(fencing.starts_with(expected), "{options}: {fencing}");
        assert_eq!(row(&output, "left behind"), "none");
        let is_poll = options.contains("poll");
        assert_eq!(row(&output, "warning").contains("polling"), is_poll, "{options}");
        let left = fs::read_dir(place.path("locks")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == ".keyward-q"), "{left:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn nothing_is_left_where_it_is_interrupted() {
    let place = Place::new();
    fs::create_dir(place.path("locks")).unwrap();
    let files = || -> Vec<_> {
        let entries = fs::read_dir(place.path("locks")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut interrupted = 0;
    for round in 0..10 {
        let mut running = place.start(&["doctor"]);
        until("it is at work", || files().iter().any(|name| name.contains("doctor")));
        // To come at different moments.
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        let signal = if round % 2 == 0 { Signal::INT } else { Signal::TERM };
        running.signal(signal);
        let status = running.end();
        assert!(status.signal() == Some(signal.as_raw()) || status.success(), "{status}");
        interrupted += usize::from(status.signal().is_some());
        assert!(files().iter().all(|name| name == ".keyward-q"), "{:?}", files());
    }
    assert!(interrupted > 0, "no signal was in time");
}

#[test]
fn other_names_are_not_touched() {
    let place = Place::new();
    let lease = place.hold("a");
    let before = fs::metadata(place.lock_file("a")).unwrap().modified().unwrap();
    assert_eq!(place.code(&["doctor"]), Some(0));
    assert_eq!(fs::metadata(place.lock_file("a")).unwrap().modified().unwrap(), before);
    lease.blocking_release().unwrap();
}

#[test]
fn memory_is_told_for_what_it_is() {
    for (url, handles) in [("memory:", "no"), ("memory:shared", "yes")] {
        let output = command(&[], &["doctor", "--url", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(row(&output, "handles").starts_with(handles), "{output:?}");
        assert!(row(&output, "processes").starts_with("no"), "{output:?}");
        assert!(row(&output, "shared mode").starts_with("yes"), "{output:?}");
        assert!(row(&output, "loss").starts_with("none"), "{output:?}");
    }
}

#[test]
fn a_url_that_cannot_be_is_usage() {
    let place = Place::new();
    let url = format!("{}?polite=1ms", place.url());
    let output = command(&[], &["doctor", "--url", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(row(&output, "reachable").starts_with('?'));
}

#[test]
fn inspect_tells_who_holds_it() {
    let place = Place::new();
    let output = place.output(&["inspect", "a"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((row(&output, "name"), row(&output, "held")), ("a".to_owned(), "no".to_owned()));
    assert!(!place.lock_file("a").exists(), "looking makes nothing");
    let script = "echo $$; echo $KEYWARD_TOKEN; exec sleep 1000";
    let running = place.start(&["run", "--prefix", "x-", "a", "--", "sh", "-c", script]);
    let (_, token): (_, u64) = (running.program(), running.line().parse().unwrap());
    let output = place.output(&["inspect", "--prefix", "x-", "a"]);
    assert_eq!(output.status.code(), Some(75), "held");
    assert_eq!(row(&output, "name"), "x-a");
    assert_eq!(row(&output, "held"), "exclusively");
    assert_eq!(row(&output, "pid"), running.pid().as_raw_nonzero().to_string());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(row(&output, "host"), host.trim());
    assert!(row(&output, "since").contains(" UTC ("));
    assert!(row(&output, "token").parse::<u64>().unwrap() >= token);
    assert_eq!(place.code(&["try", "--prefix", "x-", "a"]), Some(75), "looking has not freed it");
    let shared = place.start(&["run", "--shared", "b", "--", "sh", "-c", script]);
    shared.program();
    assert_eq!(row(&place.output(&["inspect", "b"]), "held"), "shared");
}
