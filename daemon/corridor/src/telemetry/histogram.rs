//! A histogram of microseconds on a logarithmic scale.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of [`Histogram`]: four per power of two, from 1 µs to about 67 s.
pub const BUCKETS: usize = 104;

type Cells = [AtomicU64; BUCKETS];

/// Fixed log-scale histogram of microseconds, under 1 KB once something was counted, a few bytes before: most of ten
/// thousand routes are quiet.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: OnceLock<Box<Cells>>,
    sum: AtomicU64,
    max: AtomicU64,
}

/// Bucket of a value: exact below 4, then quarters of powers of two.
#[must_use]
pub fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = 63 - micros.leading_zeros();
    let quarter = (micros >> (exponent - 2)) & 3;
    let index = (exponent as usize - 1) * 4 + quarter as usize;
    index.min(BUCKETS - 1)
}

/// Largest value of a bucket, microseconds.
#[must_use]
pub fn bucket_top(index: usize) -> u64 {
    if index < 4 {
        return index as u64;
    }
    let exponent = index / 4 + 1;
    let quarter = (index % 4) as u64;
    ((4 + quarter + 1) << (exponent - 2)) - 1
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, micros: u64) {
        let counts = self.counts.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BUCKETS]));
        if let Some(count) = counts.get(bucket(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(micros, Ordering::Relaxed);
        // A look is cheaper than a write that changes nothing, which most would be.
        if micros > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// Counts so far, by bucket.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS] {
        let Some(counts) = self.counts.get() else { return [0; BUCKETS] };
        std::array::from_fn(|index| counts.get(index).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// Sum of all values so far, microseconds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The largest value since the last call.
    pub fn take_max(&self) -> u64 {
        self.max.swap(0, Ordering::Relaxed)
    }
}

/// Value below which this share (0 to 1) of the counted values lies; `None` when nothing was counted.
#[must_use]
pub fn quantile(counts: &[u64; BUCKETS], share: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = ((total as f64) * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (index, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return Some(bucket_top(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(micros in 0u64..60_000_000) {
            let index = bucket(micros);
            prop_assert!(micros <= bucket_top(index));
            prop_assert!(index == 0 || micros > bucket_top(index - 1));
        }
    }

    #[test]
    fn quantiles_are_within_a_quarter_of_a_power() {
        let histogram = Histogram::default();
        assert_eq!((histogram.counts(), histogram.sum()), ([0; BUCKETS], 0));
        (1..=1000).for_each(|micros| histogram.record(micros));
        let p50 = quantile(&histogram.counts(), 0.5).unwrap();
        assert!((500..=640).contains(&p50), "{p50}");
        assert_eq!((histogram.take_max(), histogram.take_max(), histogram.sum()), (1000, 0, 500_500));
        assert_eq!(quantile(&Histogram::default().counts(), 0.5), None);
    }
}
