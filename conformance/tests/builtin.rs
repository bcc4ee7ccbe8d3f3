//! Every codec and backend that exists keeps its contract; and a fake that breaks one promise is found out.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod fakes;

use backends::{
    Backend,
    kafka::{Kafka, KafkaSettings},
    null::Null,
    store::{Filter, Store, StoreReader, StoreSettings},
};
use conformance::{
    backend::{Subject, check_backend, event},
    codec::{Back, Sample, check_codec},
};
use fakes::{BackendBug, CodecBug, FakeBackend, FakeCodec};
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use schemas::{Event, Kind, Message, Mode};

fn message(content_type: &str, payload: &str) -> Message {
    Message { payload: payload.to_owned().into(), content_type: Some(content_type.into()), ..Message::default() }
}

fn binary(content_type: &str, payload: &str) -> Message {
    let mut message = message(content_type, payload);
    message.mode = Mode::Binary;
    for (name, value) in
        [("id", "7"), ("source", "/meter/4"), ("type", "com.acme.reading"), ("datacontenttype", content_type)]
    {
        message.attributes.set(name, value, Kind::String).unwrap();
    }
    message
}

const STRUCTURED: &str = "application/cloudevents+json";
const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/meter/4","type":"com.acme.reading","time":"2026-01-02T03:04:05Z","tenant":"acme","level":3,"data":{"celsius":21.5,"place":"Zürich \"Süd\""}}"#;
const BASE64: &str = r#"{"specversion":"1.0","id":"8","source":"/meter/4","type":"com.acme.frame","datacontenttype":"application/octet-stream","data_base64":"AP8B/w=="}"#;

/// A structured event without what the gateway's door adds to every one.
fn without_door(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).replace(",\"anygateenvelope\":1", "").into_bytes()
}

