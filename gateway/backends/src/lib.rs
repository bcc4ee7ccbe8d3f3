//! Backends: they take events and make them durable elsewhere, or act on them.
//!
//! The contract, which `conformance` checks for every backend in the registry:
//! * [`Backend::deliver`] is called in the lane's order. It takes its place in line before it returns (a record is in the
//!   producer's queue, in its order) and does the waiting in the future;
//! * the future gives one [`Outcome`] per event, in the same order, and says [`Outcome::Done`] only for what the backend itself
//!   confirmed. Dropping the future abandons the answer; the events count as not delivered;
//! * the same event may be offered again, after a retry or a crash: delivery is at least once;
//! * nothing about telemetry: the lane that calls counts, times and traces.
pub mod config;
pub mod fault;
pub mod kafka;
pub mod null;
pub mod plugin;
pub mod store;

pub use fault::{Outcome, Position, Why};
pub use plugin::{BuildContext, Plugin};

use futures_util::future::BoxFuture;
use schemas::Event;
use std::sync::Arc;

/// Events of one call, in the lane's order. Shared, so that fan-out and retries copy nothing.
pub type Events = Vec<Arc<Event>>;

/// How many events of one strand may be under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any number: the backend itself keeps the order of what it was given (an idempotent Kafka producer, a transaction).
    Pipelined,
    /// One call per strand at a time.
    OnePerStrand,
}

/// A lane's far end.
pub trait Backend: Send + Sync + 'static {
    /// Its kind: `kafka`, `store`.
    fn kind(&self) -> &'static str;

    /// How order is kept.
    fn order(&self) -> Order;

    /// The strand of an event: events with the same one keep their order. Default: the order key's hash.
    fn strand(&self, event: &Event) -> u64 {
        fault::hash(event.key.as_bytes())
    }

    /// Checks, while routing, that the event has what this backend needs of it (a template's attributes, a size limit), so
    /// that the sender can be told. Pure and fast.
    ///
    /// # Errors
    /// `missing_attribute`, `too_large`: a refusal of the event.
    fn accepts(&self, event: &schemas::EventView<'_>) -> Result<(), schemas::AttributeFault> {
        let _ = event;
        Ok(())
    }

    /// Whether an event is done here once it is durable, whatever it is: then the lane counts it without reading it, and
    /// [`Backend::deliver`] gets only those that somebody traces.
    fn discards(&self) -> bool {
        false
    }

    /// Delivers events. See the module's documentation.
    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>>;

    /// Looks at the far end without delivering: is it reachable, does the destination exist. Asked at start, by
    /// `check --connect`, and while a destination fault holds the lane. A lane delivers nothing before the first success: by then
    /// the backend knows what the far end takes.
    fn probe(&self) -> BoxFuture<'static, Result<(), Why>> {
        Box::pin(async { Ok(()) })
    }

    /// Why nobody at the far end can be reached now, if the backend has noticed by itself. Cheap; asked while senders wait for a
    /// confirmation that does not come. `None` says nothing: only a probe knows.
    fn unreachable(&self) -> Option<Why> {
        None
    }

    /// What makes deliveries less safe than they could be, in words for people: one sentence each. Changes when a probe learns
    /// something.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Facts for `anygate status` and `/metrics`: name (Prometheus style, without prefix) and value.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Flushes and lets go, within the time given by the caller.
    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
