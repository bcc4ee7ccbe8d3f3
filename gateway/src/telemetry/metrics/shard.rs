//! Counters and histograms of the hot path: each thread counts in a place of its own, and a scrape adds them up.
//!
//! A count that several threads share costs each of them a cache line that another one has just changed. With places of
//! their own a count is one addition in a line that nobody else writes.
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Places of a count. Threads beyond that many share them, which is slower and as right.
const PLACES: usize = 8;

/// The place of this thread.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES);
    PLACE.with(|place| *place)
}

/// A number in cache lines of its own (two: processors fetch lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicU64);

/// A counter.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<[Place; PLACES]>);

impl Count {
    /// One more.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// So many more.
    pub fn inc_by(&self, more: u64) {
        self.0[place()].0.fetch_add(more, Ordering::Relaxed);
    }

    /// All of it.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|place| place.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Count {
    const TYPE: MetricType = MetricType::Counter;
}

/// A histogram with fixed buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds, ascending; above the last one is one bucket more.
    bounds: &'static [f64],
    places: Vec<Observed>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Observed {
    /// The bits of an `f64`.
    sum: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

impl Histogram {
    /// With these upper bounds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = || (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let places = (0..PLACES).map(|_| Observed { sum: AtomicU64::new(0), buckets: buckets() }).collect();
        Histogram(Arc::new(Inner { bounds, places }))
    }

    /// One value.
    pub fn observe(&self, value: f64) {
        self.observe_many(value, 1);
    }

    /// The same value several times.
    #[allow(clippy::cast_precision_loss, reason = "a sum of measurements")]
    pub fn observe_many(&self, value: f64, times: u64) {
        let Inner { bounds, places } = &*self.0;
        let bucket = bounds.partition_point(|bound| *bound < value);
        let observed = &places[place()];
        observed.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        let more = value * times as f64;
        let _always = observed
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some((f64::from_bits(bits) + more).to_bits()));
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Inner { bounds, places } = &*self.0;
        let in_bucket = |at: usize| places.iter().map(|place| place.buckets[at].load(Ordering::Relaxed)).sum::<u64>();
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.enumerate().map(|(at, bound)| (bound, in_bucket(at))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = places.iter().map(|place| f64::from_bits(place.sum.load(Ordering::Relaxed))).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text::encode, metrics::histogram, registry::Registry};

    #[test]
    fn it_is_written_as_the_library_writes_its_own() {
        static BOUNDS: [f64; 3] = [0.1, 1.0, 10.0];
        let (ours, theirs) = (Histogram::new(&BOUNDS), histogram::Histogram::new(BOUNDS));
        let values = [0.05, 0.1, 0.5, 1.0, 7.0, 10.0, 11.0, 1e9];
        for value in values {
            theirs.observe(value);
        }
        std::thread::scope(|scope| {
            for half in values.chunks(4) {
                let ours = &ours;
                scope.spawn(move || half.iter().for_each(|value| ours.observe(*value)));
            }
        });
        let count = Count::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| count.inc()));
            }
        });
        assert_eq!(count.get(), 2000);
        let written = |register: &dyn Fn(&mut Registry)| {
            let (mut registry, mut text) = (Registry::default(), String::new());
            register(&mut registry);
            encode(&mut text, &registry).unwrap();
            text
        };
        let ours = written(&|registry| registry.register("h", "Help", ours.clone()));
        assert_eq!(ours, written(&|registry| registry.register("h", "Help", theirs.clone())));
        let counted = written(&|registry| registry.register("c", "Help", count.clone()));
        assert!(counted.contains("# TYPE c counter") && counted.contains("c_total 2000"), "{counted}");
    }
}
