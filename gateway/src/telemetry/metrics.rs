//! Metrics in Prometheus' text form, with names and units of OpenTelemetry's translation rules.
//!
//! Handles are bound once per listener, lane and route: on the hot path a count is one atomic add. Nothing that a sender can
//! choose is ever a label.
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use schemas::{AckLevel, Verdict, Word};
use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use transports::ticket::{Observer, Stamp};

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
struct Build {
    version: &'static str,
}

/// Buckets of all durations, in seconds (OpenTelemetry's messaging conventions, and finer ones below 5 ms).
const SECONDS: [f64; 17] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];
const BYTES: [f64; 7] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn bytes() -> Histogram {
    Histogram::new(BYTES)
}

/// Every metric of the process.
pub struct Metrics {
    registry: Mutex<Registry>,
    received: Family<ByProtocol, Counter>,
    refused: Family<ByError, Counter>,
    dropped: Family<ByDrop, Counter>,
    duplicate: Family<ByListener, Counter>,
    kept: Family<ByLevel, Counter>,
    unrouted: Family<ByListener, Counter>,
    listener_refused: Family<ByError, Counter>,
    connections: Family<ByProtocol, Gauge>,
    ack_duration: Family<ByLevel, Histogram>,
    message_size: Family<ByListener, Histogram>,
    lane_entered: Family<ByBackend, Counter>,
    lane_recovered: Family<ByBackend, Counter>,
    lane_delivered: Family<ByBackend, Counter>,
    lane_dead_lettered: Family<ByBackend, Counter>,
    lane_dropped: Family<ByBackendError, Counter>,
    lane_pending: Family<ByBackend, Gauge>,
    lane_oldest_age: Family<ByBackend, Gauge<f64, AtomicU64>>,
    inflight: Family<ByBackend, Gauge>,
    retries: Family<ByBackendError, Counter>,
    up: Family<ByBackend, Gauge>,
    figures: Family<ByFigure, Gauge<f64, AtomicU64>>,
    delivery_duration: Family<ByBackend, Histogram>,
    matched: Family<ByRoute, Counter>,
    /// Kept events × the backends each goes to.
    pub targeted: Counter,
    /// Same source and id with other data, seen by a store.
    pub id_reused: Counter,
    /// Dead letters sent back into the stack or a lane.
    pub replayed: Counter,
    /// Events that the live tail left out because its reader was slow.
    pub tail_skipped: Counter,
    /// Bytes of the journal that hold events some lane still needs.
    pub journal_size: Gauge,
    /// Bytes that the journal may take.
    pub journal_capacity: Gauge,
    /// Events per `fdatasync`, averaged since the last scrape.
    pub journal_group_size: Gauge<f64, AtomicU64>,
    /// `fdatasync` time, averaged since the last scrape, in seconds.
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
            targeted: Counter::default(),
            id_reused: Counter::default(),
            replayed: Counter::default(),
            tail_skipped: Counter::default(),
            journal_size: Gauge::default(),
            journal_capacity: Gauge::default(),
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
        r.register("anygate_events_received", "Events read from messages; unreadable bytes count as one", self.received.clone());
        r.register("anygate_events_refused", "Events of which nothing was kept", self.refused.clone());
        r.register("anygate_events_dropped", "Events dropped at the door", self.dropped.clone());
        r.register("anygate_events_duplicate", "Events that had been kept before", self.duplicate.clone());
        r.register("anygate_events_kept", "Events kept", self.kept.clone());
        r.register("anygate_events_targeted", "Kept events times the backends each goes to", self.targeted.clone());
        r.register("anygate_events_unrouted", "Events that no route took", self.unrouted.clone());
        r.register("anygate_listener_refused", "Connections and messages refused before they were events", self.listener_refused.clone());
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
    }

    fn register_lanes(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register("anygate_lane_entered", "Events given to a lane", self.lane_entered.clone());
        r.register("anygate_lane_recovered", "Events found undelivered at start", self.lane_recovered.clone());
        r.register("anygate_lane_delivered", "Events that the backend confirmed", self.lane_delivered.clone());
        r.register("anygate_lane_dead_lettered", "Events that became dead letters of this lane", self.lane_dead_lettered.clone());
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
        r.register("anygate_store_id_reused", "Same source and id with other data", self.id_reused.clone());
        r.register("anygate_dead_letters_replayed", "Dead letters sent again", self.replayed.clone());
        r.register_with_unit("anygate_journal_size", "Journal bytes that lanes still need", Unit::Bytes, self.journal_size.clone());
        r.register_with_unit("anygate_journal_capacity", "Journal bytes at most", Unit::Bytes, self.journal_capacity.clone());
        r.register("anygate_journal_group_size", "Events per fdatasync", self.journal_group_size.clone());
        r.register_with_unit("anygate_journal_fsync_mean", "Mean fdatasync time", Unit::Seconds, self.journal_fsync.clone());
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

    /// The counter of one route.
    pub fn route(&self, route: &str) -> Counter {
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

/// The protocol versions that a listener may speak; the last one stands for all others.
const VERSIONS: [&str; 6] = ["1.0", "1.1", "2", "3.1.1", "5", ""];

fn place(version: &str) -> usize {
    VERSIONS.iter().position(|known| *known == version).unwrap_or(VERSIONS.len() - 1)
}

fn by_protocol(listener: &str, protocol: &'static str, version: &'static str) -> ByProtocol {
    ByProtocol { anygate_listener: listener.to_owned(), network_protocol_name: protocol, network_protocol_version: version }
}

/// One listener's handles.
pub struct Meter {
    listener: String,
    protocol: &'static str,
    /// Bound when the first message of the version comes.
    received: [OnceLock<Counter>; VERSIONS.len()],
    duplicate: Counter,
    unrouted: Counter,
    kept: [Counter; 3],
    ack: [Histogram; 3],
    size: Histogram,
    metrics: Arc<Metrics>,
    ring: Arc<super::Ring>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("listener", &self.listener).finish_non_exhaustive()
    }
}

fn count(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX)
}

