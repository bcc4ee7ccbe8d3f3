//! Events for the tests of backends.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by several test binaries, each of which uses a part")]
use backends::{Events, Outcome};
use schemas::{AckLevel, Attributes, Door, Event, Headers, Kind, TraceContext, order_key};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// An event with these attributes (`source` and `type` have defaults) and data.
pub fn event_with(lsn: u64, id: &str, attributes: &[(&str, &str, Kind)], data: impl Into<Vec<u8>>) -> Event {
    let mut all = Attributes::default();
    all.set("id", id, Kind::String).unwrap();
    all.set("source", "/test", Kind::String).unwrap();
    all.set("type", "test.event", Kind::String).unwrap();
    for (name, value, kind) in attributes {
        all.set(name, value, *kind).unwrap();
    }
    let envelope = all.freeze(data.into().into()).unwrap();
    let mut headers = Headers::new();
    headers.keep("user-agent", "test/1");
    let mut span = [7; 24];
    span[23] = u8::try_from(lsn % 256).unwrap();
    Event {
        lsn,
        lanes: 2,
        key: order_key(&envelope),
        envelope,
        door: Door { listener: "http".into(), principal: "ann".into(), tenant: "".into(), subject: "/events".into() },
        headers,
        received: SystemTime::now(),
        trace: TraceContext::from_random(span, 1),
        route: "all".into(),
        level: AckLevel::Durable,
        death: None,
    }
}

/// A plain event.
pub fn event(lsn: u64, id: &str, data: &str) -> Event {
    event_with(lsn, id, &[], data)
}

/// Shared, as lanes hand them over.
pub fn events(all: impl IntoIterator<Item = Event>) -> Events {
    all.into_iter().map(Arc::new).collect()
}

/// The offset of a delivery that was confirmed.
pub fn offset(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Done(position) => position.offset,
        other => panic!("not done: {other:?}"),
    }
}

/// Asks again until the answer is yes; fails after 20 seconds.
pub async fn until(what: &str, mut yes: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if yes() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited 20 s for: {what}");
}
