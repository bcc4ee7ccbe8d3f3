#![allow(clippy::unwrap_used)]
use super::*;
use backends::{Position, Why, fault::hash};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::SpanExporter,
};
use schemas::{
    AckLevel, Attributes, ByteStr, Death, Door, Envelope, Headers, Items, Kind, Receipt, Refusal, Verdict, Word,
};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};
use transports::{Origin, Principal, Ticket};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01";

/// Keeps what it is given, or fails.
#[derive(Clone, Debug, Default)]
struct Memory {
    spans: Arc<Mutex<Vec<SpanData>>>,
    away: bool,
}

impl SpanExporter for Memory {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if self.away {
            return Err(OTelSdkError::InternalFailure("connection refused".into()));
        }
        self.spans.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn spans(exporter: Memory) -> Spans {
    let runtime = tokio::runtime::Handle::current();
    Spans(Some(Arc::new(Worker::start(exporter, "memory".to_owned(), &runtime))))
}

fn envelope(traceparent: &str) -> Envelope {
    let mut all = Attributes::default();
    for (name, value) in [("id", "e1"), ("source", "/s"), ("type", "t"), ("subject", "x"), ("traceparent", traceparent)]
    {
        all.set(name, value, Kind::String).unwrap();
    }
    all.freeze("{}".into()).unwrap()
}

fn event(lsn: u64) -> Event {
    let envelope = envelope(PARENT);
    Event {
        lsn,
        lanes: 2,
        key: schemas::order_key(&envelope),
        envelope,
        door: Door { listener: "edge".into(), ..Door::default() },
        headers: Headers::new(),
        received: SystemTime::now(),
        trace: ours(),
        route: "all".into(),
        level: AckLevel::Durable,
        death: None,
    }
}

/// The gateway's span below [`PARENT`].
fn ours() -> TraceContext {
    TraceContext { span_id: [9; 8], ..TraceContext::parse(PARENT).unwrap() }
}

fn origin(protocol: &'static str) -> Origin {
    Origin {
        listener: "edge".into(),
        principal: Principal::default(),
        protocol,
        version: "5",
        peer: "10.0.0.7:4000".parse().unwrap(),
        client: "dev-1".into(),
    }
}

/// One message through a span; `answer` is the door's, `verdict` what the ticket becomes.
async fn message(protocol: &'static str, traceparent: &str, answer: Result<Ticket, Refusal>, polled: bool) -> SpanData {
    let exporter = Memory::default();
    let spans = spans(exporter.clone());
    let (envelope, origin) = (envelope(traceparent), origin(protocol));
    let door = Door { listener: "edge".into(), subject: "sensors/a/t".into(), ..Door::default() };
    let arrival = || Arrival {
        origin: &origin,
        door: &door,
        parent: TraceContext::parse(PARENT),
        received: SystemTime::now(),
        events: vec![&envelope],
        size: 2,
        template: Some("sensors/{site}/{kind}"),
    };
    let span = spans.open(ours(), arrival).unwrap();
    match span.answered(answer) {
        Ok(ticket) if polled => drop(ticket.verdict(&mut Never).await),
        Ok(_) | Err(_) => {}
    }
    spans.shutdown().await;
    let mut found = exporter.spans.lock().unwrap().clone();
    assert_eq!(found.len(), 1, "one span a message");
    found.remove(0)
}

/// Nothing to wait for.
struct Never;

impl transports::DurableWait for Never {
    fn poll_durable(
        &mut self,
        _: &mut std::task::Context<'_>,
        _: u64,
    ) -> std::task::Poll<Result<(), transports::Lost>> {
        std::task::Poll::Ready(Ok(()))
    }
}

fn receipt() -> Receipt {
    Receipt { level: AckLevel::Durable, trace_id: ByteStr::EMPTY, items: Items::All, reply: None }
}

fn get(span: &SpanData, name: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.to_string())
}

fn check(span: &SpanData, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(get(span, name).as_deref(), Some(*value), "{name} of {span:?}");
    }
}

