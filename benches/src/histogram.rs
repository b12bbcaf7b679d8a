//! How long waits take, in so little room that a child can tell it in one line.
//!
//! Buckets grow by a twentieth each, so a percentile is right within 5 %. The sum is exact.

/// The upper end of a bucket is so much beyond that of the one before.
const GROWTH: f64 = 1.05;

/// Durations in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
}

impl Histogram {
    /// Takes one in.
    pub fn add(&mut self, ns: u64) {
        let bucket = bucket(ns);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += u128::from(ns);
    }

    /// Takes in what another one has seen.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; not a number if there was none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.sum as f64 / self.count as f64 }
    }

    /// What so many percent are below of, in nanoseconds; not a number if there was none.
    pub fn percentile(&self, percent: u64) -> f64 {
        let rank = (self.count * percent / 100).min(self.count.saturating_sub(1));
        let mut before = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            before += count;
            if before > rank {
                return middle(bucket);
            }
        }
        f64::NAN
    }

    /// As numbers: the sum, then each bucket that is not empty and its count.
    pub fn to_line(&self) -> String {
        let mut line = self.sum.to_string();
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            line += &format!(" {bucket} {count}");
        }
        line
    }

    /// The other way round.
    pub fn from_numbers(numbers: &[f64]) -> Self {
        let mut this = Self::default();
        let Some((sum, pairs)) = numbers.split_first() else { return this };
        this.sum = *sum as u128;
        for pair in pairs.chunks_exact(2) {
            let (bucket, count) = (pair[0] as usize, pair[1] as u64);
            if this.buckets.len() <= bucket {
                this.buckets.resize(bucket + 1, 0);
            }
            this.buckets[bucket] += count;
            this.count += count;
        }
        this
    }
}

fn bucket(ns: u64) -> usize {
    if ns == 0 { 0 } else { ((ns as f64).ln() / GROWTH.ln()) as usize + 1 }
}

fn middle(bucket: usize) -> f64 {
    if bucket == 0 { 0.0 } else { GROWTH.powf(bucket as f64 - 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        all.into_iter().for_each(|ns| histogram.add(ns));
        histogram
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let histogram = of((1..=100_000).map(|n| n * 1_000));
        for percent in [1, 50, 90, 99] {
            let exact = percent as f64 * 1e6;
            let off = histogram.percentile(percent) / exact;
            assert!((0.95..1.05).contains(&off), "{percent} %: {off}");
        }
        assert!((histogram.mean() - 50_000_500.0).abs() < 1.0);
    }

    #[test]
    fn of_nothing_there_is_no_percentile() {
        assert!(Histogram::default().percentile(50).is_nan());
        assert!(Histogram::default().mean().is_nan());
    }

    #[test]
    fn a_line_says_all() {
        let histogram = of([0, 1, 17, 1_000, 1_000, 5_000_000_000]);
        let numbers: Vec<f64> =
            histogram.to_line().split(' ').map(|word| word.parse().unwrap()).collect();
        let again = Histogram::from_numbers(&numbers);
        assert_eq!(again.count(), 6);
        for percent in [0, 30, 50, 100] {
            assert_eq!(
                again.percentile(percent).to_bits(),
                histogram.percentile(percent).to_bits()
            );
        }
        assert_eq!(again.mean().to_bits(), histogram.mean().to_bits());
        let mut both = again;
        both.merge(&histogram);
        assert_eq!(both.count(), 12);
    }
}
