//! Metrics in Prometheus' text form, with names and units of OpenTelemetry's translation rules.
//!
//! Handles are bound once per listener, lane and route: on the hot path a count is one addition in a
//! place of the thread's own. Nothing that a sender can
//! choose is ever a label.
mod backlog;
mod lane;
mod meter;
mod shard;

pub use lane::LaneMeter;
pub use meter::Meter;
pub use shard::{Count, Histogram};

use meter::VERSIONS;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use schemas::AckLevel;
use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByListener {
    anygate_listener: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    anygate_listener: String,
    network_protocol_name: &'static str,
    network_protocol_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByError {
    anygate_listener: String,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDrop {
    anygate_listener: String,
    error_type: &'static str,
    intended: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLevel {
    anygate_listener: String,
    anygate_ack_level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByBackend {
    anygate_backend: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByBackendError {
    anygate_backend: String,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    anygate_route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFigure {
    anygate_backend: String,
    figure: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Buckets of all durations, in seconds (OpenTelemetry's messaging conventions, and finer ones below 5 ms).
static SECONDS: [f64; 17] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];
static BYTES: [f64; 7] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

fn seconds() -> Histogram {
    Histogram::new(&SECONDS)
}

fn bytes() -> Histogram {
    Histogram::new(&BYTES)
}

/// Every metric of the process.
pub struct Metrics {
    registry: Mutex<Registry>,
    received: Family<ByProtocol, Count>,
    refused: Family<ByError, Counter>,
    dropped: Family<ByDrop, Counter>,
    duplicate: Family<ByListener, Count>,
    kept: Family<ByLevel, Count>,
    unrouted: Family<ByListener, Counter>,
    listener_refused: Family<ByError, Counter>,
    connections: Family<ByProtocol, Gauge>,
    ack_duration: Family<ByLevel, Histogram>,
    message_size: Family<ByListener, Histogram>,
    lane_entered: Family<ByBackend, Count>,
    lane_recovered: Family<ByBackend, Counter>,
    lane_delivered: Family<ByBackend, Count>,
    lane_dead_lettered: Family<ByBackend, Counter>,
    lane_dropped: Family<ByBackendError, Counter>,
    lane_pending: Family<ByBackend, Gauge>,
    lane_oldest_age: Family<ByBackend, Gauge<f64, AtomicU64>>,
    inflight: Family<ByBackend, Gauge>,
    retries: Family<ByBackendError, Counter>,
    up: Family<ByBackend, Gauge>,
    figures: Family<ByFigure, Gauge<f64, AtomicU64>>,
    delivery_duration: Family<ByBackend, Histogram>,
    matched: Family<ByRoute, Count>,
    reloads: Family<ByOutcome, Counter>,
    /// The generation of the config that is in force.
    pub generation: Gauge,
    backlogs: backlog::Backlogs,
    /// Kept events × the backends each goes to.
    pub targeted: Count,
    /// Dead letters sent back into the stack or a lane.
    pub replayed: Counter,
    /// Events that the live tail left out because its reader was slow.
    pub tail_skipped: Counter,
    /// Spans that found no room on their way to the OTLP receiver.
    pub spans_dropped: Gauge,
    /// Panics: each is a fault of the gateway itself.
    pub panics: Counter,
    /// Bytes of the journal that hold events some lane still needs.
    pub journal_size: Gauge,
    /// Seconds until the journal is full if it goes on filling like this; infinite when it does not fill.
    pub journal_time_to_full: Gauge<f64, AtomicU64>,
    /// Bytes that the journal may take.
    pub journal_capacity: Gauge,
    /// Events per `fdatasync`, averaged since the start.
    pub journal_group_size: Gauge<f64, AtomicU64>,
    /// `fdatasync` time, averaged since the start, in seconds.
    pub journal_fsync: Gauge<f64, AtomicU64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let metrics = Metrics {
            registry: Mutex::new(Registry::default()),
            received: Family::default(),
            refused: Family::default(),
            dropped: Family::default(),
            duplicate: Family::default(),
            kept: Family::default(),
            unrouted: Family::default(),
            listener_refused: Family::default(),
            connections: Family::default(),
            ack_duration: Family::new_with_constructor(seconds),
            message_size: Family::new_with_constructor(bytes),
            lane_entered: Family::default(),
            lane_recovered: Family::default(),
            lane_delivered: Family::default(),
            lane_dead_lettered: Family::default(),
            lane_dropped: Family::default(),
            lane_pending: Family::default(),
            lane_oldest_age: Family::default(),
            inflight: Family::default(),
            retries: Family::default(),
            up: Family::default(),
            figures: Family::default(),
            delivery_duration: Family::new_with_constructor(seconds),
            matched: Family::default(),
            reloads: Family::default(),
            generation: Gauge::default(),
            backlogs: backlog::Backlogs::default(),
            targeted: Count::default(),
            replayed: Counter::default(),
            tail_skipped: Counter::default(),
            spans_dropped: Gauge::default(),
            panics: Counter::default(),
            journal_size: Gauge::default(),
            journal_capacity: Gauge::default(),
            journal_time_to_full: Gauge::default(),
            journal_group_size: Gauge::default(),
            journal_fsync: Gauge::default(),
        };
        metrics.register_door();
        metrics.register_lanes();
        metrics
    }

    fn register_door(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register(
            "anygate_events_received",
            "Events read from messages; unreadable bytes count as one",
            self.received.clone(),
        );
        r.register("anygate_events_refused", "Events of which nothing was kept", self.refused.clone());
        r.register("anygate_events_dropped", "Events dropped at the door", self.dropped.clone());
        r.register("anygate_events_duplicate", "Events that had been kept before", self.duplicate.clone());
        r.register("anygate_events_kept", "Events kept", self.kept.clone());
        r.register("anygate_events_targeted", "Kept events times the backends each goes to", self.targeted.clone());
        r.register("anygate_events_unrouted", "Events that no route took", self.unrouted.clone());
        r.register(
            "anygate_listener_refused",
            "Connections and messages refused before they were events",
            self.listener_refused.clone(),
        );
        r.register("anygate_listener_connections", "Open connections", self.connections.clone());
        r.register_with_unit(
            "anygate_ack_duration",
            "From a message received to its verdict",
            Unit::Seconds,
            self.ack_duration.clone(),
        );
        r.register_with_unit("anygate_message_size", "Size of messages", Unit::Bytes, self.message_size.clone());
        r.register("anygate_route_matched", "Events that a route took", self.matched.clone());
        r.register("anygate_tail_skipped", "Events left out of a slow live tail", self.tail_skipped.clone());
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        r.register("anygate_build_info", "The running version", build);
        r.register("anygate_config_generation", "The config in force: 1 at start", self.generation.clone());
        r.register("anygate_config_reloads", "Reloads of the config", self.reloads.clone());
    }

    fn register_lanes(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register("anygate_lane_entered", "Events given to a lane", self.lane_entered.clone());
        r.register("anygate_lane_recovered", "Events found undelivered at start", self.lane_recovered.clone());
        r.register("anygate_lane_delivered", "Events that the backend confirmed", self.lane_delivered.clone());
        r.register(
            "anygate_lane_dead_lettered",
            "Events that became dead letters of this lane",
            self.lane_dead_lettered.clone(),
        );
        r.register("anygate_lane_dropped", "Events that a lane gave up", self.lane_dropped.clone());
        r.register("anygate_lane_pending", "Events that wait in a lane", self.lane_pending.clone());
        r.register_with_unit(
            "anygate_lane_oldest_age",
            "Age of the oldest event that waits",
            Unit::Seconds,
            self.lane_oldest_age.clone(),
        );
        r.register("anygate_backend_inflight", "Events under way to a backend", self.inflight.clone());
        r.register("anygate_backend_retries", "Deliveries that must be tried again", self.retries.clone());
        r.register("anygate_backend_up", "Whether the last delivery or probe succeeded", self.up.clone());
        r.register("anygate_backend_figure", "Figures that a backend reports of itself", self.figures.clone());
        r.register_with_unit(
            "anygate_delivery_duration",
            "From a message received to its confirmation by a backend",
            Unit::Seconds,
            self.delivery_duration.clone(),
        );
        self.backlogs.register(r);
        r.register("anygate_dead_letters_replayed", "Dead letters sent again", self.replayed.clone());
        r.register_with_unit(
            "anygate_journal_size",
            "Journal bytes that lanes still need",
            Unit::Bytes,
            self.journal_size.clone(),
        );
        r.register_with_unit(
            "anygate_journal_capacity",
            "Journal bytes at most",
            Unit::Bytes,
            self.journal_capacity.clone(),
        );
        r.register_with_unit(
            "anygate_journal_time_to_full",
            "Time until the journal is full at the rate of the last five minutes",
            Unit::Seconds,
            self.journal_time_to_full.clone(),
        );
        r.register("anygate_panics", "Panics: each is a fault of the gateway itself", self.panics.clone());
        r.register("anygate_spans_dropped", "Spans that were not sent", self.spans_dropped.clone());
        r.register("anygate_journal_group_size", "Events per fdatasync", self.journal_group_size.clone());
        r.register_with_unit(
            "anygate_journal_fsync_mean",
            "Mean fdatasync time",
            Unit::Seconds,
            self.journal_fsync.clone(),
        );
    }

    /// Handles for one listener.
    pub fn meter(self: &Arc<Self>, listener: &str, protocol: &'static str, ring: Arc<super::Ring>) -> Meter {
        let name = || listener.to_owned();
        let level = |level: AckLevel| ByLevel { anygate_listener: name(), anygate_ack_level: level.as_str() };
        let levels = [AckLevel::Received, AckLevel::Durable, AckLevel::Delivered];
        let by = ByListener { anygate_listener: name() };
        Meter {
            listener: name(),
            protocol,
            received: [const { OnceLock::new() }; VERSIONS.len()],
            duplicate: self.duplicate.get_or_create(&by).clone(),
            unrouted: self.unrouted.get_or_create(&by).clone(),
            kept: levels.map(|l| self.kept.get_or_create(&level(l)).clone()),
            ack: levels.map(|l| self.ack_duration.get_or_create(&level(l)).clone()),
            size: self.message_size.get_or_create(&by).clone(),
            metrics: Arc::clone(self),
            ring,
        }
    }

    /// Handles for one lane.
    pub fn lane(&self, backend: &str) -> LaneMeter {
        let by = ByBackend { anygate_backend: backend.to_owned() };
        LaneMeter {
            backend: backend.to_owned(),
            entered: self.lane_entered.get_or_create(&by).clone(),
            recovered: self.lane_recovered.get_or_create(&by).clone(),
            delivered: self.lane_delivered.get_or_create(&by).clone(),
            dead_lettered: self.lane_dead_lettered.get_or_create(&by).clone(),
            pending: self.lane_pending.get_or_create(&by).clone(),
            oldest_age: self.lane_oldest_age.get_or_create(&by).clone(),
            inflight: self.inflight.get_or_create(&by).clone(),
            up: self.up.get_or_create(&by).clone(),
            duration: self.delivery_duration.get_or_create(&by).clone(),
            dropped: self.lane_dropped.clone(),
            retries: self.retries.clone(),
            figures: self.figures.clone(),
        }
    }

    /// Counts a reload: `applied` or `rejected`.
    pub fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Shows what waits in a backend's lane, in bytes and on disk.
    pub fn show_backlog(&self, backend: &str, stats: &journal::LaneStats) {
        self.backlogs.show(&ByBackend { anygate_backend: backend.to_owned() }, stats);
    }

    /// The counter of one route.
    pub fn route(&self, route: &str) -> Count {
        self.matched.get_or_create(&ByRoute { anygate_route: route.to_owned() }).clone()
    }

    /// All of them as text (OpenMetrics).
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _written = encode(&mut text, &registry);
        text
    }
}

fn by_protocol(listener: &str, protocol: &'static str, version: &'static str) -> ByProtocol {
    ByProtocol {
        anygate_listener: listener.to_owned(),
        network_protocol_name: protocol,
        network_protocol_version: version,
    }
}
