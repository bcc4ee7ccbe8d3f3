//! QoS 2: handed over once, PUBREC when the ack level is reached, PUBCOMP for PUBREL.
use crate::{
    client::*,
    support::{Answer, receipt},
};
use schemas::{Refusal, Word};
use transports::mqtt::MqttSettings;

fn qos2_v3(id: u16) -> Vec<u8> {
    let mut bytes = publish_v3(id, "t", b"x");
    bytes[0] = 0x34;
    bytes
}

fn qos2_v5(id: u16) -> Vec<u8> {
    let mut bytes = publish_v5(id, "t", &[], b"x");
    bytes[0] = 0x34;
    bytes
}

fn handshake(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

#[tokio::test]
async fn a_message_is_handed_over_once_until_it_is_released() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v3().await;
    for _ in 0..3 {
        client.send(&qos2_v3(7)).await;
        client.expect(&handshake(0x50, 7)).await;
    }
    // Without waiting for PUBREC, too.
    client.send(&[qos2_v3(8), qos2_v3(8), qos2_v3(8)].concat()).await;
    client.expect(&[handshake(0x50, 8), handshake(0x50, 8), handshake(0x50, 8)].concat()).await;
    assert_eq!(server.gate.seen().len(), 2);
    client.send(&[handshake(0x62, 7), handshake(0x62, 8), handshake(0x62, 8)].concat()).await;
    client.expect(&[handshake(0x70, 7), handshake(0x70, 8), handshake(0x70, 8)].concat()).await;
    client.send(&qos2_v3(7)).await;
    client.expect(&handshake(0x50, 7)).await;
    assert_eq!(server.gate.seen().len(), 3, "a released identifier is a new message");
}

#[tokio::test]
async fn pubrec_waits_for_the_ack_level() {
    let server = server(MqttSettings::default()).await;
    server.gate.script(|_| Answer::Durable(5, receipt("e")));
    let mut client = server.v5().await;
    client.send(&qos2_v5(1)).await;
    client.silent().await;
    // Too early: there is nothing to release yet.
    client.send(&handshake(0x62, 1)).await;
    client.expect(b"\x70\x03\0\x01\x92").await;
    server.gate.set_durable(5);
    client.expect(&handshake(0x50, 1)).await;
    client.send(&handshake(0x62, 1)).await;
    client.expect(&handshake(0x70, 1)).await;
    client.send(&handshake(0x62, 1)).await;
    client.expect(b"\x70\x03\0\x01\x92").await;
}

#[tokio::test]
async fn a_refusal_ends_the_handshake() {
    let server = server(MqttSettings::default()).await;
    server.gate.script(|_| Answer::Refuse(Refusal::new(Word::SchemaInvalid, "no")));
    let mut client = server.v5().await;
    // The second is the same message while the first waits: one refusal is its answer.
    client.send(&[qos2_v5(3), qos2_v5(3)].concat()).await;
    let refused = client.packet().await;
    assert_eq!(refused[..5], [0x50, refused[1], 0, 3, 0x99], "{refused:02x?}");
    client.ping().await;
    client.send(&handshake(0x62, 3)).await;
    client.expect(b"\x70\x03\0\x03\x92").await;
}

#[tokio::test]
async fn what_is_not_released_counts_against_the_receive_maximum() {
    let server = server(MqttSettings { max_inflight: 4, ..MqttSettings::default() }).await;
    let mut client = server.v5().await;
    for id in 1..=4 {
        client.send(&qos2_v5(id)).await;
        client.expect(&handshake(0x50, id)).await;
    }
    client.send(&handshake(0x62, 4)).await;
    client.expect(&handshake(0x70, 4)).await;
    client.send(&qos2_v5(5)).await;
    client.expect(&handshake(0x50, 5)).await;
    client.send(&publish_v5(6, "t", &[], b"x")).await;
    client.disconnected(0x93).await;
    // 3.1.1 has no Receive Maximum: there is another limit, far above.
    let mut old = server.v3().await;
    for id in 1..=1024 {
        old.send(&qos2_v3(id)).await;
        old.expect(&handshake(0x50, id)).await;
    }
    old.send(&qos2_v3(1025)).await;
    old.closes_with(b"").await;
}
