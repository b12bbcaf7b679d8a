//! Locks on files, between processes, and what can be wrong with them.
//!
//! A name's file is locked by `flock`, asked for again and again. The file is kept, and has a record of
//! the last token; or it is deleted at each release.
//!
//! Right is: only the kernel says that a holder is gone; a file is deleted by who has it locked, and a
//! locked file is a lock only while its path names it; and a record is read for what it is, by somebody
//! who knows that its writer may have been killed. Of each record the second half is written when the lock
//! is given up, so that a kill tears every one, and not one in a million.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use keyward::{
    Capability, Error, ErrorKind, Fencing, FencingToken, LockName, Locks, LossSignal,
    conformance::{Fixture, NotApplicable},
    contract::{Backend, Hold, Request, Wait},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    child,
    oracle::Oracle,
    peer::Peer,
    room::{Place, Room},
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// What has not been written to for a while is deleted, as of a dead holder.
    BrokenByAge,
    /// Half a record is a record.
    TornRecord,
    /// A release unlocks, and then deletes whatever is there; who has a lock has it on whatever file.
    UnlockThenUnlink,
}

impl Flaw {
    const ALL: [Self; 3] = [Self::BrokenByAge, Self::TornRecord, Self::UnlockThenUnlink];
}

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(2);

/// What is taken for the age of the dead: less than the suite's patience with a stopped holder.
const OLD: Duration = Duration::from_millis(600);

/// The bytes of a record, and how many of them are there while the lock is held.
const RECORD: usize = 21;
const FIRST_HALF: usize = 10;

/// Further than a lost record can have been ahead of the clock, in µs.
const AHEAD: u64 = 1_000_000;

/// A directory of the case's own.
pub(crate) struct Directory {
    directory: TempDir,
    options: Options,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    keeps: bool,
    flaw: Option<Flaw>,
}

impl Directory {
    /// Where files are kept, or are not.
    pub(crate) fn new(keeps: bool, flaw: Option<Flaw>) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { directory, options: Options { keeps, flaw } }
    }

    fn url(&self) -> String {
        let Options { keeps, flaw } = self.options;
        url(self.directory.path(), keeps, flaw)
    }
}

/// For another process: the options in front of the directory.
fn url(directory: &Path, keeps: bool, flaw: Option<Flaw>) -> String {
    format!("{keeps}:{flaw:?}:{}", directory.display())
}

impl Fixture for Directory {
    async fn connect(&self) -> Locks {
        connect(&self.url())
    }

    fn prefix(&self) -> &str {
        "victim-"
    }

    fn is_private(&self) -> bool {
        true
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Ok(child::command("child_entry", &self.url()))
    }
}

/// What [`url`] says.
pub(crate) fn connect(url: &str) -> Locks {
    let (keeps, rest) = url.split_once(':').unwrap();
    let (flaw, path) = rest.split_once(':').unwrap();
    let flaw = Flaw::ALL.into_iter().find(|known| format!("{:?}", Some(known)) == flaw);
    let options = Options { keeps: keeps.parse().unwrap(), flaw };
    Locks::builder().backend(Files { directory: path.into(), options })
}

#[derive(Debug)]
struct Files {
    directory: PathBuf,
    options: Options,
}

