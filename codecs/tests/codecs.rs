//! Which codec takes what, and what becomes of it: the content type table of the HTTP listener, bare messages, batches.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
use bytes::Bytes;
use codecs::{BareRules, Context, DecodeError, Decoded, builtin, by_name, choose};
use proptest::prelude::*;
use schemas::{AttributeFault, Attributes, Door, Envelope, EventView, Kind, Message, Mode, Word, limits};
use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn message(content_type: Option<&str>, payload: &[u8]) -> Message {
    Message {
        payload: Bytes::copy_from_slice(payload),
        content_type: content_type.map(Into::into),
        ..Message::default()
    }
}

fn binary(content_type: &str, payload: &[u8]) -> Message {
    let mut message = message(Some(content_type), payload);
    message.mode = Mode::Binary;
    for (name, value) in
        [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t"), ("datacontenttype", content_type)]
    {
        message.attributes.set(name, value, Kind::String).unwrap();
    }
    message
}

fn decode_with(message: &Message, rules: Option<&dyn BareRules>) -> Result<Decoded, DecodeError> {
    let count = Cell::new(0);
    let new_id = || {
        count.set(count.get() + 1);
        format!("id-{}", count.get())
    };
    let received = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_500);
    let cx = Context { listener: "edge", received, traceparent: TRACEPARENT, rules, new_id: &new_id };
    choose(message).decode(message, &cx)
}

fn one(message: &Message) -> Envelope {
    let mut decoded = decode_with(message, None).unwrap();
    assert_eq!(decoded.len(), 1);
    decoded.remove(0).unwrap()
}

fn get<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope.get(name).map(|value| value.text)
}

fn is_slice(message: &Message, data: &Bytes) -> bool {
    message.payload.as_ptr_range().contains(&data.as_ptr())
}

#[test]
fn the_table_of_content_types() {
    for (content_type, payload, codec, datacontenttype) in [
        (Some("application/json"), &b"{\"a\":1}"[..], "json", "application/json"),
        (Some("Application/JSON; charset=utf-8"), b"7", "json", "Application/JSON; charset=utf-8"),
        (Some("application/vnd.x+json"), b"[]", "json", "application/vnd.x+json"),
        (Some("text/plain"), b"{\"a\":1}", "raw", "text/plain"),
        (Some("application/xml"), b"\xff", "raw", "application/xml"),
        (None, b"{\"a\":1}", "json", "application/json"),
        (None, b"{\"a\":", "raw", "text/plain"),
        (None, b"a=b", "raw", "text/plain"),
        (None, b"\xff\xfe", "raw", "application/octet-stream"),
        (None, b"", "raw", "text/plain"),
        (Some(""), b"true", "json", "application/json"),
        (Some("application/x-www-form-urlencoded"), b"{\"a\":1}", "json", "application/json"),
        (Some("application/x-www-form-urlencoded"), b"a=b", "raw", "text/plain"),
        (Some("application/x-www-form-urlencoded; charset=x"), b"\xff", "raw", "application/octet-stream"),
    ] {
        let message = message(content_type, payload);
        assert_eq!(choose(&message).name(), codec, "{content_type:?}");
        let envelope = one(&message);
        assert_eq!(get(&envelope, "datacontenttype"), Some(datacontenttype), "{content_type:?}");
        assert_eq!(&envelope.data()[..], payload);
        assert!(payload.is_empty() || is_slice(&message, envelope.data()));
    }
}

#[test]
fn bare_events_get_what_nobody_said() {
    let envelope = one(&message(Some("application/json"), b"1"));
    let attributes: Vec<(&str, &str)> = envelope.attributes().map(|(name, value)| (name, value.text)).collect();
    assert_eq!(
        attributes,
        [
            ("id", "id-1"),
            ("source", "/listeners/edge"),
            ("type", "anygate.message"),
            ("datacontenttype", "application/json"),
            ("time", "2026-09-21T14:13:20.5Z"),
            ("traceparent", TRACEPARENT),
        ]
    );
}

