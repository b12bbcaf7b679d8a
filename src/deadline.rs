//! Deadlines that nothing of this process can hold up: not a busy runtime, not a suspended machine.
//!
//! A lease of a server ends at a time, whether we hear of it or not. That time is kept on a clock that
//! goes on while the machine sleeps ([`Boot`]), and watched by one thread of the process's own, which
//! does nothing else.
//!
//! 1. A deadline may move on at any time, without telling the thread: it looks again when it wakes.
//! 2. What is watched is not kept alive by that.
//! 3. [`Expires::expire`] is called at the deadline or after it, never before; the thread may be late,
//!    so whoever asks for a state looks at the clock as well.
#![forbid(unsafe_code)]

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// A point in time, in ns on a clock that goes on while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boot(u64);

impl Boot {
    pub(crate) fn now() -> Self {
        let now = clock();
        Self(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same moment on Tokio's clock, as seen now; that clock stands still while the machine is
    /// suspended, so ask again rather than keep it.
    pub(crate) fn to_instant(self) -> Instant {
        // In this order: who is stopped in between is told an earlier end, not a later one.
        let (now, boot) = (Instant::now(), Self::now());
        let ahead = now + self.saturating_since(boot);
        ahead.checked_sub(boot.saturating_since(self)).unwrap_or(now)
    }
}

impl std::ops::Add<Duration> for Boot {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(target_os = "linux")]
fn clock() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime)
}

/// The nearest thing there is.
#[cfg(not(target_os = "linux"))]
fn clock() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)
}

/// What has a deadline.
pub(crate) trait Expires: Send + Sync {
    /// When; none if there is nothing to expire at the moment.
    fn deadline(&self) -> Option<Boot>;

    /// It is past its deadline, as far as the thread has seen. Must not block.
    fn expire(&self);
}

/// The thread's list, and when it is to wake.
struct Watch {
    /// A forked child has the list, and not the thread.
    process: u32,
    all: Vec<Weak<dyn Expires>>,
    wakes: Option<Boot>,
    alarm: Arc<Alarm>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches it as long as it lives. To be called once for each.
///
/// # Errors
///
/// If the thread cannot be started.
pub(crate) fn watch(what: Weak<dyn Expires>) -> io::Result<()> {
    let mut watch = lock();
    let process = std::process::id();
    if watch.as_ref().is_none_or(|watch| watch.process != process) {
        let alarm = Arc::new(Alarm::new()?);
        let mine = Arc::clone(&alarm);
        let thread = thread::Builder::new().name("keyward-deadline".to_owned());
        thread.stack_size(128 * 1024).spawn(move || work(&mine))?;
        *watch = Some(Watch { process, all: Vec::new(), wakes: None, alarm });
    }
    let watch = watch.as_mut().expect("made above");
    watch.all.retain(|other| other.strong_count() > 0);
    watch.all.push(what);
    Ok(())
}

/// Something that is watched has got a deadline, or an earlier one.
pub(crate) fn arm(deadline: Boot) {
    if let Some(watch) = &mut *lock()
        && watch.wakes.is_none_or(|wakes| deadline < wakes)
    {
        watch.wakes = Some(deadline);
        watch.alarm.set(deadline);
    }
}

/// The life of the thread.
fn work(alarm: &Alarm) {
    loop {
        alarm.wait();
        let mut late = Vec::new();
        if let Some(watch) = &mut *lock() {
            let now = Boot::now();
            let mut next: Option<Boot> = None;
            watch.all.retain(|what| {
                let Some(what) = what.upgrade() else { return false };
                match what.deadline() {
                    Some(deadline) if deadline <= now => late.push(what),
                    Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                    None => {}
                }
                true
            });
            watch.wakes = next;
            if let Some(next) = next {
                alarm.set(next);
            }
        }
        for what in late {
            // Not under the mutex: it wakes tasks. Whoever panics at that does not end the thread.
            drop(panic::catch_unwind(AssertUnwindSafe(|| what.expire())));
            // It may have moved on at the last moment, and then nobody else has it in mind.
            if let Some(deadline) = what.deadline() {
                arm(deadline);
            }
        }
    }
}

/// What the thread sleeps on.
#[cfg(target_os = "linux")]
struct Alarm(rustix::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Alarm {
    fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        Ok(Self(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?))
    }

    fn set(&self, at: Boot) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        // Zero would switch it off.
        let at = at.as_nanos().max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at % 1_000_000_000).unwrap_or(0),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        // It cannot fail on a timer of our own with a value in range.
        drop(timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &value));
    }

    fn wait(&self) {
        let mut count = [0; 8];
        if rustix::io::read(&self.0, &mut count).is_err() {
            thread::sleep(Duration::from_millis(100)); // interrupted, or worse: look all the same
        }
    }
}

/// Without such a timer, looking four times a second is what there is.
#[cfg(not(target_os = "linux"))]
struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn set(&self, _: Boot) {}

    fn wait(&self) {
        thread::sleep(Duration::from_millis(250));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Bomb {
        at: Mutex<Option<Boot>>,
        sender: mpsc::Sender<Boot>,
    }

    impl Expires for Bomb {
        fn deadline(&self) -> Option<Boot> {
            *self.at.lock().unwrap()
        }

        fn expire(&self) {
            *self.at.lock().unwrap() = None;
            self.sender.send(Boot::now()).unwrap();
        }
    }

    #[test]
    fn deadlines_that_move_on_are_waited_for_and_others_are_not() {
        let (sender, expired) = mpsc::channel();
        let bomb = |ms| {
            let at = Boot::now() + Duration::from_millis(ms);
            Arc::new(Bomb { at: Mutex::new(Some(at)), sender: sender.clone() })
        };
        let [first, gone] = [bomb(20), bomb(30)];
        for bomb in [&first, &gone] {
            let bomb: Arc<dyn Expires> = Arc::<Bomb>::clone(bomb);
            watch(Arc::downgrade(&bomb)).unwrap();
        }
        arm(first.deadline().unwrap());
        let later = Boot::now() + Duration::from_millis(80);
        *first.at.lock().unwrap() = Some(later);
        drop(gone);
        assert!(expired.recv_timeout(Duration::from_secs(20)).unwrap() >= later);
        assert!(expired.try_recv().is_err());
    }

    #[test]
    fn instants() {
        let hour = Duration::from_secs(3600);
        let (end, now) = (Boot::now() + hour, Instant::now());
        let then = end.to_instant();
        assert!(then > now && then <= Instant::now() + hour);
        assert!(Boot::from_nanos(0).to_instant() <= Instant::now());
    }
}
