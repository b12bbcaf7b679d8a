//! How a lock is obtained: at once if nobody is in the way, else in the queue, else by polling.
//!
//! * **S1** The first try is on an idle file of ours, if there is one; every *wait* is on a file that
//!   is opened for it ([W1](super::wait)).
//! * **S2** A process may take a lock that it has just had without looking who waits, for
//!   [`BARGING`] at a stretch. Readers always look, or writers would starve.
//! * **S3** A lock counts once [`LockFile::settle`] says so.
#![forbid(unsafe_code)]

use std::{
    hash::{BuildHasher, Hasher},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{Either, select};
use tokio::time::sleep;

use super::{
    FileOptions,
    cache::Cache,
    dir::LockDir,
    errors,
    lock_file::{LockFile, Locked, Settled},
    loss::Watcher,
    ofd::{self, WHOLE},
    polite,
    queue::{self, Line, Place, Queue, Ticket},
    wait::{Desk, Pool, Stopped},
};
use crate::{
    contract::{Mode, Request, Wait},
    error::{Error, ErrorKind},
};

/// For how long a process may barge, counted from when it did so first. Strict order costs a wake-up
/// for each lock. Eight processes that do nothing but lock: DESIGN.md has the figures for 100, 200 and
/// 400 µs; at 400 the difference between the processes becomes too large.
pub(super) const BARGING: Duration = Duration::from_micros(200);

/// The shortest and the longest pause of a poller, which is random and grows from one to the other.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// What all holds of one backend share.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: LockDir,
    pub(super) options: FileOptions,
    pub(super) cache: Cache,
    pub(super) queue: Queue,
    pub(super) pool: Pool,
    pub(super) watcher: Watcher,
    /// Of the process that has connected: its threads and open files are not for a forked child.
    pub(super) forks: u32,
}

/// What one try has come to.
enum Tried {
    Held(Locked),
    /// Somebody else holds it, or is to have it first. The file, if it may be used for waiting.
    Busy(Option<Box<LockFile>>),
    /// The file is not what the path names any more.
    Gone,
    /// Pollers have their turn.
    Gap(Duration),
}

impl Store {
    /// Whether calls into the filesystem may take long.
    pub(super) fn is_slow(&self) -> bool {
        !self.dir.is_local
    }

    pub(super) fn line(&self, file: &LockFile) -> Option<Line> {
        self.queue.line(file.id)
    }

    pub(super) async fn obtain(
        self: &Arc<Self>,
        key: &[u8],
        request: Request,
    ) -> Result<Option<Locked>, Error> {
        // What waits is boxed: its futures are large, and the usual case pays for none of them.
        if self.is_slow() {
            self.check_process()?;
            return Box::pin(self.obtain_slowly(key, request)).await;
        }
        match self.obtain_now(key, request)? {
            Some(locked) => Ok(Some(locked)),
            None if request.wait == Wait::No => Ok(None),
            None => Box::pin(self.wait(key, request)).await.map(Some),
        }
    }

    /// A forked child would share descriptions with its parent, and so locks.
    fn check_process(&self) -> Result<(), Error> {
        if self.forks == ofd::forks() {
            return Ok(());
        }
        let message =
            "these locks belong to the process that this one was forked from: connect anew";
        Err(Error::new(ErrorKind::Unavailable).with_message(message))
    }

    /// As far as it needs no wait.
    pub(super) fn obtain_now(&self, key: &[u8], request: Request) -> Result<Option<Locked>, Error> {
        self.check_process()?;
        loop {
            match self.first_try(key, request)? {
                Tried::Held(locked) => return Ok(Some(locked)),
                Tried::Gone => self.refresh()?,
                Tried::Busy(_) | Tried::Gap(_) => return Ok(None),
            }
        }
    }