struct Rules;

impl BareRules for Rules {
    fn apply(&self, message: &Message, attributes: &mut Attributes) -> Result<(), AttributeFault> {
        if &*message.subject == "bad" {
            return Err(AttributeFault::new(Word::MissingAttribute, "nothing to fill {site} with"));
        }
        for (name, value) in
            [("type", "by.rule"), ("source", "/rule"), ("subject", "s"), ("time", "2020-01-01T00:00:00Z")]
        {
            attributes.set(name, value, Kind::String)?;
        }
        Ok(())
    }
}

#[test]
fn rules_decide_but_the_protocols_type_wins() {
    let mut plain = message(None, b"x");
    let by_rule = decode_with(&plain, Some(&Rules)).unwrap().remove(0).unwrap();
    assert_eq!((by_rule.event_type(), by_rule.source(), get(&by_rule, "subject")), ("by.rule", "/rule", Some("s")));
    assert_eq!(get(&by_rule, "time"), Some("2020-01-01T00:00:00Z"));
    assert_eq!(get(&by_rule, "recordedtime"), Some("2026-09-21T14:13:20.5Z"));
    plain.attributes.set("type", "from.path", Kind::String).unwrap();
    assert_eq!(decode_with(&plain, Some(&Rules)).unwrap().remove(0).unwrap().event_type(), "from.path");
    assert_eq!(one(&plain).event_type(), "from.path");
    plain.subject = "bad".into();
    assert_eq!(decode_with(&plain, Some(&Rules)).unwrap_err().word, Word::MissingAttribute);
}

#[test]
fn a_senders_own_trace_is_kept() {
    let own = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","traceparent":"own","tracestate":"a=1"}"#;
    let mut structured = message(Some("application/cloudevents+json"), own.as_bytes());
    structured.tracestate = Some("b=2".into());
    let envelope = one(&structured);
    assert_eq!((get(&envelope, "traceparent"), get(&envelope, "tracestate")), (Some("own"), Some("a=1")));
    let mut bare = message(None, b"x");
    bare.tracestate = Some("b=2".into());
    let envelope = one(&bare);
    assert_eq!((get(&envelope, "traceparent"), get(&envelope, "tracestate")), (Some(TRACEPARENT), Some("b=2")));
}

#[test]
fn bad_json_is_malformed_with_its_offset() {
    let deep = "[".repeat(65);
    for (message, offset) in [
        (message(Some("application/json"), b"{\"a\":}"), 5),
        (message(Some("application/json"), b""), 0),
        (message(Some("application/json"), deep.as_bytes()), 64),
        (binary("application/json", b"{\"a\" 1}"), 5),
        (message(Some("application/cloudevents+json"), b"{\"a\":1]"), 6),
        (message(Some("application/cloudevents-batch+json"), b"[{},"), 4),
    ] {
        let error = decode_with(&message, None).unwrap_err();
        assert_eq!((error.word, error.offset), (Word::Malformed, Some(offset)), "{error}");
        assert!(error.detail.contains(&format!("byte {offset}")), "{error}");
    }
}

#[test]
fn binary_mode_takes_any_data() {
    let xml = binary("text/xml", b"<a/>");
    assert_eq!(choose(&xml).name(), "cloudevents");
    assert!(is_slice(&xml, one(&xml).data()));
    assert!(one(&binary("application/json", b"")).data().is_empty(), "an event may have no data");
    let mut incomplete = binary("text/xml", b"");
    incomplete.attributes.remove("id");
    assert_eq!(decode_with(&incomplete, None).unwrap()[0].as_ref().unwrap_err().word, Word::MissingAttribute);
}

#[test]
fn event_formats_that_are_not_known_are_refused() {
    for content_type in
        ["application/cloudevents+avro", "application/cloudevents", "Application/CloudEvents-batch+xml; a=b"]
    {
        let error = decode_with(&message(Some(content_type), b"{}"), None).unwrap_err();
        assert_eq!(error.word, Word::UnsupportedFormat, "{content_type}");
    }
}

