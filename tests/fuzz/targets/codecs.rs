//! Arbitrary messages through the codec that is chosen for them: bare, structured, batches, lines. Nothing panics, and what
//! was decoded, written as a CloudEvent and decoded again is the same event.
//!
//! The first byte chooses the content type, the second how the binding took the payload; the rest is the payload.
#![no_main]

use bytes::Bytes;
use codecs::Context;
use libfuzzer_sys::fuzz_target;
use schemas::{
    Door, Envelope, EventView, Message, Mode,
    envelope::is_json,
    json::{EVENT_TYPE, write_event},
};
use std::time::{Duration, SystemTime};

const TYPES: [Option<&str>; 10] = [
    None,
    Some("application/json"),
    Some("application/cloudevents+json"),
    Some("application/cloudevents-batch+json"),
    Some("application/x-ndjson"),
    Some("text/plain; charset=utf-8"),
    Some("application/octet-stream"),
    Some("application/x-www-form-urlencoded"),
    Some("application/cloudevents+avro"),
    Some(" Application/Vnd.X+JSON ;q=1"),
];
const MODES: [Mode; 3] = [Mode::ByContentType, Mode::Sniff, Mode::Binary];

fn new_id() -> String {
    "01890a5d-ac96-774b-bcce-b302099a8057".to_owned()
}

fn context() -> Context<'static> {
    Context {
        listener: "web",
        received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        rules: None,
        new_id: &new_id,
    }
}

/// White space around a JSON text is no part of it: a bare payload keeps it, the JSON format has its own.
fn content(envelope: &Envelope) -> (Vec<(String, String)>, &[u8]) {
    let mut attributes: Vec<_> =
        envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
    attributes.sort();
    let data = envelope.data().as_ref();
    (attributes, if envelope.content_type().is_none_or(is_json) { data.trim_ascii() } else { data })
}

fuzz_target!(|data: &[u8]| {
    let [content_type, mode, payload @ ..] = data else { return };
    let message = Message {
        payload: Bytes::copy_from_slice(payload),
        content_type: TYPES[usize::from(*content_type) % TYPES.len()].map(Into::into),
        mode: MODES[usize::from(*mode) % MODES.len()],
        subject: "a/b".into(),
        ..Message::default()
    };
    let Ok(events) = codecs::choose(&message).decode(&message, &context()) else { return };
    let structured = codecs::by_name("cloudevents").expect("built in");
    let door = Door::default();
    for envelope in events.into_iter().flatten() {
        for codec in codecs::builtin() {
            codec.encode(EventView { envelope: &envelope, door: &door }, &mut Vec::new());
        }
        // Without its door: a sender may not say those attributes.
        let mut plain = Vec::new();
        write_event(&mut plain, &envelope, None);
        let again = Message { payload: plain.into(), content_type: Some(EVENT_TYPE.into()), ..Message::default() };
        let again = structured.decode(&again, &context()).expect("its own form").remove(0).expect("an event");
        assert_eq!(content(&envelope), content(&again));
    }
});