    /// Does what may take long, on a filesystem that may: by a thread, if there is one.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if self.is_slow() { self.on_thread(work).await } else { Ok(work()) }
    }

    /// Does it by a thread, in any case.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let lost = || Error::new(ErrorKind::ResourceLimit).with_message("no thread is left");
        let job = self.pool.run(move |_| (work(), || ())).ok_or_else(lost)?;
        job.await.ok_or_else(lost)
    }

    /// Follows the path, once a file was not what it names: the whole directory may be another.
    fn refresh(&self) -> Result<(), Error> {
        self.dir.refresh().map_err(|e| errors::at("open", self.dir.path(), e))
    }

    fn first_try(&self, key: &[u8], request: Request) -> Result<Tried, Error> {
        let mut file = match self.cache.take(key) {
            Some(file) => file,
            None => LockFile::open(&self.dir, key)?,
        };
        let now = Instant::now();
        let barges = request.mode == Mode::Exclusive
            && file.streak.is_some_and(|since| now.saturating_duration_since(since) < BARGING);
        if !barges {
            if self.line(&file).is_some_and(|line| line.has_waiters()) {
                self.cache.put(file);
                return Ok(Tried::Busy(None));
            }
            file.streak = Some(now);
        }
        let tried = self.attempt(file, request, now)?;
        let Tried::Busy(Some(file)) = tried else { return Ok(tried) };
        // A file that is held, but is not the one of this name any more, keeps nobody from it.
        if !file.is_named().map_err(|e| errors::lock_file("look at", e))? {
            return Ok(Tried::Gone);
        }
        self.cache.put(file);
        Ok(Tried::Busy(None))
    }

    /// One try on a file, whoever waits.
    fn attempt(&self, file: Box<LockFile>, request: Request, now: Instant) -> Result<Tried, Error> {
        if let Some(gap) = request.polite {
            let left = polite::gap_left(file.fd(), gap);
            if let Some(left) = left.map_err(|e| errors::lock_file("read", e))? {
                return Ok(Tried::Gap(left));
            }
        }
        if !file.try_lock(request.mode)? {
            return Ok(Tried::Busy(Some(file)));
        }
        match file.settle(&self.dir, request.mode, self.options.fencing, request.polite, now)? {
            Settled::Held(locked) => Ok(Tried::Held(locked)),
            Settled::Gone => Ok(Tried::Gone),
            Settled::Gap(_, left) => Ok(Tried::Gap(left)),
        }
    }

    /// Waits in the queue and in the kernel, and doubts the queue now and then.
    async fn wait(self: &Arc<Self>, key: &[u8], request: Request) -> Result<Locked, Error> {
        let (store, name) = (Arc::clone(self), key.to_vec());
        let job = move |desk: &Desk| {
            let mut ticket = None;
            let mut outcome = store.stand_in_line(desk, &name, request, &mut ticket);
            // The next in the queue comes to its head while we hold, off the way of the hand-over; but
            // if we are back sooner, the ticket goes before the lock, or others would see a queue.
            let place = Place::new(ticket);
            if let Ok(locked) = &mut outcome {
                locked.place = Some(place.clone());
            }
            (outcome, move || place.leave())
        };
        let parked = if self.pool.can_wait() { self.pool.run(job) } else { None };
        let Some(mut parked) = parked else {
            return self.poll(key, request).await;
        };
        let mut locked = match select(&mut parked, pin!(self.doubt(key, request))).await {
            Either::Left((outcome, _)) => finished(outcome)?,
            Either::Right((locked, _)) => locked?,
        };
        locked.begin_streak(Instant::now());
        Ok(locked)
    }

    /// Finds out, each time patience is over, whether the queue stands still (Q3), and then takes the
    /// lock.
    async fn doubt(&self, key: &[u8], request: Request) -> Result<Locked, Error> {
        let failed = |e| errors::lock_file("look at", e);
        let mut kept: Option<Box<LockFile>> = None;
        let mut patience = queue::PATIENCE;
        loop {
            sleep(patience).await;
            patience = queue::LATER_PATIENCE;
            // Open as long as it is the file of that name: who waits does nothing else each second.
            let file = match kept.take() {
                Some(file) if file.is_named().map_err(failed)? => file,
                _ => match LockFile::open(&self.dir, key) {
                    // No file is left to look with; the wait has its own, and goes on.
                    Err(e) if e.kind() == ErrorKind::ResourceLimit => continue,
                    opened => opened?,
                },
            };
            let locked = || ofd::conflict(file.fd(), request.mode, WHOLE).map_err(failed);
            if locked()?.is_some() {
                kept = Some(file);
                continue;
            }
            let line = self.line(&file);
            let first = || line.as_ref().map(Line::first);
            let before = first();
            sleep(queue::PAUSE).await;
            if before != first() {
                kept = Some(file); // it moves
                continue;
            }
            match self.attempt(file, request, Instant::now())? {
                Tried::Held(locked) => {
                    // With no other process in it, it is not in the way.
                    if let (Some(line), Some(Some(_))) = (line, before) {
                        line.distrust();
                    }
                    return Ok(locked);
                }
                Tried::Gone => self.refresh()?,
                Tried::Busy(file) => kept = file,
                Tried::Gap(_) => {}
            }
        }
    }

    /// The job of a thread: the queue, then the kernel's. The ticket is the caller's to give up.
    fn stand_in_line(
        &self,
        desk: &Desk,
        key: &[u8],
        request: Request,
        ticket: &mut Option<Ticket>,
    ) -> Outcome {
        loop {
            let mut file = LockFile::open(&self.dir, key)?;
            *ticket = self.line(&file).and_then(Line::enqueue);
            if let Some(ticket) = ticket {
                ticket.wait(desk).map_err(Ended::from)?;
            }
            loop {
                desk.lock(file.fd(), request.mode, WHOLE)?;
                let now = Instant::now();
                match file.settle(
                    &self.dir,
                    request.mode,
                    self.options.fencing,
                    request.polite,
                    now,
                )? {
                    Settled::Held(locked) => return Ok(locked),
                    Settled::Gone => {
                        self.refresh()?;
                        break;
                    }
                    Settled::Gap(same, left) => {
                        file = same;
                        desk.pause(left)?;
                    }
                }
            }
        }
    }

    /// Tries again and again.
    async fn poll(self: &Arc<Self>, key: &[u8], request: Request) -> Result<Locked, Error> {
        let (store, name) = (Arc::clone(self), key.to_vec());
        let job = move |desk: &Desk| (store.poll_on_thread(desk, &name, request), || ());
        if let Some(parked) = self.pool.run(job) {
            return finished(parked.await);
        }
        let mut pauses = Pauses::new();
        loop {
            match self.attempt(LockFile::open(&self.dir, key)?, request, Instant::now())? {
                Tried::Held(locked) => return Ok(locked),
                Tried::Gap(left) => sleep(left).await,
                Tried::Gone => self.refresh()?,
                Tried::Busy(_) => sleep(pauses.next()).await,
            }
        }
    }

    fn poll_on_thread(&self, desk: &Desk, key: &[u8], request: Request) -> Outcome {
        let mut pauses = Pauses::new();
        loop {
            match self.attempt(LockFile::open(&self.dir, key)?, request, Instant::now())? {
                Tried::Held(locked) => return Ok(locked),
                Tried::Gone => {
                    self.refresh()?;
                    desk.pause(Duration::ZERO)?; // where files keep changing: not for ever
                }
                _ if request.wait == Wait::No => return Err(Ended::Cancelled),
                Tried::Gap(left) => desk.pause(left)?,
                Tried::Busy(_) => desk.pause(pauses.next())?,
            }
        }
    }

    /// On a filesystem that may take its time, everything is done by a thread.
    async fn obtain_slowly(
        self: &Arc<Self>,
        key: &[u8],
        request: Request,
    ) -> Result<Option<Locked>, Error> {
        let (store, name) = (Arc::clone(self), key.to_vec());
        let job = move |desk: &Desk| (store.poll_on_thread(desk, &name, request), || ());
        let Some(parked) = self.pool.run(job) else {
            let message = "no thread is left that could wait for a filesystem that is not local";
            return Err(Error::new(ErrorKind::ResourceLimit).with_message(message));
        };
        match parked.await {
            Some(Err(Ended::Cancelled)) if request.wait == Wait::No => Ok(None),
            outcome => finished(outcome).map(Some),
        }
    }
}

