//! Events that several tests share.
#![allow(dead_code, clippy::unwrap_used, missing_docs, reason = "each test file uses its part")]
use bytes::Bytes;
use schemas::{
    AckLevel, Attributes, Death, Door, DoorLetter, Envelope, Event, Headers, Kind, Mode, TraceContext, Word, order_key,
};
use std::time::{Duration, SystemTime};

pub fn received() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_790_000_000, 123_456_789)
}

pub fn trace() -> TraceContext {
    TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap()
}

pub fn door() -> Door {
    Door { listener: "http".into(), principal: "line-7".into(), tenant: "acme".into(), subject: "/events".into() }
}

pub fn envelope() -> Envelope {
    let mut attributes = Attributes::default();
    for (name, value, kind) in [
        ("id", "A234-1234", Kind::String),
        ("source", "/sensors/7", Kind::String),
        ("type", "com.example.reading", Kind::String),
        ("datacontenttype", "application/json", Kind::String),
        ("subject", "Halle 3, Tür \"ß\" 100%", Kind::String),
        ("time", "2026-09-21T14:13:20Z", Kind::String),
        ("partitionkey", "tür-3", Kind::String),
        ("traceparent", "00-11111111111111111111111111111111-2222222222222222-00", Kind::String),
        ("count", "-7", Kind::Integer),
        ("urgent", "true", Kind::Boolean),
    ] {
        attributes.set(name, value, kind).unwrap();
    }
    attributes.freeze(Bytes::from_static("{\"celsius\": 21.5, \"unit\": \"°C\"}".as_bytes())).unwrap()
}

pub fn event() -> Event {
    let envelope = envelope();
    let mut headers = Headers::new();
    assert!(headers.keep("X-Request-Id", "r-1"));
    Event {
        lsn: 42,
        lanes: 0b101,
        key: order_key(&envelope),
        envelope,
        door: door(),
        headers,
        received: received(),
        trace: trace(),
        route: "readings".into(),
        level: AckLevel::Durable,
        death: None,
    }
}

pub fn dead() -> Event {
    let death = Death {
        word: Word::SchemaInvalid,
        detail: "/celsius: \"warm\" is not a number".into(),
        backend: "kafka".into(),
        attempts: 3,
        first_lsn: 42,
    };
    Event { lsn: 77, lanes: 1, key: "a key of its own".into(), death: Some(Box::new(death)), ..event() }
}

pub fn letter() -> DoorLetter {
    let mut attributes = Attributes::default();
    attributes.set("type", "from.path", Kind::String).unwrap();
    let death = Death {
        word: Word::Malformed,
        detail: "a value was expected at byte 3".into(),
        backend: Default::default(),
        attempts: 0,
        first_lsn: 0,
    };
    DoorLetter {
        lsn: 78,
        payload: Bytes::from_static(b"{\"a\xff"),
        content_type: Some("application/json".into()),
        mode: Mode::Sniff,
        attributes,
        headers: Headers::new(),
        door: door(),
        received: received(),
        trace: trace(),
        tracestate: Some("rojo=00f067aa0ba902b7".into()),
        dedupe_id: None,
        death,
    }
}
