//! Times in buckets: 32 for each power of two, so a quantile is at most 3 % off. Of fixed size, whatever comes.
use std::time::Duration;

/// Sub-buckets of one power of two.
const SUB: usize = 32;
const SUB_BITS: u32 = 5;

/// Times, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: vec![0; 64 * SUB].into(), count: 0, max: 0 }
    }
}

/// Exact below 32 ns; above, the top five bits after the leading one say the bucket.
fn place(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power < SUB_BITS {
        return usize::try_from(value).unwrap_or(0);
    }
    let sub = usize::try_from(value >> (power - SUB_BITS)).unwrap_or(0) - SUB;
    (power - SUB_BITS + 1) as usize * SUB + sub
}

/// The highest value of a bucket.
fn top(place: usize) -> u64 {
    let (power, sub) = (place / SUB, place % SUB);
    if power == 0 {
        return sub as u64;
    }
    u64::try_from((((SUB + sub + 1) as u128) << (power - 1)) - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        let value = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[place(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Counts all of another one.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += others;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The time that a share of all did not exceed: 0.99.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among counted times"
    )]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(top(place).min(self.max));
            }
        }
        Duration::from_nanos(self.max)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let got = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((got / micros - 1.0).abs() < 0.032, "{share}: {got} instead of {micros}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(10));
        let mut both = Histogram::default();
        both.merge(&histogram);
        assert_eq!(both.quantile(1.0), histogram.max());
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for power in 0..64 {
            for value in [1u64 << power, (1u64 << power) | 1, (1u64 << power).wrapping_mul(3) / 2] {
                let at = place(value);
                assert!(top(at) >= value, "{value}");
                assert!(at == 0 || top(at - 1) < value, "{value}");
            }
        }
    }
}
