//! The clock that all processes share, and numbers that nobody foresees.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The nanoseconds of CLOCK_MONOTONIC, which all processes share.
///
/// # Panics
///
/// Where there is no such clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is a monotonic clock");
    Duration::from(time).as_nanos() as u64
}

/// The nanoseconds of one of so many operations.
pub fn per_operation(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Small numbers that nobody foresees.
#[derive(Debug)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self(now() | 1)
    }
}

impl Dice {
    /// Below a bound.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
