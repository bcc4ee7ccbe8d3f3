//! One lane's handles.
use super::{ByBackend, ByBackendError, ByFigure, Count, Histogram, Metrics};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use schemas::Word;
use std::{fmt, sync::atomic::AtomicU64, time::Duration};

/// One lane's handles.
pub struct LaneMeter {
    pub(super) backend: String,
    /// Events given to the lane.
    pub entered: Count,
    /// Events found undelivered at start.
    pub recovered: Counter,
    /// Events that the backend confirmed.
    pub delivered: Count,
    /// Events that became dead letters.
    pub dead_lettered: Counter,
    /// Events that wait.
    pub pending: Gauge,
    /// Age of the oldest one, in seconds.
    pub oldest_age: Gauge<f64, AtomicU64>,
    /// Events under way.
    pub inflight: Gauge,
    /// 1 when the last delivery or probe succeeded.
    pub up: Gauge,
    pub(super) duration: Histogram,
    pub(super) dropped: Family<ByBackendError, Counter>,
    pub(super) retries: Family<ByBackendError, Counter>,
    pub(super) figures: Family<ByFigure, Gauge<f64, AtomicU64>>,
}

impl fmt::Debug for LaneMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneMeter").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl LaneMeter {
    /// A delivery confirmed this long after its message was received.
    pub fn delivered_after(&self, took: Duration) {
        self.delivered.inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// An event given up with this word.
    pub fn dropped(&self, word: Word) {
        self.dropped.get_or_create(&self.by_error(word)).inc();
    }

    /// Events that left the lane as somebody asked (`moved`, `discarded`), or because the disk damaged them (`lost`).
    pub fn dropped_as(&self, reason: &'static str, events: u64) {
        let by = ByBackendError { anygate_backend: self.backend.clone(), error_type: reason };
        self.dropped.get_or_create(&by).inc_by(events);
    }

    /// A delivery that must be tried again.
    pub fn retried(&self, word: Word) {
        self.retries.get_or_create(&self.by_error(word)).inc();
    }

    /// A figure that the backend reports of itself.
    pub fn figure(&self, name: &str, value: f64) {
        let by = ByFigure { anygate_backend: self.backend.clone(), figure: name.to_owned() };
        self.figures.get_or_create(&by).set(value);
    }

    fn by_error(&self, word: Word) -> ByBackendError {
        ByBackendError { anygate_backend: self.backend.clone(), error_type: word.as_str() }
    }
}

impl Metrics {
    /// What was counted for a lane under its old name counts for its new name from now on, so that the counting laws hold for
    /// both. The caller makes sure that nobody counts under the old name any more.
    pub fn rename_lane(&self, old: &str, new: &str) {
        let (from, to) = (ByBackend { anygate_backend: old.to_owned() }, ByBackend { anygate_backend: new.to_owned() });
        for family in [&self.lane_entered, &self.lane_delivered] {
            let counted = family.get_or_create(&from).get();
            family.get_or_create(&to).inc_by(counted);
            family.remove(&from);
        }
        for family in [&self.lane_recovered, &self.lane_dead_lettered] {
            let counted = family.get_or_create(&from).get();
            family.get_or_create(&to).inc_by(counted);
            family.remove(&from);
        }
        for reason in Word::ALL.iter().map(|word| word.as_str()).chain(["moved", "discarded", "lost"]) {
            let by = |name: &str| ByBackendError { anygate_backend: name.to_owned(), error_type: reason };
            for family in [&self.lane_dropped, &self.retries] {
                let counted = family.get(&by(old)).map_or(0, |counter| counter.get());
                if counted > 0 {
                    family.get_or_create(&by(new)).inc_by(counted);
                }
                family.remove(&by(old));
            }
        }
        self.lane_gone(old);
    }

    /// A lane is no more: its counters stay, what it is now goes.
    pub fn lane_gone(&self, name: &str) {
        let by = ByBackend { anygate_backend: name.to_owned() };
        self.lane_pending.remove(&by);
        self.lane_oldest_age.remove(&by);
        self.inflight.remove(&by);
        self.up.remove(&by);
    }
}
