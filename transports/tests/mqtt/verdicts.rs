//! Word × protocol: exact bytes for each verdict on each version.
use crate::{client::*, support::receipt};
use schemas::{Refusal, Unknown, Verdict, WORDS, Word};
use transports::mqtt::MqttSettings;

#[tokio::test]
async fn every_word_on_mqtt_5() {
    let server = server(MqttSettings::default()).await;
    for word in WORDS {
        server.gate.always(Refusal::new(word, "why so").into());
        let mut client = server.v5().await;
        client.send(&publish_v5(7, "t", &[], b"x")).await;
        let reason = format!("{word}: why so");
        // The table of the manual, written out.
        match word {
            Word::Duplicate | Word::Filtered | Word::Unrouted | Word::Expired => client.expect(b"\x40\x02\0\x07").await,
            Word::Unauthenticated | Word::Forbidden => client.expect(&puback_with(7, 0x87, &reason)).await,
            Word::Malformed
            | Word::MissingAttribute
            | Word::MixedPaths
            | Word::UnsupportedFormat
            | Word::SchemaInvalid
            | Word::IdReused => client.expect(&puback_with(7, 0x99, &reason)).await,
            Word::NotFound | Word::NoRoute => client.expect(&puback_with(7, 0x90, &reason)).await,
            Word::MethodNotAllowed | Word::ReservedAttribute => client.expect(&puback_with(7, 0x83, &reason)).await,
            Word::ProtocolError => client.closes_with(&disconnect(0x82, &reason)).await,
            Word::TooLarge => client.closes_with(&disconnect(0x95, &reason)).await,
            Word::Internal => client.closes_with(&disconnect(0x83, &reason)).await,
            Word::ShuttingDown => client.closes_with(&disconnect(0x8b, &reason)).await,
            Word::IdInUse | Word::RateLimited | Word::Overloaded | Word::StorageFull | Word::BackendUnavailable => {
                client.closes_with(&disconnect(0x97, &reason)).await;
            }
            Word::Timeout => client.closes_with(b"").await,
        }
    }
}

#[tokio::test]
async fn every_word_on_mqtt_3() {
    let server = server(MqttSettings::default()).await;
    for word in WORDS {
        server.gate.always(Refusal::new(word, "why so").into());
        let mut client = server.v3().await;
        client.send(&publish_v3(7, "t", b"x")).await;
        match word {
            Word::Duplicate | Word::Filtered | Word::Unrouted | Word::Expired => client.expect(b"\x40\x02\0\x07").await,
            // Nothing was kept, and there is no word for it.
            _ => client.closes_with(b"").await,
        }
    }
}

#[tokio::test]
async fn receipt_and_unknown() {
    let server = server(MqttSettings::default()).await;
    server.gate.always(Verdict::Receipt(receipt("e")));
    let (mut old, mut new) = (server.v3().await, server.raw().await);
    old.send(&publish_v3(9, "t", b"x")).await;
    old.expect(b"\x40\x02\0\x09").await;
    new.send(&[CONNECT_V5[..CONNECT_V5.len() - 1].to_vec(), b"d".to_vec()].concat()).await;
    new.packet().await;
    new.send(&publish_v5(9, "t", &[], b"x")).await;
    new.expect(b"\x40\x02\0\x09").await;
    server.gate.always(Verdict::Unknown(Unknown { word: Word::Internal }));
    old.send(&publish_v3(10, "t", b"x")).await;
    old.closes_with(b"").await;
    new.send(&publish_v5(10, "t", &[], b"x")).await;
    new.closes_with(b"").await;
}

#[tokio::test]
async fn qos_0_is_never_answered() {
    let server = server(MqttSettings::default()).await;
    for word in WORDS {
        server.gate.always(Refusal::new(word, "why so").into());
        let mut client = server.v5().await;
        client.send(b"\x30\x05\0\x01t\0x").await;
        client.ping().await;
    }
    let seen = server.gate.seen();
    assert!(seen.iter().all(|seen| !seen.message.wants.answer));
}

#[tokio::test]
async fn reason_strings_only_for_who_wants_and_fits() {
    let server = server(MqttSettings::default()).await;
    server.gate.always(Refusal::new(Word::SchemaInvalid, "/celsius: \"warm\" is not a number").into());
    let mut quiet = server.v5_with(b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\x02\x17\0\0\x01c").await;
    quiet.send(&publish_v5(7, "t", &[], b"x")).await;
    quiet.expect(b"\x40\x03\0\x07\x99").await;
    let mut narrow = server.v5_with(b"\x10\x13\0\x04MQTT\x05\x02\0\x3c\x05\x27\0\0\0\x40\0\x01c").await;
    server.gate.always(Refusal::new(Word::SchemaInvalid, "é".repeat(100)).into());
    narrow.send(&publish_v5(7, "t", &[], b"x")).await;
    let puback = narrow.packet().await;
    assert!(puback.len() <= 64 && puback.len() > 50, "{}", puback.len());
    assert!(std::str::from_utf8(&puback[9..]).unwrap().starts_with("schema_invalid: é"));
}

#[tokio::test]
async fn cannot_refuse_is_said_where_it_is_so() {
    use transports::mqtt::OnReject;
    let server = server(MqttSettings::default()).await;
    let mut old = server.v3().await;
    old.send(&publish_v3(1, "t", b"x")).await;
    old.expect(&puback(1)).await;
    old.send(b"\x30\x04\0\x01tx").await;
    old.ping().await;
    drop(old);
    let mut new = server.v5().await;
    new.send(&publish_v5(1, "t", &[], b"x")).await;
    new.expect(&puback(1)).await;
    let said: Vec<bool> = server.gate.seen().iter().map(|seen| seen.message.wants.cannot_refuse).collect();
    assert_eq!(said, [true, false, false]);
    let strict =
        server_of(server.gate.clone(), MqttSettings { on_reject: OnReject::Disconnect, ..MqttSettings::default() })
            .await;
    let mut old = strict.v3().await;
    old.send(&publish_v3(1, "t", b"x")).await;
    old.expect(&puback(1)).await;
    assert!(!strict.gate.seen().last().unwrap().message.wants.cannot_refuse);
}
