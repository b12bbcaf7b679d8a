//! No server outlives the process that has started it, and no directory does.

use std::{
    env,
    io::{BufRead, BufReader},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Kind, Server, is_alive};

/// How the other process ends; without it, its entry test has nothing to do.
const END: &str = "KEYWARD_TEST_END";

/// What the other processes run; as a test of its own it does nothing.
#[test]
fn entry() {
    let Ok(end) = env::var(END) else { return };
    // On a thread that ends: the server must not go with it.
    let own = thread::spawn(|| Server::start(Kind::mariadb())).join().unwrap();
    let shared = Kind::mariadb().shared();
    for server in [&own, shared] {
        println!("\nserver {} {}", server.pid(), server.dir().display());
    }
    match end.as_str() {
        "return" => {}
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "wait" => thread::sleep(Duration::from_secs(600)),
        other => panic!("{other} is no end"),
    }
}

/// Another process, and the servers that it has started.
fn other_process(end: &str) -> (Child, Vec<(Pid, PathBuf)>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["death::entry", "--exact", "--nocapture"]).env(END, end);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let servers = lines.filter_map(|line| {
        let (pid, dir) = line.strip_prefix("server ")?.split_once(' ')?;
        Some((Pid::from_raw(pid.parse().ok()?)?, PathBuf::from(dir)))
    });
    let servers: Vec<_> = servers.take(2).collect();
    assert_eq!(servers.len(), 2, "it has not started them");
    (process, servers)
}

fn soon_gone(pid: Pid, dir: &std::path::Path) {
    let begun = Instant::now();
    while is_alive(pid) || dir.exists() {
        let late = begun.elapsed() > Duration::from_secs(20);
        assert!(!late, "left: process {}, directory {}", is_alive(pid), dir.exists());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_process_that_ends_takes_its_servers_along() {
    for end in ["return", "panic", "exit", "abort"] {
        let (mut process, servers) = other_process(end);
        process.wait().unwrap();
        for (pid, dir) in servers {
            soon_gone(pid, &dir);
        }
    }
}

#[test]
fn a_process_that_is_killed_takes_its_servers_along() {
    let (mut process, servers) = other_process("wait");
    for (pid, dir) in &servers {
        assert!(is_alive(*pid) && dir.exists(), "it has gone with its thread");
    }
    // One that stands must go as well.
    kill_process(servers[0].0, Signal::STOP).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    for (pid, dir) in servers {
        soon_gone(pid, &dir);
    }
}

#[test]
fn a_test_that_panics_takes_its_server_along() {
    let mut left = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let server = Server::start(Kind::mariadb());
        left = Some((server.pid(), server.dir().to_owned()));
        panic!("as a test does");
    }));
    panicked.unwrap_err();
    let (pid, dir) = left.unwrap();
    assert!(!is_alive(pid) && !dir.exists());
}

#[test]
fn a_server_that_loses_its_watcher_ends() {
    let server = Server::start(Kind::mariadb());
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    kill_process(server.watcher_pid(), Signal::KILL).unwrap();
    let begun = Instant::now();
    while is_alive(pid) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is left");
        thread::sleep(Duration::from_millis(5));
    }
    drop(server);
    assert!(!dir.exists());
}