/// Samples of each codec of the registry, by name. A codec without samples is a failure: see `every_codec`.
fn samples(codec: &str) -> Vec<Sample> {
    let same_event = || Back::Event { message: message(STRUCTURED, ""), resend: without_door };
    match codec {
        "cloudevents" => vec![
            Sample { message: message(STRUCTURED, EVENT), back: same_event() },
            Sample { message: message(STRUCTURED, BASE64), back: same_event() },
            Sample {
                message: message("application/cloudevents-batch+json", &format!("[{EVENT},{BASE64}]")),
                back: same_event(),
            },
            Sample { message: binary("application/json", r#"{"celsius":21.5}"#), back: same_event() },
            Sample { message: binary("text/plain", "21.5 °C"), back: same_event() },
        ],
        "json" => {
            let json = || message("application/json", "");
            vec![
                Sample {
                    message: message("application/json", r#"{"celsius":21.5,"deep":[[[1,2,{"a":null}]]]}"#),
                    back: Back::Data(json()),
                },
                Sample {
                    message: message("application/x-ndjson", "{\"a\":1}\n\n[2]\n\"three\"\n"),
                    back: Back::Data(json()),
                },
            ]
        }
        "raw" => vec![
            Sample { message: message("text/plain", "21.5 °C"), back: Back::Data(message("text/plain", "")) },
            Sample {
                message: Message { payload: vec![0, 255, 1].into(), ..Message::default() },
                back: Back::Data(Message::default()),
            },
        ],
        _ => Vec::new(),
    }
}

#[test]
fn every_codec() {
    for codec in codecs::builtin() {
        check_codec(codec, &samples(codec.name())).unwrap_or_else(|broken| panic!("{}:\n{broken}", codec.name()));
    }
}

#[test]
fn a_codec_that_breaks_a_promise_is_found_out() {
    let sample = || Sample { message: message("x/y", "{some bytes}"), back: Back::Data(message("x/y", "")) };
    let check = |bug| check_codec(&FakeCodec::new(bug), &[sample()]);
    assert_eq!(check(CodecBug::None), Ok(()));
    for (bug, says) in [
        (CodecBug::Panics, "panics"),
        (CodecBug::Copies, "copy"),
        (CodecBug::NoOffset, "without an offset"),
        (CodecBug::OffsetBehindTheEnd, "behind the payload's end"),
        (CodecBug::OffsetNotNamed, "does not name the offset"),
        (CodecBug::NotPure, "not pure"),
        (CodecBug::EncodesOverOthers, "written before"),
        (CodecBug::LosesAByte, "when encoded and decoded"),
        (CodecBug::SetsReserved, "only the door may"),
    ] {
        let broken = check(bug).expect_err(&format!("{bug:?} is not found"));
        assert!(broken.promises().iter().any(|line| line.contains(says)), "{bug:?}:\n{broken}");
    }
    assert!(check_codec(&FakeCodec::new(CodecBug::None), &[]).is_err(), "no samples is no proof");
}

fn spoilt() -> Event {
    let event = event(1_000);
    let mut attributes = event.envelope.edit();
    attributes.set("type", "spoilt", Kind::String).unwrap();
    Event { envelope: attributes.freeze("x".into()).unwrap(), ..event }
}

async fn check(
    backend: &dyn Backend,
    held: Option<&dyn Fn() -> Vec<String>>,
    spoilt: Option<Event>,
) -> Result<(), conformance::Broken> {
    check_backend(&Subject { backend, event: &event, spoilt, held }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null() {
    check(&Null, None, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let store = Store::start(StoreSettings::new(&path)).unwrap();
    let held = || {
        let mut ids = Vec::new();
        StoreReader::open(&path)
            .unwrap()
            .query(&Filter::default(), &mut |event| ids.push(event.envelope.id().to_owned()))
            .unwrap();
        ids
    };
    check(&store, Some(&held), None).await.unwrap();
    let ids: std::collections::BTreeSet<String> = held().into_iter().collect();
    assert_eq!(ids.len(), held().len(), "the store keeps an event once, however often it is offered");
}

/// Against librdkafka's mock cluster; a real broker is in `gateway/backends/tests` and in the judge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka() {
    let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
    cluster.create_topic("in-acme", 1, 1).unwrap();
    let kafka =
        Kafka::start(KafkaSettings::new(vec![cluster.bootstrap_servers()], "in-{tenant}".parse().unwrap())).unwrap();
    let with_tenant = |number| {
        let event = event(number);
        let mut attributes = event.envelope.edit();
        attributes.set("tenant", "acme", Kind::String).unwrap();
        let data = event.envelope.data().clone();
        Event { envelope: attributes.freeze(data).unwrap(), ..event }
    };
    // Without the attribute that its topic needs it can never be a record.
    let subject = Subject { backend: &kafka, event: &with_tenant, spoilt: Some(event(1_000)), held: None };
    check_backend(&subject).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_breaks_a_promise_is_found_out() {
    for (bug, says) in [
        (BackendBug::None, ""),
        (BackendBug::Short, "outcomes for"),
        (BackendBug::Invents, "1 outcomes for 0 events"),
        (BackendBug::Lazy, "another order"),
        (BackendBug::EarlyYes, "does not have them"),
        (BackendBug::SharedFate, "third of five"),
        (BackendBug::StuckAfterDrop, "after dropped ones"),
        (BackendBug::NoRepeats, "offered again"),
        (BackendBug::SamePosition, "comes after"),
        (BackendBug::NoStrands, "are not one strand"),
    ] {
        let backend = FakeBackend::new(bug);
        let held = || backend.held.lock().unwrap().clone();
        let verdict = check(&backend, Some(&held), Some(spoilt())).await;
        match (bug, verdict) {
            (BackendBug::None, verdict) => assert_eq!(verdict, Ok(())),
            (bug, Ok(())) => panic!("{bug:?} is not found"),
            (bug, Err(broken)) => {
                assert!(broken.promises().iter().any(|line| line.contains(says)), "{bug:?}:\n{broken}");
            }
        }
    }
}