impl Files {
    /// Locks the file that the path names.
    async fn lock(&self, path: &Path, wait: Wait) -> io::Result<Option<File>> {
        let flaw = self.options.flaw;
        let mut file = open(path)?;
        loop {
            match file.try_lock() {
                Ok(()) if flaw == Some(Flaw::UnlockThenUnlink) => return Ok(Some(file)),
                Ok(()) if is_named(&file, path) => return Ok(Some(file)),
                Ok(()) => {
                    file = open(path)?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if flaw == Some(Flaw::BrokenByAge) && is_old(&file) {
                drop(fs::remove_file(path));
                file = open(path)?;
                continue;
            }
            if wait == Wait::No {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The token after the one in the record, and half of a record of it.
    fn next_token(&self, mut file: &File) -> io::Result<FencingToken> {
        let mut record = String::new();
        file.read_to_string(&mut record)?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let clock = u64::try_from(clock).unwrap();
        let is_torn = record.len() < RECORD && self.options.flaw != Some(Flaw::TornRecord);
        let token = match record.trim_end().parse::<u64>() {
            Ok(last) if !is_torn => last + 1,
            _ if record.is_empty() => clock,
            _ => clock + AHEAD,
        };
        file.set_len(0)?;
        write_at(file, 0, &encoded(token)[..FIRST_HALF])?;
        Ok(FencingToken::new(token))
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn is_named(file: &File, path: &Path) -> bool {
    let identity = |file: fs::Metadata| (file.dev(), file.ino());
    let ours = file.metadata().map(identity);
    matches!((ours, fs::metadata(path).map(identity)), (Ok(ours), Ok(there)) if ours == there)
}

fn is_old(file: &File) -> bool {
    let written = file.metadata().and_then(|file| file.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age >= OLD))
}

fn encoded(token: u64) -> Vec<u8> {
    format!("{token:0width$}\n", width = RECORD - 1).into_bytes()
}

fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

impl Backend for Files {
    type Hold = FileHold;

    async fn acquire(&self, name: &LockName, request: Request) -> Result<Option<FileHold>, Error> {
        let failed = |e: io::Error| Error::new(ErrorKind::Unavailable).with_source(e);
        let digest = Sha256::digest(name.as_bytes());
        let file: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.directory.join(file);
        let Some(file) = self.lock(&path, request.wait).await.map_err(failed)? else {
            return Ok(None);
        };
        let token = match self.options.keeps {
            true => Some(self.next_token(&file).map_err(failed)?),
            false => None,
        };
        Ok(Some(FileHold { file, path, token, signal: LossSignal::new(), options: self.options }))
    }

    fn capability(&self) -> Capability {
        let mut capability = Capability::new("files");
        capability.fencing = if self.options.keeps { Fencing::Clock } else { Fencing::Off };
        capability
    }
}

pub(crate) struct FileHold {
    file: File,
    path: PathBuf,
    token: Option<FencingToken>,
    signal: LossSignal,
    options: Options,
}

impl Drop for FileHold {
    /// Unlocks, and does not just close: a child that is being started has a copy of the descriptor until
    /// it has become another program. Nobody is told what fails.
    fn drop(&mut self) {
        if let Some(token) = self.token {
            let record = encoded(token.get());
            drop(write_at(&self.file, FIRST_HALF as u64, &record[FIRST_HALF..]));
        }
        if self.options.flaw == Some(Flaw::UnlockThenUnlink) {
            drop(self.file.unlock());
        }
        if !self.options.keeps {
            drop(fs::remove_file(&self.path));
        }
        drop(self.file.unlock());
    }
}

impl Hold for FileHold {
    async fn release(self) -> Result<bool, Error> {
        Ok(true)
    }

    async fn verify(&self) -> Result<(), Error> {
        Ok(())
    }

    fn watch(&self) -> LossSignal {
        self.signal.clone()
    }

    fn token(&self) -> Option<FencingToken> {
        self.token
    }
}

/// How often each of the processes that the oracle judges has the lock.
const ROUNDS: u64 = 300;

/// Three processes hold one name over and over, and who does not know what they lock with judges.
pub(crate) fn judge(keeps: bool, flaw: Option<Flaw>) {
    let room = Room::new(Place::Disk);
    let mut oracle = Oracle::new(&room);
    let url = url(&room.locks(), keeps, flaw);
    let mut peers = [(); 3].map(|()| Peer::keyward_at(&url, "", "volume"));
    for (number, peer) in peers.iter_mut().enumerate() {
        let request = oracle.request(&format!("looper-{number}"));
        peer.send(&request.with("rounds", ROUNDS.to_string()).with("gap", "1000"));
    }
    for peer in &peers {
        let answer = peer.answer();
        assert!(answer.starts_with(&format!("ok {ROUNDS} ")), "{answer}");
    }
    oracle.read();
    assert_eq!(oracle.overlaps, [""; 0], "{} of {}", oracle.overlaps.len(), oracle.acquisitions());
    assert_eq!(oracle.disorders, [""; 0]);
    assert_eq!(oracle.acquisitions(), 3 * ROUNDS);
}
