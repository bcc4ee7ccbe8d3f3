//! Spans for an OpenTelemetry collector: one per message, one per delivery. Off unless `telemetry.otlp` is set.
//!
//! What it promises:
//! * only traces whose *sampled* flag is set are recorded, the sender's or ours (`telemetry.sample`), and of those every
//!   refusal and failure too;
//! * the message's span is a child of what the sender sent, and the parent of every delivery, also after a restart, a dead
//!   letter and a replay: its ids are in the event's record. What the record in Kafka names as its parent is the delivery's
//!   span ([`schemas::Event::delivery_span`]);
//! * nothing here blocks or fails a message. Spans wait in a bounded queue; what finds it full is dropped and counted. A
//!   collector that is away costs a warning now and then.
//!
//! It follows OpenTelemetry's semantic conventions 1.44.0. Plug-ins write no telemetry. It deliberately has no span for each
//! middleware and does not sample by outcome.
mod delivery;
mod message;
mod receiver;
#[cfg(test)]
mod tests;
mod worker;

pub use delivery::Delivery;
pub use message::{Arrival, MessageSpan};
pub use receiver::Receiver;

use opentelemetry::{
    InstrumentationScope,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use schemas::{Event, TraceContext};
use std::{borrow::Cow, sync::Arc, time::SystemTime};
use worker::Worker;

/// The version of the semantic conventions that the names below are of.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Where spans go. The default is nowhere, which costs nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Worker>>);

impl Spans {
    /// Starts sending spans, if the config says where to. Needs no collector to be there.
    ///
    /// # Errors
    /// The address cannot be used, and why.
    pub fn start(config: &crate::config::Config, runtime: &tokio::runtime::Handle) -> Result<Self, String> {
        let fault = |what| format!("telemetry.otlp: {what}\n  = help: write it like http://127.0.0.1:4318");
        let Some(receiver) = Receiver::of(&config.telemetry).map_err(fault)? else { return Ok(Spans(None)) };
        let _context = runtime.enter();
        let exporter = receiver.exporter().map_err(fault)?;
        Ok(Spans(Some(Arc::new(Worker::start(exporter, receiver.to_string(), runtime)))))
    }

    /// Opens the span of a message if it is to be recorded. It is sent when the last one who holds it lets go.
    pub fn open<'a>(&self, trace: TraceContext, arrival: impl FnOnce() -> Arrival<'a>) -> Option<Arc<MessageSpan>> {
        let worker = self.recording(trace)?;
        Some(Arc::new(MessageSpan::new(trace, &arrival(), Arc::clone(worker))))
    }

    /// A delivery ended: the backend confirmed the event, or it was given up.
    pub fn delivery<'a>(&self, event: &'a Event, delivery: impl FnOnce() -> Delivery<'a>) {
        if let Some(worker) = self.recording(event.trace) {
            worker.send(delivery::span(event, &delivery()));
        }
    }

    /// A dead letter of a lane was appended again, for the backend that could not take it.
    pub fn replayed(&self, letter: &Event, death: &schemas::Death) {
        if let Some(worker) = self.recording(letter.trace) {
            worker.send(delivery::replay(letter, death));
        }
    }

    /// Spans that were dropped because the collector was slow or away.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |worker| worker.dropped())
    }

    /// Sends what waits, within two seconds, and ends. Later spans go nowhere.
    pub async fn shutdown(&self) {
        if let Some(worker) = &self.0 {
            worker.shutdown().await;
        }
    }

    fn recording(&self, trace: TraceContext) -> Option<&Arc<Worker>> {
        let worker = self.0.as_ref().filter(|_| trace.is_sampled())?;
        worker.has_room().then_some(worker)
    }
}

/// A span with its ids and start; everything else is empty.
fn span(
    own: TraceContext,
    parent: Option<(TraceContext, bool)>,
    kind: SpanKind,
    name: Cow<'static, str>,
    start: SystemTime,
) -> SpanData {
    SpanData {
        span_context: context(own, false),
        parent_span_id: parent.map_or(SpanId::INVALID, |(parent, _)| SpanId::from_bytes(parent.span_id)),
        parent_span_is_remote: parent.is_some_and(|(_, remote)| remote),
        span_kind: kind,
        name,
        start_time: start,
        end_time: start,
        attributes: Vec::with_capacity(24),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope(),
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("anygate").with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL).build()
}

fn context(trace: TraceContext, remote: bool) -> SpanContext {
    let flags = TraceFlags::new(trace.flags & schemas::trace::SAMPLED);
    SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        SpanId::from_bytes(trace.span_id),
        flags,
        remote,
        TraceState::NONE,
    )
}

fn link(trace: TraceContext) -> Link {
    Link::new(context(trace, true), Vec::new(), 0)
}
