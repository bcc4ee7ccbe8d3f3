//! One lane's handles.
use super::{ByBackendError, ByFigure, Count, Histogram};
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
