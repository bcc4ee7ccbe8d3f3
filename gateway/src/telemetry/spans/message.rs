//! The span of a message: from its arrival to its answer.
//!
//! Held by whoever still has something to say of it: the batch on its way through the stack, then the ticket. The last one to
//! let go sends it, so that a connection that breaks in between loses no span.
use super::{link, span, worker::Worker};
use crate::stack::Batch;
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};
use schemas::{AckLevel, ByteStr, Door, Envelope, ItemVerdict, Items, Receipt, Refusal, TraceContext, Verdict, Word};
use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use transports::{
    Origin, Ticket,
    ticket::{Observer, Stamp},
};

/// Links of one span at most: a batch may hold events of many traces.
const LINKS_MAX: usize = 32;
/// Bytes of text of one attribute at most.
const TEXT_MAX: usize = 1024;

/// What is known of a message when it has been read.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Where it came from.
    pub origin: &'a Origin,
    /// The door's attributes.
    pub door: &'a Door,
    /// What the sender says is the parent.
    pub parent: Option<TraceContext>,
    /// When it was received.
    pub received: SystemTime,
    /// Its events, as far as they could be read.
    pub events: Vec<&'a Envelope>,
    /// Bytes of the events' data; of the payload, if it could not be read.
    pub size: usize,
    /// The pattern that its topic or path matched, if one did.
    pub template: Option<&'a str>,
}

/// A message's span while it is open.
pub struct MessageSpan {
    state: Mutex<State>,
    worker: Arc<Worker>,
}

struct State {
    data: SpanData,
    http: bool,
    ended: bool,
}

impl fmt::Debug for MessageSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSpan").finish_non_exhaustive()
    }
}

impl MessageSpan {
    pub(super) fn new(trace: TraceContext, arrival: &Arrival<'_>, worker: Arc<Worker>) -> Self {
        let http = arrival.origin.protocol == "http";
        let kind = if http { SpanKind::Server } else { SpanKind::Consumer };
        let parent = arrival.parent.map(|parent| (parent, true));
        let mut data = span(trace, parent, kind, name(arrival, http), arrival.received);
        describe(&mut data.attributes, arrival, http);
        let mut links = SpanLinks::default();
        links.links.extend(
            arrival.events.iter().filter_map(|event| creation(event, arrival.parent, trace)).take(LINKS_MAX).map(link),
        );
        data.links = links;
        MessageSpan { state: Mutex::new(State { data, http, ended: false }), worker }
    }

    /// The message was kept: where its events go.
    pub fn kept(&self, batch: &Batch) {
        let name = |number: &u32| Some(batch.plan.as_ref()?.routes().get(*number as usize)?.name.clone());
        let mut routes: Vec<ByteStr> = batch.items.iter().flat_map(|item| &item.routes).filter_map(name).collect();
        routes.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        routes.dedup();
        let routes = routes.iter().map(ByteStr::as_str).collect::<Vec<_>>().join(",");
        let mut state = self.lock();
        if !routes.is_empty() {
            state.data.attributes.push(text("anygate.route", &routes));
        }
        let dead = batch.items.iter().find_map(|item| item.dead.as_ref());
        state.data.attributes.extend(dead.map(|(word, _)| KeyValue::new("anygate.dead_letter", word.as_str())));
    }

    /// The door's answer: a refusal ends the span, a ticket takes it along until its verdict.
    ///
    /// # Errors
    /// The refusal that was given.
    pub fn answered(self: Arc<Self>, answer: Result<Ticket, Refusal>) -> Result<Ticket, Refusal> {
        match answer {
            Ok(mut ticket) => {
                let (next, stamp) =
                    ticket.take_observer().map_or((None, None), |(next, stamp)| (Some(next), Some(stamp)));
                let stamp = stamp.unwrap_or(Stamp { arrived: std::time::Instant::now(), note: 0 });
                Ok(ticket.observed(Arc::new(Listens { span: self, next }), stamp))
            }
            Err(refusal) => {
                self.refused(&refusal);
                Err(refusal)
            }
        }
    }

    fn settle(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Receipt(receipt) => {
                let mut state = self.lock();
                state.data.attributes.push(KeyValue::new("anygate.ack_level", receipt.level.as_str()));
                state.end("receipt", status_of_receipt(receipt));
            }
            Verdict::Refusal(refusal) => self.refused(refusal),
            Verdict::Unknown(unknown) => {
                let status = if unknown.word == Word::Timeout { 504 } else { 503 };
                self.lock().fail(unknown.word, "it may have been kept", "unknown", status);
            }
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let whole_batch = matches!(refusal.items, Items::Each(_)) && !refusal.word.retryable();
        let status = if whole_batch { 422 } else { refusal.word.entry().http };
        self.lock().fail(refusal.word, &refusal.detail, "refused", status);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, word: Word, detail: &str, outcome: &'static str, status: u16) {
        self.data.attributes.push(KeyValue::new("error.type", word.as_str()));
        // A server's span is no error when the client is to blame (HTTP conventions, "Status").
        if !self.http || status >= 500 {
            self.data.status = Status::error(format!("{word}: {}", cut(detail)));
        }
        self.end(outcome, status);
    }

