//! The server that all of it runs on, and those who are started beside it.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use keyward_benches::{
    crew::{Member, Outcome, again, python},
    report::Run,
};
use tokio::runtime::Runtime;

use crate::{
    child,
    peers::{Who, current_thread},
    server::{Kind, Server},
    session::Session,
};

/// What is said of keyward's sessions, unless a workload says something else.
pub(crate) const USUAL: &str =
    "ttl=30&heartbeat=5&fencing=uuid_short&max_waiters=8&locks_per_session=64";

/// A server of our own, and a session that looks at it.
pub(crate) struct Setting {
    server: Server,
    socket: PathBuf,
    runtime: Runtime,
    control: RefCell<Session>,
    /// Those that are there before anybody comes.
    own: usize,
}

impl Setting {
    pub(crate) fn start() -> Outcome<Self> {
        let kind = Kind::mariadb();
        println!("MariaDB {}", kind.version());
        // A session for each of a thousand names is among what is measured.
        let server = Server::start_with(kind, &["--max-connections=1200"]);
        let (socket, runtime) = (server.socket(), current_thread());
        let (control, own) = runtime.block_on(async {
            let mut control = Session::open(&socket).await?;
            let own = control.clients().await?.sessions;
            Ok::<_, String>((RefCell::new(control), own))
        })?;
        Ok(Self { server, socket, runtime, control, own })
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What to tell keyward.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("mysql://root@localhost/?socket={}&{query}", self.socket.display())
    }

    /// How many sessions there are beside ours.
    pub(crate) fn sessions(&self) -> Outcome<usize> {
        let all = self.runtime.block_on(self.control.borrow_mut().clients())?;
        Ok(all.sessions.saturating_sub(self.own))
    }

    /// Waits until the sessions of whoever was here before have gone.
    pub(crate) fn settle(&self) -> Outcome<()> {
        let start = Instant::now();
        loop {
            match self.sessions()? {
                0 => return Ok(()),
                left if start.elapsed() > Duration::from_secs(10) => {
                    return Err(format!("{left} sessions do not go"));
                }
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// A process that locks as one of them does.
    pub(crate) fn member(&self, who: Who, query: &str) -> Outcome<Member> {
        let socket = self.socket.display();
        let target = match who {
            Who::Server => socket.to_string(),
            Who::Keyward | Who::KeywardTwo => self.url(query),
            Who::Tooz => format!("mysql://root@localhost/mysql?unix_socket={socket}"),
        };
        member(who, &target)
    }
}

/// A process that locks as one of them does, where it is told.
pub(crate) fn member(who: Who, target: &str) -> Outcome<Member> {
    let mut command = if who == Who::Tooz {
        static FOUND: OnceLock<Outcome<PathBuf>> = OnceLock::new();
        let find = || python("import tooz, pymysql", "tooz==9.1.0 and PyMySQL");
        let mut command = Command::new(FOUND.get_or_init(find).clone()?);
        command.args(["-c", include_str!("peers.py")]);
        command
    } else {
        again(child::HIDDEN)?
    };
    command.arg(who.argument()).arg(target);
    Member::start(command)
}

/// One that says once why it cannot, and then is left alone.
pub(crate) fn contestant(
    name: &'static str,
    mut run: impl FnMut() -> Outcome<f64> + 'static,
) -> Run {
    let mut failed = false;
    let each = move |_| {
        if failed {
            return None;
        }
        run()
            .inspect_err(|error| println!("n/a: {name}: {error}"))
            .inspect_err(|_| failed = true)
            .ok()
    };
    (name, Box::new(each))
}