impl Meter {
    /// Events read.
    pub fn received(&self, version: &'static str, events: usize) {
        let bind = || self.metrics.received.get_or_create(&by_protocol(&self.listener, self.protocol, version)).clone();
        self.received[place(version)].get_or_init(bind).inc_by(count(events));
    }

    /// Events refused with this word.
    pub fn refused(&self, word: Word, events: usize) {
        let by = ByError { anygate_listener: self.listener.clone(), error_type: word.as_str() };
        self.metrics.refused.get_or_create(&by).inc_by(count(events));
    }

    /// A whole message received and refused.
    pub fn refused_whole(&self, version: &'static str, word: Word, events: usize) {
        self.received(version, events);
        self.refused(word, events);
    }

    /// Events dropped as configured.
    pub fn dropped(&self, word: Word, events: usize) {
        let by = ByDrop { anygate_listener: self.listener.clone(), error_type: word.as_str(), intended: "true" };
        self.metrics.dropped.get_or_create(&by).inc_by(count(events));
    }

    /// Events kept before.
    pub fn duplicate(&self, events: usize) {
        self.duplicate.inc_by(count(events));
    }

    /// Events that no route took.
    pub fn unrouted(&self, events: usize) {
        self.unrouted.inc_by(count(events));
    }

    /// Events kept at this level.
    pub fn kept(&self, level: AckLevel, events: u64) {
        if events > 0 {
            self.kept[level as usize].inc_by(events);
        }
    }

    /// The size of a kept message's events.
    #[allow(clippy::cast_precision_loss, reason = "a histogram of sizes")]
    pub fn size(&self, bytes: usize) {
        self.size.observe(bytes as f64);
    }

    /// Something refused before it was an event.
    pub fn listener_refused(&self, word: Word) {
        let by = ByError { anygate_listener: self.listener.clone(), error_type: word.as_str() };
        self.metrics.listener_refused.get_or_create(&by).inc();
    }

    /// A connection opened or closed.
    pub fn connection(&self, version: &'static str, opened: bool) {
        let gauge = self.metrics.connections.get_or_create(&by_protocol(&self.listener, self.protocol, version));
        if opened {
            gauge.inc();
        } else {
            gauge.dec();
        }
    }
}

impl Observer for Meter {
    fn settled(&self, stamp: Stamp, verdict: &Verdict) {
        let took = stamp.arrived.elapsed();
        if let Verdict::Receipt(receipt) = verdict {
            self.ack[receipt.level as usize].observe(took.as_secs_f64());
        }
        self.ring.settled(stamp.note, took, verdict);
    }
}

/// One lane's handles.
pub struct LaneMeter {
    backend: String,
    /// Events given to the lane.
    pub entered: Counter,
    /// Events found undelivered at start.
    pub recovered: Counter,
    /// Events that the backend confirmed.
    pub delivered: Counter,
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
    duration: Histogram,
    dropped: Family<ByBackendError, Counter>,
    retries: Family<ByBackendError, Counter>,
    figures: Family<ByFigure, Gauge<f64, AtomicU64>>,
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