    fn end(&mut self, outcome: &'static str, status: u16) {
        self.data.attributes.push(KeyValue::new("anygate.outcome", outcome));
        if self.http {
            self.data.attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        self.data.end_time = SystemTime::now().max(self.data.start_time);
        self.ended = true;
    }
}

/// The status that a receipt has over HTTP; as [`transports::http`] answers it.
fn status_of_receipt(receipt: &Receipt) -> u16 {
    let refused = match &receipt.items {
        Items::All => 0,
        Items::Each(items) => items.iter().filter(|item| matches!(item.verdict, ItemVerdict::Refused(..))).count(),
    };
    match (&receipt.items, receipt.level) {
        (Items::Each(items), _) if refused > 0 => {
            if refused == items.len() {
                422
            } else {
                207
            }
        }
        (_, AckLevel::Delivered) => 200,
        (_, AckLevel::Received | AckLevel::Durable) => 202,
    }
}

impl Drop for MessageSpan {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.ended {
            // The sender went away before its answer; the message itself may well be kept. No status was sent.
            state.http = false;
            state.end("unanswered", 0);
        }
        self.worker.send(state.data.clone());
    }
}

/// Hears the verdict for the span, and passes it on.
#[derive(Debug)]
struct Listens {
    span: Arc<MessageSpan>,
    next: Option<Arc<dyn Observer>>,
}

impl Observer for Listens {
    fn settled(&self, stamp: Stamp, verdict: &Verdict) {
        self.span.settle(verdict);
        if let Some(next) = &self.next {
            next.settled(stamp, verdict);
        }
    }
}

/// `POST /events/{type}`, `process sensors/{site}/{kind}`: never what only this message has.
fn name(arrival: &Arrival<'_>, http: bool) -> Cow<'static, str> {
    match arrival.template {
        _ if http && has_type(arrival) => Cow::Borrowed("POST /events/{type}"),
        _ if http => Cow::Borrowed("POST /events"),
        Some(template) => Cow::Owned(format!("process {template}")),
        None => Cow::Borrowed("process"),
    }
}

/// Whether the path names the event's type.
fn has_type(arrival: &Arrival<'_>) -> bool {
    arrival.door.subject.starts_with("/events/")
}

fn describe(attributes: &mut Vec<KeyValue>, arrival: &Arrival<'_>, http: bool) {
    let (origin, door) = (arrival.origin, arrival.door);
    attributes.extend([
        KeyValue::new("network.protocol.name", origin.protocol),
        KeyValue::new("network.protocol.version", origin.version),
        KeyValue::new("network.transport", "tcp"),
        KeyValue::new("network.peer.address", origin.peer.ip().to_string()),
        KeyValue::new("network.peer.port", i64::from(origin.peer.port())),
        text("anygate.listener", &origin.listener),
        text("anygate.subject", &door.subject),
        number("messaging.message.body.size", arrival.size),
    ]);
    if http {
        attributes.extend([
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.route", if has_type(arrival) { "/events/{type}" } else { "/events" }),
            KeyValue::new("url.scheme", "http"),
        ]);
        if door.subject.starts_with('/') {
            attributes.push(text("url.path", &door.subject));
        }
    } else {
        attributes.extend([
            KeyValue::new("messaging.system", origin.protocol),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.operation.name", "process"),
            text("messaging.destination.name", &door.subject),
        ]);
        attributes.extend(arrival.template.map(|template| text("messaging.destination.template", template)));
        if !origin.client.is_empty() {
            attributes.push(text("messaging.client.id", &origin.client));
        }
    }
    if !door.principal.is_empty() {
        attributes.push(text("anygate.principal", &door.principal));
    }
    match arrival.events.as_slice() {
        [event] => of_event(attributes, event),
        events => attributes.push(number("messaging.batch.message_count", events.len())),
    }
}

/// What names an event: the CloudEvents conventions.
pub(super) fn of_event(attributes: &mut Vec<KeyValue>, event: &Envelope) {
    attributes.extend([
        text("messaging.message.id", event.id()),
        text("cloudevents.event_id", event.id()),
        text("cloudevents.event_source", event.source()),
        text("cloudevents.event_type", event.event_type()),
        KeyValue::new("cloudevents.event_spec_version", "1.0"),
    ]);
    attributes.extend(event.get("subject").map(|subject| text("cloudevents.event_subject", subject.text)));
}

/// The context in which an event was made, when it is neither the message's parent nor the message's own span.
fn creation(event: &Envelope, parent: Option<TraceContext>, own: TraceContext) -> Option<TraceContext> {
    let made = TraceContext::parse(event.get("traceparent")?.text)?;
    let same = |other: TraceContext| (other.trace_id, other.span_id) == (made.trace_id, made.span_id);
    (!same(own) && !parent.is_some_and(same)).then_some(made)
}

pub(super) fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, cut(value).to_owned())
}

pub(super) fn number(name: &'static str, value: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

/// At most [`TEXT_MAX`] bytes, whole characters.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}