#[tokio::test]
async fn an_mqtt_message_is_a_consumer_below_its_sender() {
    let span = message("mqtt", PARENT, Ok(Ticket::durable(5, receipt(), transports::Room::default())), true).await;
    assert_eq!((span.name.as_ref(), &span.span_kind), ("process sensors/{site}/{kind}", &SpanKind::Consumer));
    assert_eq!(span.span_context.span_id().to_bytes(), [9; 8]);
    assert_eq!((span.parent_span_id.to_string().as_str(), span.parent_span_is_remote), ("00f067aa0ba902b7", true));
    assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((span.links.len(), span.status == Status::Unset, span.end_time >= span.start_time), (0, true, true));
    check(
        &span,
        &[
            ("messaging.system", "mqtt"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.template", "sensors/{site}/{kind}"),
            ("messaging.destination.name", "sensors/a/t"),
            ("messaging.client.id", "dev-1"),
            ("messaging.message.id", "e1"),
            ("cloudevents.event_source", "/s"),
            ("network.protocol.name", "mqtt"),
            ("network.protocol.version", "5"),
            ("anygate.listener", "edge"),
            ("anygate.ack_level", "durable"),
            ("anygate.outcome", "receipt"),
        ],
    );
    assert_eq!(span.instrumentation_scope.schema_url(), Some(SCHEMA_URL));
    assert_eq!(get(&span, "http.response.status_code"), None);
}

#[tokio::test]
async fn an_http_message_is_a_server_span_and_links_to_what_the_event_says() {
    let span = message("http", OTHER, Ok(Ticket::now(Verdict::Receipt(receipt()))), true).await;
    assert_eq!((span.name.as_ref(), &span.span_kind), ("POST /events", &SpanKind::Server));
    check(&span, &[("http.request.method", "POST"), ("http.response.status_code", "202")]);
    let linked: Vec<_> = span.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
    assert_eq!(linked, ["1111111111111111"]);
}

#[tokio::test]
async fn refusals_are_recorded_with_their_word() {
    let refused = |word| Err(Refusal::new(word, "so it is"));
    let span = message("http", PARENT, refused(Word::Malformed), true).await;
    check(&span, &[("error.type", "malformed"), ("http.response.status_code", "400"), ("anygate.outcome", "refused")]);
    assert_eq!(span.status, Status::Unset, "the client is to blame");
    let span = message("http", PARENT, refused(Word::StorageFull), true).await;
    assert_eq!(span.status, Status::error("storage_full: so it is"));
    let span = message("mqtt", PARENT, refused(Word::Malformed), true).await;
    assert_eq!(span.status, Status::error("malformed: so it is"));
    let unknown = Ticket::now(Verdict::Unknown(schemas::Unknown { word: Word::Timeout }));
    let span = message("http", PARENT, Ok(unknown), true).await;
    check(&span, &[("http.response.status_code", "504"), ("anygate.outcome", "unknown"), ("error.type", "timeout")]);
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_a_span() {
    let span = message("http", PARENT, Ok(Ticket::now(Verdict::Receipt(receipt()))), false).await;
    check(&span, &[("anygate.outcome", "unanswered")]);
    assert_eq!(get(&span, "http.response.status_code"), None);
}

fn delivered(event: &Event, end: Result<&Position, &Why>) -> SpanData {
    let backend = ByteStr::from_static("warehouse");
    delivery::span(event, &Delivery { backend: &backend, kind: "kafka", attempts: 2, began: SystemTime::now(), end })
}

#[test]
fn a_delivery_is_a_client_below_the_message() {
    let position = Position { place: "orders".into(), partition: 3, offset: 42 };
    let span = delivered(&event(7), Ok(&position));
    assert_eq!((span.name.as_ref(), &span.span_kind), ("send orders", &SpanKind::Client));
    assert_eq!((span.parent_span_id.to_bytes(), span.parent_span_is_remote), ([9; 8], false));
    // What the Kafka record says is its parent.
    let header = event(7).delivery_span(hash(b"warehouse"));
    assert_eq!(span.span_context.span_id().to_bytes(), header.span_id);
    check(
        &span,
        &[
            ("messaging.system", "kafka"),
            ("messaging.operation.name", "send"),
            ("messaging.destination.name", "orders"),
            ("messaging.destination.partition.id", "3"),
            ("messaging.kafka.offset", "42"),
            ("anygate.backend", "warehouse"),
            ("anygate.route", "all"),
            ("anygate.lsn", "7"),
            ("anygate.attempts", "2"),
        ],
    );
    let linked: Vec<_> = span.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
    assert_eq!(linked, ["00f067aa0ba902b7"], "the context in which the event was made");
}

#[test]
fn a_failed_delivery_and_its_replay_are_linked() {
    let why = Why::new(Word::TooLarge, "the topic takes less");
    let failed = delivered(&event(7), Err(&why));
    assert_eq!(
        (failed.name.as_ref(), &failed.status),
        ("send warehouse", &Status::error("too_large: the topic takes less"))
    );
    check(&failed, &[("error.type", "too_large")]);
    let (word, detail) = (Word::TooLarge, ByteStr::EMPTY);
    let death = Death { word, detail, backend: "warehouse".into(), attempts: 1, first_lsn: 7 };
    let mark = delivery::replay(&event(12), &death);
    assert_eq!((mark.name.as_ref(), mark.parent_span_id.to_bytes()), ("anygate.replay", [9; 8]));
    check(&mark, &[("anygate.backend", "warehouse"), ("anygate.dead_letter", "too_large")]);
    let linked: Vec<_> = mark.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [failed.span_context.span_id()]);
    let again = delivered(&event(20), Ok(&Position::default()));
    assert_ne!(again.span_context.span_id(), failed.span_context.span_id());
}

#[test]
fn every_delivery_of_a_message_has_its_own_span() {
    let id = |event: &Event, backend: &str| event.delivery_span(hash(backend.as_bytes())).span_id;
    let direct = |name: &str| {
        let mut attributes = Attributes::default();
        for (key, value) in [("id", name), ("source", "/s"), ("type", "t")] {
            attributes.set(key, value, Kind::String).unwrap();
        }
        Event { envelope: attributes.freeze("".into()).unwrap(), ..event(0) }
    };
    let mut ids = vec![ours().span_id, id(&event(1), "a"), id(&event(1), "b"), id(&event(2), "a")];
    ids.extend([id(&direct("x"), "a"), id(&direct("y"), "a"), id(&direct("x"), "b")]);
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn only_sampled_traces_are_recorded_and_off_costs_nothing() {
    let exporter = Memory::default();
    let on = spans(exporter.clone());
    let unsampled = TraceContext { flags: 0, ..ours() };
    assert!(on.open(unsampled, || unreachable!("never built")).is_none());
    assert!(Spans::default().open(ours(), || unreachable!("never built")).is_none());
    let quiet = Event { trace: unsampled, ..event(1) };
    on.delivery(&quiet, || unreachable!("never built"));
    on.shutdown().await;
    assert!(exporter.spans.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_away_blocks_nobody() {
    let spans = spans(Memory { away: true, ..Memory::default() });
    let (event, position, backend) = (event(1), Position::default(), ByteStr::from_static("b"));
    let begin = Instant::now();
    let total = worker::QUEUE * 3;
    for _ in 0..total {
        let delivery =
            || Delivery { backend: &backend, kind: "null", attempts: 0, began: SystemTime::now(), end: Ok(&position) };
        spans.delivery(&event, delivery);
    }
    assert!(spans.dropped() > 0, "the queue is bounded");
    spans.shutdown().await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(spans.dropped(), u64::try_from(total).unwrap(), "every span is sent or counted");
}

#[tokio::test]
async fn everything_that_waits_is_sent_at_the_end() {
    let exporter = Memory::default();
    let spans = spans(exporter.clone());
    let (position, backend) = (Position::default(), ByteStr::from_static("b"));
    for lsn in 1..=2000 {
        let delivery =
            || Delivery { backend: &backend, kind: "null", attempts: 0, began: SystemTime::now(), end: Ok(&position) };
        spans.delivery(&event(lsn), delivery);
    }
    spans.shutdown().await;
    assert_eq!((exporter.spans.lock().unwrap().len(), spans.dropped()), (2000, 0));
}
