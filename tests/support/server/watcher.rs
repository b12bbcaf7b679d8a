//! Who sees to it that no server and no directory outlives its test.
//!
//! Each server is the child of a shell that reads commands from a pipe. Only the test process has the
//! other end, so the shell reads the end of the pipe when the [`Watcher`] is dropped, when the process
//! exits (statics are never dropped) and when it is killed; then it kills the server and removes the
//! directory. If the shell itself is killed, the kernel kills the server with it (`setpriv`).

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal};

/// The hang-up comes from the kernel, when the parent dies while the server stands.
///
/// A server that has ended keeps its process id until the shell is told to wait for it.
const SCRIPT: &str = r#"
dir=$1
shift
trap '' HUP
server=
end() {
    [ -n "$server" ] || return
    kill -"$1" "$server"
    wait "$server"
    server=
}
while read -r command argument; do
    case $command in
        start)
            setpriv --pdeathsig KILL -- "$@" --port="$argument" >>"$dir/log" 2>&1 &
            server=$!
            echo "$server"
            ;;
        end)
            end "$argument"
            echo ended
            ;;
    esac
done
end KILL
rm -rf "$dir"
"#;

pub(super) struct Watcher {
    dir: PathBuf,
    shell: Child,
    /// Gone when the shell is to go.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    server: Option<Pid>,
}

impl Watcher {
    /// For a server that is to be started by this command; the directory goes with the watcher.
    pub(super) fn new(dir: &Path, server: &[String]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(dir).args(server);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Out of reach of what the terminal, or a timeout, sends to the tests.
        command.process_group(0);
        let mut shell = command.spawn().unwrap();
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        Self { dir: dir.to_owned(), shell, commands, answers, server: None }
    }

    pub(super) fn shell(&self) -> Pid {
        Pid::from_child(&self.shell)
    }

    /// The server that was started last, until it is ended here.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.server
    }

    pub(super) fn is_alive(&self) -> bool {
        self.server.is_some_and(super::is_alive)
    }

    pub(super) fn start(&mut self, port: u16) {
        let pid = self.ask(&format!("start {port}"));
        self.server = Pid::from_raw(pid.parse().unwrap());
    }

    /// Sends the signal, and waits until the server has ended, however it does.
    pub(super) fn end(&mut self, signal: Signal) {
        let name = match signal {
            Signal::TERM => "TERM",
            Signal::KILL => "KILL",
            other => panic!("{other:?} ends no server"),
        };
        assert_eq!(self.ask(&format!("end {name}")), "ended");
        self.server = None;
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.commands = None;
        drop(self.shell.wait());
        // If somebody has killed the shell.
        drop(fs::remove_dir_all(&self.dir));
    }
}
