//! On a server: what differs from files is that the lock is a session's, which can be killed.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::Signal;

use crate::{
    place::{command, until},
    running::{Running, state},
    server::{Kind, Server},
};

/// The command on the server, with the heartbeat of its shortest lease.
fn on_server(args: &[&str]) -> Command {
    let mut command = command(&[], args);
    command.env("KEYWARD_URL", format!("{}&ttl=3s", server().url()));
    command
}

fn server() -> &'static Server {
    Kind::mariadb().shared()
}

fn output(args: &[&str]) -> Output {
    on_server(args).output().unwrap()
}

/// A name of the case's own.
fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("cli-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn now<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(question)
}

fn holder(name: &str) -> Option<u64> {
    now(server().holder(name.as_bytes()))
}

fn until_clean(name: &str) {
    until("nothing is left", || now(server().is_clean(&[name.as_bytes()])));
}

#[test]
fn a_session_that_is_killed_is_a_loss() {
    let name = name();
    let script = "trap 'echo TERM; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = Running::start(&mut on_server(&["run", &name, "--", "sh", "-c", script]));
    running.until_line("ready");
    now(server().kill_connection(holder(&name).unwrap()));
    assert_eq!(running.line(), "TERM");
    running.until_said("the lock was lost");
    assert_eq!(running.code(), Some(76));
    until_clean(&name);
}

#[test]
fn killed_while_it_holds_and_while_it_waits() {
    let name = name();
    let script = "echo $$; while :; do sleep 0.02; done";
    let mut holding = Running::start(&mut on_server(&["run", &name, "--", "sh", "-c", script]));
    let program = holding.program();
    let mut waiting = Running::start(&mut on_server(&["run", &name, "--", "echo", "ran"]));
    until("it waits", || now(server().waiters(name.as_bytes())) == 1);
    waiting.signal(Signal::KILL);
    waiting.end();
    until("it waits no more", || now(server().waiters(name.as_bytes())) == 0);
    holding.signal(Signal::KILL);
    holding.end();
    until("the program has ended", || state(program).is_none());
    until_clean(&name);
    assert!(waiting.rest().0.is_empty());
}

#[test]
fn a_signal_ends_the_wait_and_leaves_nothing() {
    let name = name();
    let holding = Running::start(&mut on_server(&[
        "run",
        &name,
        "--",
        "sh",
        "-c",
        "echo $$; exec sleep 1000",
    ]));
    holding.program();
    let mut waiting = Running::start(&mut on_server(&["wait", &name]));
    until("it waits", || now(server().waiters(name.as_bytes())) == 1);
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().signal(), Some(libc::SIGTERM));
    // Before it ended, not after the server has found out.
    assert_eq!(now(server().waiters(name.as_bytes())), 0);
    assert!(holder(&name).is_some(), "the other's is still there");
}

#[test]
fn the_program_is_told_of_the_lock_and_of_no_password() {
    now(server().create_user("cli_user", "s3cr3t"));
    let url = server().tcp_url_as("cli_user:s3cr3t", server().port());
    let name = name();
    let args = ["run", "-v", "--url", &url, &name, "--", "env"];
    let output = command(&[], &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("KEYWARD_BACKEND=mysql\n") && text.contains("KEYWARD_TOKEN="), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("acquired"), "-v says nothing: {said}");
    assert!(!text.contains("s3cr3t") && !said.contains("s3cr3t"), "{text}{said}");
}

#[test]
fn inspect_tells_the_session() {
    let name = name();
    let running = Running::start(&mut on_server(&[
        "run",
        &name,
        "--",
        "sh",
        "-c",
        "echo $$; exec sleep 1000",
    ]));
    running.program();
    let text = String::from_utf8(output(&["inspect", &name]).stdout).unwrap();
    let session = format!("session  {}", holder(&name).unwrap());
    assert!(text.lines().any(|line| line == session), "{text}");
    assert!(text.lines().any(|line| line.starts_with("user")), "{text}");
}

#[test]
fn the_doctor_is_content() {
    let output = output(&["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for row in [
        "store               mysql",
        "processes      yes",
        "shared mode    none",
        "fencing        yes",
    ] {
        assert!(text.contains(row), "no {row} in:\n{text}");
    }
    assert!(text.contains("loss           yes  told within"), "{text}");
    assert_eq!(run_shared(), Some(64), "it has no shared mode");
}

fn run_shared() -> Option<i32> {
    output(&["try", "--shared", &name()]).status.code()
}

#[test]
fn a_server_that_is_gone_is_unavailable() {
    for args in [&["doctor"][..], &["try", "a"], &["inspect", "a"], &["run", "a", "--", "true"]] {
        let mut command = command(&[], args);
        let output =
            command.env("KEYWARD_URL", "mysql://app:s3cr3t@127.0.0.1:1/").output().unwrap();
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let text = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&text).contains("s3cr3t"));
    }
}
