//! Threads that wait in the kernel, and how a wait is cancelled.
//!
//! A wait for a record lock blocks a thread. One thread does one wait at a time, and there is at most
//! one wait for each key of a process, so threads are as many as *contended* keys, never as many as
//! tasks. A thread that has nothing to do for [`IDLE`] ends.
//!
//! Invariants:
//!
//! * **W1** A job owns what it waits with (a file of its own): a job that is granted the lock after it
//!   was cancelled frees its own grant and nobody else's.
//! * **W2** `Desk::job` is the number of the job that the thread is at, and changes only under the
//!   desk's mutex. Who cancels holds it, so he never interrupts a later job for good: at worst it
//!   makes one call again.
//! * **W3** A cancel is not lost, wherever it comes: see [`ofd::Pending`].
#![forbid(unsafe_code)]

use std::{
    fmt,
    future::Future,
    io,
    os::fd::BorrowedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::ofd::{self, Pending, Range};
use crate::contract::Mode;

/// How many threads a `Locks` has at most; beyond that, waiting is polling.
const MOST: usize = 256;

/// How long a thread stays for a next job, so that a contended key does not start one each time.
const IDLE: Duration = Duration::from_secs(10);

/// A job waits in system calls and needs little more; debug builds need most of this.
const STACK: usize = 128 * 1024;

/// The threads of one backend.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    /// None if no signal may be used: then nothing waits in the kernel.
    signal: Option<i32>,
    idle: Mutex<Vec<Arc<Desk>>>,
    threads: AtomicUsize,
}

type Job = Box<dyn FnOnce(&Desk) + Send>;

/// A thread's place of work.
pub(super) struct Desk {
    signal: Option<i32>,
    pending: Pending,
    cancelled: AtomicBool,
    state: Mutex<State>,
    change: Condvar,
}

#[derive(Default)]
struct State {
    thread: i32,
    /// The number of the present job; 0 if there is none.
    job: u64,
    last_job: u64,
    next: Option<Job>,
    /// Nobody will bring another job.
    leaving: bool,
}

/// The wait was cancelled, or failed.
#[derive(Debug)]
pub(super) enum Stopped {
    Cancelled,
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(super) fn new(signal: Option<i32>) -> Self {
        let shared = Shared { signal, idle: Mutex::default(), threads: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Whether a job can wait in the kernel.
    pub(super) fn can_wait(&self) -> bool {
        self.shared.signal.is_some()
    }

    /// Gives a job to a thread; `None` if there is no thread for it. Dropping the future cancels it.
    ///
    /// The job returns what to do once its result is on the way to the future.
    pub(super) fn run<T: Send + 'static, D: FnOnce() + 'static>(
        &self,
        job: impl FnOnce(&Desk) -> (T, D) + Send + 'static,
    ) -> Option<Parked<T>> {
        let (sender, result) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            let (result, after) = job(desk);
            drop(sender.send(result)); // nobody there: the result is dropped, W1
            after();
        });
        let idle = lock(&self.shared.idle).pop();
        let desk = match idle {
            Some(desk) => desk,
            None => Shared::hire(&self.shared)?,
        };
        let number = desk.assign(job);
        Some(Parked { desk, number, result, done: false })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for desk in lock(&self.shared.idle).drain(..) {
            lock(&desk.state).leaving = true;
            desk.change.notify_all();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

impl Shared {
    /// A new thread, if there may be one more and the system has one.
    fn hire(this: &Arc<Self>) -> Option<Arc<Desk>> {
        let below = |threads| (threads < MOST).then_some(threads + 1);
        this.threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        let desk = Arc::new(Desk {
            signal: this.signal,
            pending: Pending::new(),
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
            change: Condvar::new(),
        });
        let thread = thread::Builder::new().name("keyward-wait".to_owned()).stack_size(STACK);
        let (mine, shared) = (Arc::clone(&desk), Arc::downgrade(this));
        match thread.spawn(move || mine.work(&shared)) {
            Ok(_) => Some(desk),
            Err(_) => {
                this.threads.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Desk {
    fn assign(&self, job: Job) -> u64 {
        let mut state = lock(&self.state);
        state.last_job += 1;
        state.job = state.last_job;
        state.next = Some(job);
        self.cancelled.store(false, Ordering::SeqCst);
        let number = state.job;
        drop(state);
        self.change.notify_all();
        number
    }

    /// The life of the thread.
    fn work(self: &Arc<Self>, pool: &Weak<Shared>) {
        ofd::block_other_signals(self.signal);
        lock(&self.state).thread = ofd::this_thread();
        while let Some(job) = self.next_job(pool) {
            // A panic is the future's to find out; the thread has other work to do.
            drop(catch_unwind(AssertUnwindSafe(|| job(self))));
            lock(&self.state).job = 0;
            match pool.upgrade() {
                Some(pool) => lock(&pool.idle).push(Arc::clone(self)),
                None => return,
            }
        }
        if let Some(pool) = pool.upgrade() {
            pool.threads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next_job(self: &Arc<Self>, pool: &Weak<Shared>) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.next.take() {
                return Some(job);
            }
            if state.leaving {
                return None;
            }
            let (back, timeout) =
                self.change.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if timeout.timed_out() && state.next.is_none() {
                // Whoever has taken us off the idle list is about to bring a job.
                drop(state);
                let pool = pool.upgrade()?;
                let mut idle = lock(&pool.idle);
                let me = idle.iter().position(|desk| Arc::ptr_eq(desk, self));
                if let Some(me) = me {
                    idle.swap_remove(me);
                    return None;
                }
                drop(idle);
                state = lock(&self.state);
            }
        }
    }

    /// Locks, and waits for it in the kernel.
    pub(super) fn lock(&self, fd: BorrowedFd<'_>, mode: Mode, range: Range) -> Result<(), Stopped> {
        loop {
            self.pending.prepare(mode, range);
            if self.is_cancelled() {
                return Err(Stopped::Cancelled);
            }
            match self.pending.wait(fd) {
                Ok(()) => return Ok(()),
                Err(_) if self.is_cancelled() => return Err(Stopped::Cancelled),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Does nothing for a while.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + time;
        let mut state = lock(&self.state);
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let woken = self.change.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(Stopped::Cancelled)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn cancel(&self, job: u64) {
        let state = lock(&self.state);
        if state.job != job {
            return; // it is done, W2
        }
        self.cancelled.store(true, Ordering::SeqCst);
        self.pending.poison();
        if let (Some(signal), true) = (self.signal, state.thread != 0) {
            ofd::interrupt(state.thread, signal);
        }
        drop(state);
        self.change.notify_all();
    }
}

/// A job under way. It is cancelled if this is dropped.
pub(super) struct Parked<T> {
    desk: Arc<Desk>,
    number: u64,
    result: oneshot::Receiver<T>,
    /// Nothing is left to cancel, and a signal would only be in the way.
    done: bool,
}

impl<T> Parked<T> {
    /// Lets the job run to its end, whoever wants to know.
    pub(super) fn detach(mut self) {
        self.done = true;
    }
}

impl<T> Future for Parked<T> {
    /// None if the job has panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let result = ready!(Pin::new(&mut self.result).poll(cx));
        self.done = true;
        Poll::Ready(result.ok())
    }
}

impl<T> Drop for Parked<T> {
    fn drop(&mut self) {
        if !self.done {
            self.desk.cancel(self.number);
        }
    }
}