type Outcome = Result<Locked, Ended>;

/// How a job ends without a lock.
enum Ended {
    /// Nobody is interested any more; or, of a try, the lock was not to be had.
    Cancelled,
    Failed(Error),
}

impl From<Stopped> for Ended {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Cancelled => Self::Cancelled,
            Stopped::Failed(e) => Self::Failed(errors::lock_file("wait for", e)),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// `None` if the thread has panicked.
fn finished(outcome: Option<Outcome>) -> Result<Locked, Error> {
    match outcome {
        Some(Ok(locked)) => Ok(locked),
        Some(Err(Ended::Failed(error))) => Err(error),
        Some(Err(Ended::Cancelled)) | None => {
            let message = "the thread that waited for the lock has ended without it";
            Err(Error::new(ErrorKind::Unavailable).with_message(message))
        }
    }
}

/// Growing pauses with a random part, so that pollers do not stay in step.
struct Pauses {
    longest: Duration,
    random: std::hash::DefaultHasher,
}

impl Pauses {
    fn new() -> Self {
        // std seeds each of these at random.
        let random = std::hash::RandomState::new().build_hasher();
        Self { longest: PAUSES[0], random }
    }

    fn next(&mut self) -> Duration {
        self.random.write_u8(0);
        let part = self.random.finish() as u32 % 1024;
        let pause = PAUSES[0].max(self.longest * part / 1024);
        self.longest = (self.longest * 2).min(PAUSES[1]);
        pause
    }
}
