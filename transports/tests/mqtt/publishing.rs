//! What the gateway sees of a PUBLISH.
use crate::client::*;
use schemas::{Mode, Word};
use transports::mqtt::MqttSettings;

#[tokio::test]
async fn mqtt_5_binds_user_properties() {
    let server =
        server(MqttSettings { keep_headers: vec!["site".into(), "response-topic".into()], ..MqttSettings::default() })
            .await;
    let mut client = server.v5().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event =
        [user("specversion", "1.0"), user("id", "1"), user("source", "/s"), user("type", "t"), user("Site", "x")]
            .concat();
    let rest = [
        vec![0x03],
        string("text/plain"),
        vec![2, 0, 0, 0, 60],
        user("traceparent", parent),
        user("tracestate", "a=1"),
    ]
    .concat();
    client.send(&publish_v5(1, "a/b", &[event, rest].concat(), b"hello")).await;
    client.expect(&puback(1)).await;
    let reply = [vec![0x08], string("r/t"), vec![0x09], string("77"), vec![0x01, 1]].concat();
    client.send(&publish_v5(2, "c", &reply, b"bare")).await;
    client.expect(&puback(2)).await;
    let structured = [vec![0x03], string("application/cloudevents+json")].concat();
    client.send(&publish_v5(3, "d", &structured, b"{}")).await;
    client.expect(&puback(3)).await;
    let seen = server.gate.seen();
    let message = &seen[0].message;
    assert_eq!((message.mode, message.subject.as_str(), &message.payload[..]), (Mode::Binary, "a/b", &b"hello"[..]));
    assert_eq!((message.attributes.get("id"), message.content_type.as_deref()), (Some("1"), Some("text/plain")));
    assert!(message.attributes.get("expirytime").is_some_and(|time| time.ends_with('Z')));
    assert_eq!(message.trace.unwrap().to_string(), parent);
    assert_eq!(message.tracestate.as_deref(), Some("a=1"));
    assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("site", "x")]);
    assert!(!message.wants.partial && message.wants.answer && seen[0].room >= 512);
    let bare = &seen[1].message;
    assert_eq!((bare.mode, bare.content_type.as_deref()), (Mode::ByContentType, None));
    assert_eq!(bare.headers.iter().collect::<Vec<_>>(), [("response-topic", "r/t")]);
    assert_eq!(seen[2].message.mode, Mode::ByContentType);
    assert_eq!(seen[2].message.content_type.as_deref(), Some("application/cloudevents+json"));
}

#[tokio::test]
async fn mqtt_3_is_sniffed() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v3().await;
    client.send(&publish_v3(1, "a/b", b"{}")).await;
    client.expect(&puback(1)).await;
    client.send(b"\x30\x06\0\x03a/cx").await;
    client.ping().await;
    let seen = server.gate.seen();
    assert_eq!((seen[0].message.mode, seen[0].message.subject.as_str()), (Mode::Sniff, "a/b"));
    assert_eq!((seen[1].message.wants.answer, &seen[1].message.payload[..]), (false, &b"x"[..]));
}

#[tokio::test]
async fn bad_messages_are_refused_alone_and_in_order() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v5().await;
    let not_text = publish_v5(2, "t", &[1, 1], b"\xff");
    let reserved = publish_v5(3, "t", &user("anygatetenant", "x"), b"x");
    let no_event = publish_v5(4, "t", &user("specversion", "0.3"), b"x");
    client
        .send(&[publish_v5(1, "t", &[], b"x"), not_text, reserved, no_event, publish_v5(5, "t", &[], b"x")].concat())
        .await;
    client.expect(&puback(1)).await;
    for (id, code, word) in [(2u16, 0x99, "malformed"), (3, 0x83, "reserved_attribute"), (4, 0x99, "malformed")] {
        let puback = client.packet().await;
        assert_eq!(puback[..1], [0x40]);
        assert_eq!((puback[2..4].to_vec(), puback[4]), (id.to_be_bytes().to_vec(), code));
        assert!(std::str::from_utf8(&puback[9..]).unwrap().starts_with(word), "{puback:02x?}");
    }
    client.expect(&puback(5)).await;
    assert_eq!(server.gate.seen().len(), 2);
    assert_eq!(server.gate.refused_words(), [Word::Malformed, Word::ReservedAttribute, Word::Malformed]);
}

#[tokio::test]
async fn topic_aliases() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v5().await;
    for (id, topic, alias) in [(1, "first", 2), (2, "", 2), (3, "second", 2), (4, "", 2)] {
        client.send(&publish_v5(id, topic, &[0x23, 0, alias], b"x")).await;
        client.expect(&puback(id)).await;
    }
    let topics: Vec<String> = server.gate.seen().iter().map(|seen| seen.message.subject.to_string()).collect();
    assert_eq!(topics, ["first", "first", "second", "second"]);
}

#[tokio::test]
async fn payloads_of_all_sizes_in_any_pieces() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v3().await;
    let mut bytes = Vec::new();
    let sizes = [0, 1, 100, 4090, 4100, 8191, 20_000, 300_000];
    for (id, size) in (1u16..).zip(sizes) {
        bytes.extend(publish_v3(id, "t", &vec![u8::try_from(id).unwrap(); size]));
    }
    for piece in bytes.chunks(3_001) {
        client.send(piece).await;
    }
    for id in 1..=u16::try_from(sizes.len()).unwrap() {
        client.expect(&puback(id)).await;
    }
    let mut slow = server.v5().await;
    for byte in publish_v5(7, "t", &user("a", "b"), b"slowly") {
        slow.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    slow.expect(&puback(7)).await;
    let seen: Vec<usize> = server.gate.seen().iter().map(|seen| seen.message.payload.len()).collect();
    assert_eq!(seen, [0, 1, 100, 4090, 4100, 8191, 20_000, 300_000, 6]);
    assert!(server.gate.seen()[7].message.payload.iter().all(|byte| *byte == 8));
}
