//! One listener's handles.
use super::{ByDrop, ByError, Count, Histogram, Metrics, by_protocol};
use crate::telemetry::Ring;
use prometheus_client::metrics::counter::Counter;
use schemas::{AckLevel, Verdict, Word};
use std::{
    fmt,
    sync::{Arc, OnceLock},
};
use transports::ticket::{Observer, Stamp};

/// The protocol versions that a listener may speak; the last one stands for all others.
pub(super) const VERSIONS: [&str; 6] = ["1.0", "1.1", "2", "3.1.1", "5", ""];

fn place(version: &str) -> usize {
    VERSIONS.iter().position(|known| *known == version).unwrap_or(VERSIONS.len() - 1)
}

/// One listener's handles.
pub struct Meter {
    pub(super) listener: String,
    pub(super) protocol: &'static str,
    /// Bound when the first message of the version comes.
    pub(super) received: [OnceLock<Count>; VERSIONS.len()],
    pub(super) duplicate: Count,
    pub(super) unrouted: Counter,
    pub(super) kept: [Count; 3],
    pub(super) ack: [Histogram; 3],
    pub(super) size: Histogram,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ring: Arc<Ring>,
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
        let took = crate::clock::since(stamp.arrived);
        if let Verdict::Receipt(receipt) = verdict {
            self.ack[receipt.level as usize].observe(took.as_secs_f64());
        }
        self.ring.settled(stamp.note, took, verdict);
    }
}
