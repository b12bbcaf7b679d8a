//! Who locks: keyward, what Rust programs do today, and two libraries of Python's.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::OnceLock,
};

use distributed_lock_core::traits::{DistributedLock, LockProvider};
use distributed_lock_file::{FileDistributedLock, FileLockHandle, FileLockProvider};
use keyward_benches::crew::{Outcome, again, python, text};
use tokio::runtime::Builder;

use crate::{
    lost_update::{
        leased::{Leased, NAME},
        worker::{self, Lock, Orders},
    },
    naive::Naive,
};

/// The first argument of a process that works.
pub(crate) const HIDDEN: &str = "member-of-the-crew";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    KeywardFile,
    KeywardBlind,
    KeywardCareful,
    DistributedLock,
    Std,
    Fasteners,
    Naive,
    NaiveShort,
    Tooz,
}

impl Who {
    pub(crate) const ALL: [Self; 9] = [
        Self::KeywardFile,
        Self::KeywardBlind,
        Self::KeywardCareful,
        Self::DistributedLock,
        Self::Std,
        Self::Fasteners,
        Self::Naive,
        Self::NaiveShort,
        Self::Tooz,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeywardFile => "keyward file:, blind",
            Self::KeywardBlind => "keyward mysql:, ttl 3 s, blind",
            Self::KeywardCareful => "keyward mysql:, ttl 3 s, careful",
            Self::DistributedLock => "distributed-lock-file 0.2",
            Self::Std => "std File::lock",
            Self::Fasteners => "fasteners 0.20 (Python)",
            Self::Naive => "naive GET_LOCK (sqlx)",
            Self::NaiveShort => "naive GET_LOCK (sqlx), wait_timeout 3 s",
            Self::Tooz => "tooz 9.1 mysql (Python)",
        }
    }

    /// Its name in figures, among the words, and among the arguments of a process.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::KeywardFile => "keyward-file",
            Self::KeywardBlind => "keyward-mysql-blind",
            Self::KeywardCareful => "keyward-mysql-careful",
            Self::DistributedLock => "distributed-lock-file",
            Self::Std => "std-flock",
            Self::Fasteners => "fasteners",
            Self::Naive => "naive-mysql",
            Self::NaiveShort => "naive-mysql-short",
            Self::Tooz => "tooz-mysql",
        }
    }

    /// Which is to be keyward, here.
    pub(crate) const fn has_tokens(self) -> bool {
        matches!(self, Self::KeywardFile | Self::KeywardBlind | Self::KeywardCareful)
    }

    pub(crate) const fn is_on_files(self) -> bool {
        matches!(self, Self::KeywardFile | Self::DistributedLock | Self::Std | Self::Fasteners)
    }

    /// Whether a holder that is stopped for longer than the ttl has lost the lock.
    pub(crate) const fn loses(self) -> bool {
        matches!(self, Self::KeywardBlind | Self::KeywardCareful | Self::NaiveShort)
    }
}

/// The process that works.
pub(crate) fn command(who: Who, target: &str, orders: &Orders) -> Outcome<Command> {
    static PYTHON: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    let mut command = if matches!(who, Who::Fasteners | Who::Tooz) {
        let imports = "import fasteners, pymysql, tooz";
        let find = || python(imports, "fasteners==0.20, tooz==9.1.0 and PyMySQL");
        let mut command = Command::new(PYTHON.get_or_init(find).clone()?);
        command.args(["-c", include_str!("peers.py")]);
        command
    } else {
        again(HIDDEN)?
    };
    command.arg(who.argument()).arg(target).args(orders.words());
    Ok(command)
}

/// In that process: `WHO TARGET` and the orders.
pub(crate) fn work(arguments: &[String]) -> ExitCode {
    let [who, target, orders @ ..] = arguments else { panic!("WHO TARGET ORDERS") };
    let who = Who::ALL.into_iter().find(|known| known.argument() == who).expect("a known one");
    let orders = Orders::parse(orders).expect("the orders");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(lock(who, target, orders)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", who.name());
            ExitCode::FAILURE
        }
    }
}

async fn lock(who: Who, target: &str, orders: Orders) -> Outcome<()> {
    let ended = worker::until_told();
    match who {
        Who::KeywardFile => {
            let lock = Leased::connect(&format!("file://{target}"), false).await?;
            worker::run(orders, lock, &ended).await
        }
        Who::KeywardBlind | Who::KeywardCareful => {
            let careful = who == Who::KeywardCareful;
            let lock = Leased::connect(&format!("{target}&ttl=3"), careful).await?;
            worker::run(orders, lock, &ended).await
        }
        Who::DistributedLock => {
            let provider = FileLockProvider::new(Path::new(target)).map_err(text)?;
            let lock = Distributed { lock: provider.create_lock(NAME), held: None };
            worker::run(orders, lock, &ended).await
        }
        Who::Std => {
            let path = Path::new(target).join(NAME);
            let file = File::options().read(true).append(true).create(true).open(path);
            worker::run(orders, Flock(file.map_err(text)?), &ended).await
        }
        Who::Naive | Who::NaiveShort => {
            let lock = Naive::new(target, who == Who::NaiveShort);
            worker::run(orders, lock, &ended).await
        }
        Who::Fasteners | Who::Tooz => Err("it is not written in Rust".to_owned()),
    }
}

/// One file that nobody removes. It blocks the thread, which has nothing else to do.
struct Flock(File);

impl Lock for Flock {
    async fn acquire(&mut self) -> Outcome<Option<u64>> {
        self.0.lock().map_err(text)?;
        Ok(None)
    }

    async fn release(&mut self) -> Outcome<bool> {
        self.0.unlock().map_err(text)?;
        Ok(true)
    }
}

struct Distributed {
    lock: FileDistributedLock,
    held: Option<FileLockHandle>,
}

impl Lock for Distributed {
    async fn acquire(&mut self) -> Outcome<Option<u64>> {
        self.held = Some(self.lock.acquire(None).await.map_err(text)?);
        Ok(None)
    }

    async fn release(&mut self) -> Outcome<bool> {
        drop(self.held.take());
        Ok(true)
    }
}
