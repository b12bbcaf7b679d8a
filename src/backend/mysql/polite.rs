//! Room for those who poll: Python's driver asks once a second and stands in no queue.
//!
//! All polite processes agree on when to leave a name alone without talking to each other: time, by the
//! *server's* clock, is cut into windows of two gaps, and in the second half of each nobody takes a name
//! that he has lately used or waited for. A process that comes to a name afresh takes it at any time if
//! it is free: so a name that is not busy costs no wait. (The price: with 16 processes that came once in
//! some seconds for half a second, a poller has waited for three gaps more than the two that one or two
//! busy processes keep it waiting.)

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::session::Key;
use crate::deadline::Boot;

/// The pollers' second, and a little.
pub(super) const SHORTEST: Duration = Duration::from_millis(1100);

/// Beyond so many names, those that have not been used lately are forgotten.
const MANY: usize = 1024;

/// The server's clock, and which names this process has used lately.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// In µs: what the server's clock is ahead of ours.
    ahead: AtomicI64,
    used: Mutex<HashMap<Key, Instant>>,
}

/// Of a gap; a year is as good as anything longer.
fn micros(gap: Duration) -> i64 {
    let year = Duration::from_secs(365 * 24 * 3600);
    i64::try_from(gap.min(year).as_micros()).unwrap_or(i64::MAX / 2)
}

impl Windows {
    /// The server has said that it is that many µs past its epoch, about now.
    pub(super) fn set_clock(&self, server: u64) {
        let ours = Boot::now().as_nanos() / 1000;
        self.ahead.store(server.wrapping_sub(ours).cast_signed(), Ordering::Relaxed);
    }

    fn server_now(&self) -> i64 {
        let ours = (Boot::now().as_nanos() / 1000).cast_signed();
        ours.wrapping_add(self.ahead.load(Ordering::Relaxed))
    }

    /// How long names are to be left alone from now on; none if they are not.
    pub(super) fn away(&self, gap: Duration) -> Option<Duration> {
        let gap = micros(gap);
        let phase = self.server_now().rem_euclid(2 * gap);
        (phase >= gap).then(|| Duration::from_micros((2 * gap - phase).unsigned_abs()))
    }

    /// How long until names are to be left alone.
    pub(super) fn until_away(&self, gap: Duration) -> Duration {
        let gap = micros(gap);
        let phase = self.server_now().rem_euclid(2 * gap);
        Duration::from_micros((gap - phase).max(0).unsigned_abs())
    }

    /// This process has used the name, or waited for it.
    pub(super) fn used(&self, key: &Key) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MANY {
            used.retain(|_, last| last.elapsed() < Duration::from_secs(60));
        }
        used.insert(Key::clone(key), Instant::now());
    }

    /// How long the name is to be left alone by who has used it lately.
    pub(super) fn stay_away(&self, key: &Key, gap: Duration) -> Option<Duration> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = used.get(key).is_some_and(|last| last.elapsed() < gap.saturating_mul(2));
        drop(used);
        if lately { self.away(gap) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_of_each_window_is_for_others() {
        let windows = Windows::default();
        let gap = Duration::from_secs(1000);
        windows.set_clock(5 * 2_000_000_000 + 400_000_000);
        assert_eq!(windows.away(gap), None);
        let left = windows.until_away(gap).as_secs();
        assert!((595..=600).contains(&left), "{left}");
        windows.set_clock(5 * 2_000_000_000 + 1_400_000_000);
        let left = windows.away(gap).unwrap().as_secs();
        assert!((595..=600).contains(&left), "{left}");
        assert_eq!(windows.until_away(gap), Duration::ZERO);
    }

    #[test]
    fn a_gap_may_be_of_any_length() {
        let windows = Windows::default();
        for gap in [Duration::MAX, Duration::from_secs(1 << 43), SHORTEST] {
            let half = windows.away(gap).unwrap_or_else(|| windows.until_away(gap));
            assert!(half <= gap);
        }
    }

    #[test]
    fn who_comes_afresh_stays_for_nobody() {
        let windows = Windows::default();
        let (gap, key) = (Duration::from_secs(1000), Key::from(&b"a"[..]));
        windows.set_clock(1_400_000_000);
        assert_eq!(windows.stay_away(&key, gap), None);
        windows.used(&key);
        assert!(windows.stay_away(&key, gap).is_some());
    }
}
