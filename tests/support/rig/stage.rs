//! Where a row is played: its store, its journal, and what it has found so far.
#![allow(dead_code, reason = "each binary uses a part of it")]
#![allow(unsafe_code, reason = "the lock of a file is asked for by a system call of our own")]

use std::{
    fs::{self, File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use keyward::{Error, Lease, Locks, Released};

use crate::{
    oracle::{Journal, Turn, judge},
    report::Outcome,
    room::Room,
    server::{Kind, Server},
    sessions::{SLACK, connect, millis, secs, soon, until_clean, until_waiters, url},
};

/// What a row is played on.
#[derive(Clone, Copy)]
pub(crate) enum Backend {
    Registry,
    Memory,
    File,
    MySql(&'static Kind),
}

impl Backend {
    /// As it stands in the report: the first server is `mysql`, others have their version.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Registry => "registry".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::File => "file".to_owned(),
            Self::MySql(kind) if std::ptr::eq(kind, Kind::mariadb()) => "mysql".to_owned(),
            Self::MySql(kind) => format!("mysql-{}", kind.version()),
        }
    }
}

pub(crate) struct Stage {
    pub(crate) backend: Backend,
    /// How often the row is to run.
    pub(crate) runs: usize,
    pub(crate) journal: Arc<Journal>,
    room: Room,
    outcome: Mutex<Outcome>,
}

impl Stage {
    pub(crate) fn new(backend: Backend, runs: usize) -> Arc<Self> {
        let room = Room::new();
        let journal = Journal::open(&room.path().join("journal"));
        Arc::new(Self { backend, runs, journal, room, outcome: Mutex::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.room.path()
    }

    pub(crate) fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine does not let it be played: the line says so, and that it ran 0 times.
    pub(crate) fn not_run(&self, why: impl Into<String>) {
        self.outcome().not_run = Some(why.into());
    }

    /// One run has been made.
    pub(crate) fn ran(&self) {
        self.outcome().runs += 1;
    }

    pub(crate) fn took(&self, what: &'static str, time: Duration) {
        self.outcome().times.entry(what).or_default().push(time);
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.outcome().notes.push(note.into());
    }

    /// A line of the row's own.
    pub(crate) fn line(&self, line: String) {
        self.outcome().table.push(line);
    }

    pub(crate) fn violation(&self, violation: impl Into<String>) {
        self.outcome().violations.push(violation.into());
    }

    /// It must be so.
    pub(crate) fn check(&self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so {
            self.violation(otherwise());
        }
    }

    /// It took no longer than that. Bounds are generous: what counts is the figure. Of what the limit grants to
    /// a busy machine, [`SLACK`], half of the runs have no need but for a second.
    pub(crate) fn took_at_most(&self, what: &'static str, time: Duration, limit: Duration) {
        self.took(what, time);
        if let Some(promised) = limit.checked_sub(SLACK) {
            self.outcome().usual.insert(what, promised + secs(1));
        }
        self.check(time <= limit, || format!("{what} took {time:?}, more than {limit:?}"));
    }

    /// The server of the row, if it has one.
    pub(crate) fn kind(&self) -> &'static Kind {
        match self.backend {
            Backend::MySql(kind) => kind,
            _ => panic!("the row needs a server"),
        }
    }

    /// Where `Locks` of this row meet, with options for servers, as in `ttl=3`.
    pub(crate) fn url(&self, options: &str) -> String {
        match self.backend {
            // The path is the row's own, and a process's.
            Backend::Memory => {
                format!("memory:{}", self.path().file_name().unwrap().to_string_lossy())
            }
            _ => self.store().url(options),
        }
    }

    pub(crate) fn store(&self) -> Store {
        match self.backend {
            Backend::File => Store::File(self.room.dir()),
            Backend::MySql(kind) => Store::MySql(kind.shared()),
            _ => panic!("the row needs a store that other processes reach"),
        }
    }

    /// Plays all runs, so many at a time.
    #[expect(clippy::future_not_send, reason = "rows know what they give, and are sent")]
    pub(crate) async fn each<F: Future<Output = ()>>(
        &self,
        at_once: usize,
        run: impl Fn(usize) -> F,
    ) {
        let runs = stream::iter(0..self.runs).map(|i| {
            let run = run(i);
            async {
                run.await;
                self.ran();
            }
        });
        runs.buffer_unordered(at_once).collect::<()>().await;
    }

    /// What the journal says, which must be nothing bad. Where the docs say that two may believe for a
    /// moment that they hold, as a session that is killed is told of it later, an overlap that ends with
    /// the news of the loss, within `told_within`, is a note. Every other one is a violation.
    ///
    /// Returns how many holds there were, and how long each was waited for.
    pub(crate) fn judge(
        &self,
        least: usize,
        told_within: Option<Duration>,
    ) -> (usize, Vec<Duration>) {
        let verdict = judge(self.journal.read());
        self.check(verdict.holds >= least, || format!("{} holds, not {least}", verdict.holds));
        for disorder in verdict.disorders.iter().chain(&verdict.clashes) {
            self.violation(disorder);
        }
        let (mut told, mut longest) = (0, Duration::ZERO);
        for overlap in &verdict.overlaps {
            let time = Duration::from_nanos(overlap.time);
            if overlap.told && told_within.is_some_and(|limit| time <= limit) {
                (told, longest) = (told + 1, longest.max(time));
            } else {
                self.violation(format!("{} for {time:?}", overlap.who));
            }
        }
        if told_within.is_some() {
            self.note(format!(
                "the next one was there before the loss was told in {told} of {} holds, for \
                 {longest:.1?} at most",
                verdict.holds,
            ));
        }
        if verdict.maybe > 0 {
            self.note(format!("{} may have held", verdict.maybe));
        }
        if verdict.excused > 0 {
            self.note(format!("{} witnesses of the dead", verdict.excused));
        }
        let waits = verdict.waits.iter().map(|&wait| Duration::from_nanos(wait));
        (verdict.holds, waits.collect())
    }
}

/// A store that several processes reach, and that can be asked without keyward.
#[derive(Clone)]
pub(crate) enum Store {
    File(PathBuf),
    MySql(&'static Server),
}

impl Store {
    /// With options for servers, as in `ttl=3`.
    pub(crate) fn url(&self, options: &str) -> String {
        match self {
            Self::File(dir) => format!("file://{}", dir.display()),
            Self::MySql(server) => url(server, options),
        }
    }

    pub(crate) async fn connect(&self, options: &str) -> Locks {
        connect(self.url(options)).await
    }

    pub(crate) async fn until_waiters(&self, name: &str, count: u64) {
        match self {
            Self::File(dir) => {
                soon("the waits", async {
                    while blocked(dir) < count {
                        tokio::time::sleep(millis(1)).await;
                    }
                })
                .await;
            }
            Self::MySql(server) => until_waiters(server, name, count).await,
        }
    }

    /// Until nobody holds the name or waits for it, as the store itself sees it.
    pub(crate) async fn until_clean(&self, name: &str, limit: Duration) {
        match self {
            Self::File(dir) => {
                let begun = Instant::now();
                while !is_free(&dir.join(name)) || blocked(dir) > 0 {
                    assert!(begun.elapsed() < limit, "somebody is left at {name}");
                    tokio::time::sleep(millis(1)).await;
                }
            }
            Self::MySql(server) => until_clean(server, &[name], limit).await,
        }
    }
}

/// How many wait in the kernel for locks of files of a directory, its queue included.
fn blocked(dir: &Path) -> u64 {
    fn inodes(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => inodes(&entry.path(), found),
                Ok(meta) => found.push(format!(":{} ", meta.ino())),
                Err(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    inodes(dir, &mut found);
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let waits = locks.lines().filter(|line| line.contains("->"));
    waits.filter(|line| found.iter().any(|inode| line.contains(inode))).count() as u64
}

/// Whether the kernel would give the lock of a file to somebody who comes now.
pub(crate) fn is_free(path: &Path) -> bool {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => try_lock(&file),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// `F_OFD_SETLK` of the whole file; the lock ends with the file.
fn try_lock(file: &File) -> bool {
    // SAFETY: plain data; all zeroes is the whole file.
    let mut flock: libc::flock = unsafe { std::mem::zeroed() };
    flock.l_type = libc::F_WRLCK as i16;
    // SAFETY: the descriptor is open, and the call only reads the struct.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const flock) == 0 }
}

/// A lease of ours, and its lines in the journal.
pub(crate) struct Section {
    pub(crate) lease: Lease,
    turn: Arc<Turn>,
    /// When it was had.
    pub(crate) at: Instant,
}

impl Section {
    /// Waits for a name.
    pub(crate) async fn wait(
        journal: Arc<Journal>,
        locks: Locks,
        name: String,
    ) -> Result<Self, Error> {
        let turn = Arc::new(journal.asked(&name));
        match locks.lock_named(name).await {
            Ok(lease) => {
                let at = Instant::now();
                turn.granted(lease.fencing_token().map(keyward::FencingToken::get));
                Ok(Self { lease, turn, at })
            }
            Err(e) => {
                turn.refused();
                Err(e)
            }
        }
    }

    /// As a task of its own, which has its lease when it has it, whoever looks.
    pub(crate) fn spawn(
        stage: &Stage,
        locks: &Locks,
        name: &str,
    ) -> tokio::task::JoinHandle<Result<Self, Error>> {
        let (journal, locks) = (Arc::clone(&stage.journal), locks.clone());
        tokio::spawn(Self::wait(journal, locks, name.to_owned()))
    }

    pub(crate) async fn lock(stage: &Stage, locks: &Locks, name: &str) -> Self {
        soon(name, Self::spawn(stage, locks, name)).await.unwrap().unwrap()
    }

    /// It does nothing more with what it holds.
    pub(crate) fn leaves(&self) {
        self.turn.left();
    }

    /// When its loss is told.
    pub(crate) fn told(&self) -> tokio::task::JoinHandle<Instant> {
        let (lost, turn) = (self.lease.lost(), Arc::clone(&self.turn));
        tokio::spawn(async move {
            lost.await;
            let at = Instant::now();
            turn.told();
            at
        })
    }

    /// Gives it up; it must have been held all the time. Returns when it began to.
    pub(crate) async fn release(self) -> Instant {
        self.turn.left();
        let begun = Instant::now();
        let released = soon("a release", self.lease.release()).await;
        assert_eq!(released.unwrap(), Released::Released);
        begun
    }

    /// Gives it up, where the answer may be late.
    pub(crate) async fn release_slowly(self) -> Result<Released, Error> {
        self.turn.left();
        soon("a release", self.lease.release()).await
    }

    /// Gives up what is lost.
    pub(crate) async fn bury(self, stage: &Stage) {
        self.turn.left();
        let state = self.lease.state();
        let is_lost = matches!(state, keyward::LeaseState::Lost(_));
        stage.check(is_lost, || format!("{state:?} after the loss was told"));
        let checked = soon("a check", self.lease.ensure_held()).await;
        stage.check(checked.as_ref().is_err_and(Error::is_lost), || format!("{checked:?}"));
        let released = within_or_error(self.lease.release()).await;
        stage.check(released != Ok(Released::Released), || "a lost lease was released".to_owned());
    }
}

async fn within_or_error(
    release: impl Future<Output = Result<Released, Error>>,
) -> Result<Released, String> {
    let released = tokio::time::timeout(secs(30), release).await;
    released.map_err(|_| "no end".to_owned())?.map_err(|e| e.to_string())
}

/// Two locks of one name that know nothing of each other.
#[tokio::test]
async fn two_holders_are_found() {
    let stage = Stage::new(Backend::File, 1);
    let store = |dir: &str| Store::File(stage.path().join(dir));
    let (one, two) = (store("one").connect("").await, store("two").connect("").await);
    let first = Section::lock(&stage, &one, "a").await;
    assert!(!is_free(&stage.path().join("one/a")) && is_free(&stage.path().join("two/a")));
    let second = Section::lock(&stage, &two, "a").await;
    first.release().await;
    second.release().await;
    stage.judge(2, Some(secs(3600))); // nobody was told of a loss: there is no excuse
    let violations = stage.outcome().violations.clone();
    assert!(
        violations.iter().any(|violation| violation.contains(" hold a for ")),
        "{violations:?}"
    );
    // And what has not been played is no success.
    stage.judge(3, None);
    assert!(stage.outcome().violations.iter().any(|violation| violation == "2 holds, not 3"));
}
