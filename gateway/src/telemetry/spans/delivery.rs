//! The span of a delivery, from the lane's last try to the backend's word; and the mark that a dead letter is replayed.
use super::{
    link,
    message::{cut, number, of_event, text},
};
use backends::{Position, Why, fault::hash};
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};
use schemas::{ByteStr, Death, Event, TraceContext};
use std::time::SystemTime;

/// How a delivery ended.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The backend's name.
    pub backend: &'a ByteStr,
    /// The backend's kind.
    pub kind: &'static str,
    /// Tries before the last one.
    pub attempts: u32,
    /// When the last try began.
    pub began: SystemTime,
    /// Where the event is now, or why it was given up.
    pub end: Result<&'a Position, &'a Why>,
}

pub(super) fn span(event: &Event, delivery: &Delivery<'_>) -> SpanData {
    let seed = hash(delivery.backend.as_bytes());
    let place = delivery.end.map_or(delivery.backend.as_str(), |position| &position.place);
    let name = format!("send {}", cut(place)).into();
    // CLIENT and not PRODUCER: the event was made by its sender, not here (messaging conventions, "Custom creation context").
    let mut data =
        super::span(event.delivery_span(seed), Some((event.trace, false)), SpanKind::Client, name, delivery.began);
    data.end_time = SystemTime::now().max(delivery.began);
    describe(&mut data.attributes, event, delivery);
    if let Err(why) = delivery.end {
        data.attributes.push(KeyValue::new("error.type", why.word.as_str()));
        data.status = Status::error(format!("{}: {}", why.word, cut(&why.detail)));
    }
    let mut links = SpanLinks::default();
    links.links.extend(creation(event).map(link));
    data.links = links;
    data
}

fn describe(attributes: &mut Vec<KeyValue>, event: &Event, delivery: &Delivery<'_>) {
    attributes.extend([
        KeyValue::new("messaging.operation.type", "send"),
        KeyValue::new("messaging.operation.name", "send"),
        KeyValue::new("messaging.system", delivery.kind),
        number("messaging.message.body.size", event.envelope.data().len()),
        text("anygate.backend", delivery.backend),
        text("anygate.listener", &event.door.listener),
        KeyValue::new("anygate.ack_level", event.level.as_str()),
        KeyValue::new("anygate.attempts", i64::from(delivery.attempts)),
    ]);
    if !event.route.is_empty() {
        attributes.push(text("anygate.route", &event.route));
    }
    if event.lsn > 0 {
        attributes.push(KeyValue::new("anygate.lsn", i64::try_from(event.lsn).unwrap_or(i64::MAX)));
    }
    of_event(attributes, &event.envelope);
    let Ok(position) = delivery.end else { return };
    attributes.push(text("messaging.destination.name", &position.place));
    if position.partition >= 0 {
        attributes.push(KeyValue::new("messaging.destination.partition.id", position.partition.to_string()));
    }
    if position.offset >= 0 {
        let offset = if delivery.kind == "kafka" { "messaging.kafka.offset" } else { "anygate.offset" };
        attributes.push(KeyValue::new(offset, position.offset));
    }
}

/// The context in which the event was made, unless that is the message's span.
fn creation(event: &Event) -> Option<TraceContext> {
    let made = TraceContext::parse(event.envelope.get("traceparent")?.text)?;
    ((made.trace_id, made.span_id) != (event.trace.trace_id, event.trace.span_id)).then_some(made)
}

/// A dead letter is on its way to its backend again: a moment below the message's span, linked to the delivery that failed.
pub(super) fn replay(letter: &Event, death: &Death) -> SpanData {
    let seed = hash(death.backend.as_bytes());
    let failed = letter.delivery_span_at(seed, death.first_lsn);
    // Each replay is one of its own, and so is its span.
    let own = failed.child(letter.lsn);
    let now = SystemTime::now();
    let mut data = super::span(own, Some((letter.trace, false)), SpanKind::Internal, "anygate.replay".into(), now);
    data.attributes.extend([
        text("anygate.backend", &death.backend),
        KeyValue::new("anygate.dead_letter", death.word.as_str()),
        KeyValue::new("anygate.attempts", i64::from(death.attempts)),
    ]);
    of_event(&mut data.attributes, &letter.envelope);
    let mut links = SpanLinks::default();
    links.links.push(link(failed));
    data.links = links;
    data
}
