//! What waits in each lane, in bytes and on disk: figures that the journal keeps and this only shows.
use super::ByBackend;
use journal::LaneStats;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::sync::atomic::Ordering;

/// The families, by backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlogs {
    waiting: Family<ByBackend, Gauge>,
    quota: Family<ByBackend, Gauge>,
    files: Family<ByBackend, Gauge>,
    spilled: Family<ByBackend, Counter>,
    read_back: Family<ByBackend, Counter>,
}

impl Backlogs {
    pub(super) fn register(&self, r: &mut Registry) {
        let mut bytes = |name: &str, help: &str, family: &Family<ByBackend, Gauge>| {
            r.register_with_unit(name, help, Unit::Bytes, family.clone());
        };
        bytes("anygate_lane_waiting", "Bytes of events that wait in a lane", &self.waiting);
        bytes("anygate_lane_quota", "Bytes of events that may wait in a lane; 0: no limit", &self.quota);
        bytes("anygate_lane_backlog", "Bytes of the files of a lane's backlog", &self.files);
        r.register(
            "anygate_lane_spilled_segments",
            "Journal segments of which a lane's events were copied to its backlog",
            self.spilled.clone(),
        );
        r.register(
            "anygate_lane_read_back_segments",
            "Segments of a backlog that were delivered and deleted",
            self.read_back.clone(),
        );
    }

    /// Shows what the journal says of one lane.
    pub(super) fn show(&self, by: &ByBackend, stats: &LaneStats) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.get_or_create(by).set(number(stats.pending_bytes));
        self.quota.get_or_create(by).set(number(stats.quota));
        self.files.get_or_create(by).set(number(stats.backlog_bytes));
        // The journal counts since the start of the process, as these do.
        self.spilled.get_or_create(by).inner().store(stats.spilled_segments, Ordering::Relaxed);
        self.read_back.get_or_create(by).inner().store(stats.read_back_segments, Ordering::Relaxed);
    }
}