#[test]
fn batches_item_by_item() {
    let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;
    let batch = format!("[{good},{{\"id\":\"2\"}},{good}]");
    let batch = message(Some("application/cloudevents-batch+json; charset=UTF-8"), batch.as_bytes());
    let decoded = decode_with(&batch, None).unwrap();
    assert_eq!(decoded.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(is_slice(&batch, decoded[2].as_ref().unwrap().data()));
    let empty = message(Some("application/cloudevents-batch+json"), b"[]");
    assert!(decode_with(&empty, None).unwrap().is_empty(), "an empty batch is legal");
}

#[test]
fn ndjson_lines() {
    let lines = message(Some("application/x-ndjson"), b"{\"a\":1}\r\n\n  [2] \n{broken\n\n3");
    let decoded = decode_with(&lines, None).unwrap();
    let shown: Vec<Result<&[u8], &str>> = decoded
        .iter()
        .map(|item| item.as_ref().map(|envelope| &envelope.data()[..]).map_err(|fault| fault.detail.as_ref()))
        .collect();
    let fault = "line 4 is not JSON: '\"' was expected at byte 18";
    assert_eq!(shown, [Ok(&b"{\"a\":1}"[..]), Ok(b"[2]"), Err(fault), Ok(b"3")]);
    let (first, last) = (decoded[0].as_ref().unwrap(), decoded[3].as_ref().unwrap());
    assert_eq!((first.id(), last.id(), last.content_type()), ("id-1", "id-3", Some("application/json")));
    assert!(is_slice(&lines, last.data()));
    let many = message(Some("application/x-ndjson"), "1\n".repeat(limits::EVENTS_PER_MESSAGE_MAX + 1).as_bytes());
    assert_eq!(decode_with(&many, None).unwrap_err().word, Word::TooLarge);
}

#[test]
fn sniffing() {
    let sniff = |payload: &str| Message { mode: Mode::Sniff, ..message(None, payload.as_bytes()) };
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(one(&sniff(event)).id(), "1");
    assert_eq!(choose(&sniff("{\"id\":1}")).name(), "json");
    assert_eq!(choose(&sniff("on")).name(), "raw");
    // It says that it is an event, so it is not taken as anything else.
    assert!(decode_with(&sniff(r#"{"specversion":"1.0""#), None).is_err());
    assert!(decode_with(&sniff(r#"{"specversion":"1.0"}"#), None).unwrap()[0].is_err());
}

#[test]
fn encoding_and_names() {
    let envelope = one(&message(Some("application/json"), b"{\"a\":1}"));
    let door = Door { listener: "edge".into(), ..Door::default() };
    let encoded = |name: &str| {
        let mut out = Vec::new();
        by_name(name).unwrap().encode(EventView { envelope: &envelope, door: &door }, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!((encoded("json"), encoded("raw")), ("{\"a\":1}".to_owned(), "{\"a\":1}".to_owned()));
    assert!(encoded("cloudevents").contains("\"anygatelistener\":\"edge\""));
    let names: Vec<_> = builtin().iter().map(|codec| codec.name()).collect();
    assert_eq!(names, ["cloudevents", "json", "raw"]);
    assert!(by_name("xml").is_none());
}

proptest! {
    #[test]
    fn no_bytes_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        content_type in prop_oneof![
            Just(None), Just(Some("application/json")), Just(Some("application/x-ndjson")), Just(Some("text/plain")),
            Just(Some("application/cloudevents+json")), Just(Some("application/cloudevents-batch+json")),
        ],
        sniff in any::<bool>(),
    ) {
        let mut message = message(content_type, &payload);
        if sniff { message.mode = Mode::Sniff }
        for codec in builtin() {
            let new_id = || "id".to_owned();
            let cx = Context { listener: "l", received: SystemTime::UNIX_EPOCH, traceparent: "", rules: None, new_id: &new_id };
            let _ = codec.decode(&message, &cx);
        }
        let _ = decode_with(&message, None);
    }
}
