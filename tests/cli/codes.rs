//! Exit codes: what scripts rely on.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use rustix::process::geteuid;

use crate::place::{KEYWARD, Place, command};

#[test]
fn the_programs_own() {
    let place = Place::new();
    for code in [0, 1, 7, 64, 75, 255] {
        let script = format!("exit {code}");
        assert_eq!(place.code(&["run", "a", "--", "sh", "-c", &script]), Some(code));
        assert_eq!(place.code(&["try", "a", "--", "sh", "-c", &script]), Some(code));
    }
    assert_eq!(place.code(&["try", "a"]), Some(0), "it has been released");
}

#[test]
fn of_a_signal_that_ended_the_program() {
    let place = Place::new();
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let script = format!("kill -{signal} $$");
        assert_eq!(place.code(&["run", "a", "--", "sh", "-c", &script]), Some(code));
    }
}

#[test]
fn of_a_program_that_cannot_be_run() {
    let place = Place::new();
    let output = place.output(&["run", "a", "--", "/nonexistent/program"]);
    assert_eq!(output.status.code(), Some(127));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("keyward: cannot run /nonexistent/program: "), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(place.code(&["run", "a", "--", "no-such-program-anywhere"]), Some(127));
    fs::write(place.path("data"), "no program").unwrap();
    let data = place.path("data").display().to_string();
    assert_eq!(place.code(&["run", "a", "--", &data]), Some(126));
    assert_eq!(place.code(&["run", "a", "--", "/"]), Some(126));
    assert_eq!(place.code(&["try", "a"]), Some(0), "it has been released");
}

#[test]
fn what_others_hold_is_a_temporary_failure() {
    let place = Place::new();
    let lease = place.hold("a");
    let ran = place.path("ran").display().to_string();
    let program = ["--", "touch", &ran];
    for args in [
        &["run", "--no-wait", "a"][..],
        &["run", "--timeout", "50ms", "a"],
        &["run", "--timeout", "0s", "a"],
        &["try", "a"],
        &["try", "--shared", "a"],
    ] {
        let output = place.output(&[args, &program].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(75), "{args:?}: {said}");
        assert!(said.starts_with("keyward: ") && said.contains(r#"(lock "a", file)"#), "{said}");
    }
    assert_eq!(place.code(&["try", "a"]), Some(75));
    assert_eq!(place.code(&["wait", "--timeout", "50ms", "a"]), Some(75));
    assert_eq!(place.code(&["try", "b"]), Some(0), "another name is free");
    assert!(!place.path("ran").exists(), "it ran without the lock");
    lease.blocking_release().unwrap();
    assert_eq!(place.code(&["wait", "--timeout", "50ms", "a"]), Some(0));
    assert_eq!(place.code(&[&["run", "--no-wait", "a"][..], &program].concat()), Some(0));
    assert!(place.path("ran").exists());
}

#[test]
fn shared_holds_go_together() {
    let place = Place::new();
    let mut reader =
        place.start(&["run", "--shared", "a", "--", "sh", "-c", "echo $$; exec cat /dev/zero"]);
    let program = reader.program();
    assert_eq!(place.code(&["try", "--shared", "a"]), Some(0));
    assert_eq!(place.code(&["try", "a"]), Some(75));
    rustix::process::kill_process(program, rustix::process::Signal::TERM).unwrap();
    assert_eq!(reader.code(), Some(143));
    assert_eq!(place.code(&["try", "a"]), Some(0));
}

#[test]
fn usage() {
    let place = Place::new();
    for args in [
        &[][..],
        &["run"],
        &["run", "a"],
        &["run", "a", "true"],
        &["frobnicate"],
        &["run", "--timeout", "5", "a", "--", "true"],
        &["run", "--timeout", "5s", "--no-wait", "a", "--", "true"],
        &["run", "--on-lost", "panic", "a", "--", "true"],
        &["try", ""],
        &["run", "", "--", "true"],
        &["try", "--url", "memroy:", "a"],
        &["try", "--url", "file:///tmp?nope=1", "a"],
        &["inspect", ""],
        &["doctor", "--url", "memroy:"],
        &["completions", "csh"],
        &["man", "frobnicate"],
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() || args[0] == "doctor", "{args:?}");
    }
    let without = command(&[], &["try", "a"]).output().unwrap();
    assert_eq!(without.status.code(), Some(64));
    assert!(String::from_utf8(without.stderr).unwrap().contains("KEYWARD_URL"));
    let shared = ["try", "--url", "mysql://localhost/", "--shared", "a"];
    if cfg!(not(feature = "mysql")) {
        assert_eq!(place.code(&shared), Some(64), "a backend that is not compiled in");
    }
}

#[test]
fn a_store_that_does_not_let_us() {
    let place = Place::new();
    fs::write(place.path("locks"), "a file, not a directory").unwrap();
    for args in [&["try", "a"][..], &["run", "a", "--", "true"], &["inspect", "a"], &["doctor"]] {
        assert_eq!(place.code(args), Some(69), "{args:?}");
    }
    fs::remove_file(place.path("locks")).unwrap();
    fs::create_dir(place.path("locks")).unwrap();
    fs::set_permissions(place.path("locks"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(place.code(&["try", "a"]), Some(69), "others can change it");
    if !geteuid().is_root() {
        fs::set_permissions(place.path("locks"), fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!(place.code(&["try", "a"]), Some(69), "it cannot be written to");
    }
}

/// The lines of a crontab that docs/command.md gives, without the time and the user.
fn crontab() -> Vec<&'static str> {
    let lines = include_str!("../../docs/command.md").lines();
    lines.filter_map(|line| Some(line.split_once("* * ")?.1.split_once("root")?.1.trim())).collect()
}

#[test]
fn the_crontab_of_the_docs_hides_no_failure() {
    let place = Place::new();
    let bin = Path::new(KEYWARD).parent().unwrap().display();
    let path = format!("{bin}:/usr/bin:/bin");
    let run = |line: &str, program: &str, url: Option<&str>| {
        let line = line.replace("/usr/local/bin/sync-mirrors", program);
        let line = line.replace("/usr/local/bin/report", program);
        let line = line.replace("/etc/keyward.env", &place.path("env").display().to_string());
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env_clear().env("PATH", &path);
        url.map(|url| command.env("KEYWARD_URL", url));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let crontab = crontab();
    let [sync, report] = crontab[..] else { panic!("{crontab:?}") };
    let url = place.url();
    let fails = "sh -c 'echo wrong >&2; exit 3'";
    assert_eq!(run(sync, "true", Some(&url)), (0, String::new()));
    assert_eq!(run(sync, fails, Some(&url)), (3, "wrong\n".to_owned()));
    let (code, said) = run(sync, "true", Some("file:///proc/nonexistent"));
    assert!(code == 69 && !said.is_empty(), "{code}: {said}");
    let lease = place.hold("sync");
    assert_eq!(run(sync, fails, Some(&url)), (0, String::new()), "others are at it");
    lease.blocking_release().unwrap();
    // With a URL that a shell would take apart.
    let file = format!("KEYWARD_URL='{url}?fencing=off&wait=poll'\n");
    fs::write(place.path("env"), file).unwrap();
    assert_eq!(run(report, fails, None).0, 3);
    let (code, said) = run(report, "sh -c 'echo $KEYWARD_URL >&2'", None);
    assert!(code == 0 && said.contains("fencing=off&wait=poll"), "{code}: {said}");
}
