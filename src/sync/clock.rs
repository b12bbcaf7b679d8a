//! Time as a model has it: it stands still until [`advance`] moves it on.
//!
//! So a limit that runs out is a step of the schedule like any other, and meets a grant in every order.
//!
//! 1. Each schedule begins at zero, with no timers.
//! 2. Moving on wakes, once each, the timers that are due; wakers run without the clock's mutex.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(crate) use tokio::time::Instant;

use super::{Mutex, lock};

#[derive(Default)]
struct Clock {
    now: Duration,
    next: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

shuttle::lazy_static! {
    static ref CLOCK: Mutex<Clock> = Mutex::new(Clock::default());
}

/// What the type of an instant needs to stand for a duration; the same in all schedules.
fn zero() -> Instant {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}

pub(crate) fn now() -> Instant {
    zero() + lock(&CLOCK).now
}

/// Moves the clock on, and wakes whoever is late then (2).
pub fn advance(time: Duration) {
    let mut clock = lock(&CLOCK);
    clock.now += time;
    let now = clock.now;
    let rest = clock.timers.split_off(&(now, u64::MAX));
    let due = std::mem::replace(&mut clock.timers, rest);
    drop(clock);
    due.into_values().for_each(Waker::wake);
}

pub(crate) fn sleep(time: Duration) -> Sleep {
    let deadline = lock(&CLOCK).now.saturating_add(time);
    Sleep { deadline, timer: None }
}

pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: deadline.saturating_duration_since(zero()), timer: None }
}

/// Until then.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut clock = lock(&CLOCK);
        if clock.now >= self.deadline {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or_else(|| {
            clock.next += 1;
            clock.next
        });
        self.timer = Some(timer);
        clock.timers.insert((self.deadline, timer), waker);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // The schedule of a model that fails is over, and its clock with it.
        if let Some(timer) = self.timer
            && !std::thread::panicking()
        {
            lock(&CLOCK).timers.remove(&(self.deadline, timer));
        }
    }
}
