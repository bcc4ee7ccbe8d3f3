//! What a client may not do, one case per rule: the connection closes, MQTT 5 with the reason.
use crate::{client::*, support::FakeGate};
use schemas::{Refusal, Word};
use transports::{
    Credentials, Principal,
    mqtt::{MqttSettings, Version},
};

#[tokio::test]
async fn packets_that_end_an_mqtt_5_connection() {
    let server = server(MqttSettings { topic_alias_max: 4, ..MqttSettings::default() }).await;
    for (what, bytes, code) in [
        ("a second CONNECT", CONNECT_V5, 0x82),
        ("CONNACK", b"\x20\x03\0\0\0", 0x82),
        ("SUBACK", b"\x90\x04\0\x01\0\0", 0x82),
        ("UNSUBACK", b"\xb0\x04\0\x01\0\0", 0x82),
        ("PINGRESP", b"\xd0\0", 0x82),
        ("type 0", b"\0\0", 0x81),
        ("AUTH", b"\xf0\0", 0x82),
        ("flags of AUTH", b"\xf1\0", 0x82),
        ("type 0 without a length", b"\0", 0x81),
        ("bytes after PINGREQ", b"\xc0\x01\0", 0x81),
        ("flags of PINGREQ", b"\xc1\0", 0x81),
        ("flags of SUBSCRIBE", b"\x80\x07\0\x01\0\0\x01t\0", 0x81),
        ("flags of UNSUBSCRIBE", b"\xa0\x06\0\x01\0\0\x01t", 0x81),
        ("flags of PUBREL", b"\x60\x02\0\x01", 0x81),
        ("flags of PUBACK", b"\x41\x02\0\x01", 0x81),
        ("flags of DISCONNECT", b"\xe1\0", 0x81),
        ("a long remaining length", b"\x30\x80\x80\x80\x80\x01", 0x81),
        ("a remaining length that is longer than needed", b"\xc0\x80\0", 0x81),
        ("a topic beyond the packet", b"\x30\x04\0\x09t\0", 0x81),
        ("DUP with QoS 0", b"\x38\x04\0\x01t\0", 0x82),
        ("QoS 3", b"\x36\x06\0\x01t\0\x01\0", 0x81),
        ("RETAIN", b"\x31\x04\0\x01t\0", 0x9a),
        ("packet identifier 0", b"\x32\x06\0\x01t\0\0\0", 0x82),
        ("wildcard #", b"\x30\x04\0\x01#\0", 0x90),
        ("wildcard +", b"\x30\x06\0\x03a/+\0", 0x90),
        ("U+0000 in the topic", b"\x30\x05\0\x02t\0\0", 0x81),
        ("U+0000 in a user property", b"\x30\x0c\0\x01t\x08\x26\0\x02a\0\0\x01b", 0x81),
        ("no topic and no alias", b"\x30\x03\0\0\0", 0x82),
        ("an alias that stands for nothing", b"\x30\x06\0\0\x03\x23\0\x01", 0x82),
        ("alias 0", b"\x30\x07\0\x01t\x03\x23\0\0", 0x94),
        ("alias above the maximum", b"\x30\x07\0\x01t\x03\x23\0\x05", 0x94),
        ("subscription identifier", b"\x30\x06\0\x01t\x02\x0b\x01", 0x82),
        ("property twice", b"\x30\x08\0\x01t\x04\x01\0\x01\0", 0x82),
        ("property of another packet", b"\x30\x07\0\x01t\x03\x21\0\x01", 0x81),
        ("SUBSCRIBE without a filter", b"\x82\x03\0\x01\0", 0x82),
        ("SUBSCRIBE with a malformed filter", b"\x82\x08\0\x01\0\0\x02a#\0", 0x81),
        ("SUBSCRIBE with reserved options", b"\x82\x07\0\x01\0\0\x01t\x40", 0x81),
        ("UNSUBSCRIBE without a filter", b"\xa2\x03\0\x01\0", 0x82),
        ("UNSUBSCRIBE with an empty filter", b"\xa2\x05\0\x01\0\0\0", 0x81),
        ("PUBACK with packet identifier 0", b"\x40\x02\0\0", 0x82),
        ("PUBACK with a reason that it cannot have", b"\x40\x03\0\x01\x92", 0x82),
        ("PUBREL with a reason that it cannot have", b"\x62\x03\0\x01\x80", 0x82),
        ("DISCONNECT with a server's reason", b"\xe0\x01\x8b", 0x82),
    ] {
        let mut client = server.v5().await;
        client.send(bytes).await;
        let got = client.rest().await;
        assert!(got.len() > 2 && got[0] == 0xe0 && got[2] == code, "{what}: {code:02x} expected, {got:02x?} came");
    }
    assert_eq!(server.gate.seen().len(), 0);
    assert!(server.gate.refused_words().contains(&Word::ProtocolError));
}

#[tokio::test]
async fn packets_that_end_an_mqtt_3_connection() {
    let server = server(MqttSettings::default()).await;
    for (what, bytes) in [
        ("a second CONNECT", CONNECT_V3),
        ("CONNACK", b"\x20\x02\0\0"),
        ("type 15", b"\xf0\0"),
        ("bytes after PINGREQ", b"\xc0\x01\0"),
        ("bytes after DISCONNECT", b"\xe0\x01\0"),
        ("U+001F in the topic", b"\x30\x03\0\x01\x1f"),
        ("DUP with QoS 0", b"\x38\x03\0\x01t"),
        ("empty topic", b"\x30\x02\0\0"),
        ("wildcard", b"\x30\x03\0\x01#"),
        ("SUBSCRIBE with QoS 3", b"\x82\x06\0\x01\0\x01t\x03"),
    ] {
        let mut client = server.v3().await;
        client.send(bytes).await;
        assert_eq!(client.rest().await, b"", "{what}");
    }
    assert_eq!(server.gate.seen().len(), 0);
}

#[tokio::test]
async fn what_is_refused_without_ending_the_connection() {
    let server = server(MqttSettings::default()).await;
    let mut new = server.v5().await;
    new.send(b"\x82\x0b\0\x01\0\0\x01t\0\0\x01#\x01").await;
    new.expect(b"\x90\x05\0\x01\0\x87\x87").await;
    new.send(b"\xa2\x06\0\x02\0\0\x01t").await;
    new.expect(b"\xb0\x04\0\x02\0\x11").await;
    new.send(b"\x62\x02\0\x03\x50\x02\0\x04\x40\x02\0\x05").await;
    new.expect(b"\x70\x03\0\x03\x92\x62\x03\0\x04\x92").await;
    // A refusal of what was never sent is no reason for a PUBREL.
    new.send(b"\x50\x03\0\x04\x80").await;
    new.ping().await;
    new.send(&publish_v5(6, "$SYS/uptime", &[], b"x")).await;
    let refused = new.packet().await;
    assert_eq!(refused[..5], [0x40, refused[1], 0, 6, 0x87], "{refused:02x?}");
    new.send(&publish_v5(7, &"/".repeat(2_000), &[], b"x")).await;
    let refused = new.packet().await;
    assert_eq!(refused[..5], [0x40, refused[1], 0, 7, 0x90], "{refused:02x?}");
    drop(new);
    let mut old = server.v3().await;
    old.send(b"\x82\x06\0\x01\0\x01t\x01").await;
    old.expect(b"\x90\x03\0\x01\x80").await;
    old.send(b"\xa2\x05\0\x02\0\x01t").await;
    old.expect(b"\xb0\x02\0\x02").await;
    old.send(b"\x31\x04\0\x01tx").await;
    old.ping().await;
    assert_eq!(server.gate.seen().len(), 1, "RETAIN is ignored on 3.1.1");
}

#[tokio::test]
async fn too_large_is_said_at_the_header() {
    let server = server(MqttSettings { max_packet: 100, ..MqttSettings::default() }).await;
    let mut client = server.v5().await;
    client.send(b"\x30\x63").await;
    client.disconnected(0x95).await;
    let mut huge = server.v5().await;
    huge.send(b"\x30\xff\xff\xff\x7f").await;
    huge.disconnected(0x95).await;
    let mut old = server.v3().await;
    old.send(b"\x30\x63").await;
    old.closes_with(b"").await;
    let mut fits = server.v3().await;
    fits.send(&publish_v3(1, "t", &[b'x'; 93])).await;
    fits.expect(&puback(1)).await;
}

#[tokio::test]
async fn connects_that_are_refused() {
    let server = server(MqttSettings { connect_max: 200, ..MqttSettings::default() }).await;
    let long_id = [b"\0\x04MQTT\x04\x02\0\0\0\x81".to_vec(), vec![b'a'; 129]].concat();
    for (what, bytes, answer) in [
        ("PINGREQ first", PINGREQ.to_vec(), &b""[..]),
        ("flags of CONNECT", b"\x11\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c".to_vec(), b""),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec(), b""),
        ("level 3", b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c".to_vec(), b"\x20\x02\0\x01"),
        ("level 6", b"\x10\x0e\0\x04MQTT\x06\x02\0\x3c\0\0\x01c".to_vec(), b"\x20\x03\0\x84\0"),
        ("reserved flag", b"\x10\x0d\0\x04MQTT\x04\x03\0\x3c\0\x01c".to_vec(), b""),
        ("empty id, kept session", b"\x10\x0c\0\x04MQTT\x04\0\0\x3c\0\0".to_vec(), b"\x20\x02\0\x02"),
        ("long id", packet(0x10, &long_id), b"\x20\x02\0\x02"),
        ("too large", b"\x10\xc8\x01".to_vec(), b""),
        ("no end of the length", b"\x10\xff\xff\xff\xff\x01".to_vec(), b""),
    ] {
        let mut client = server.raw().await;
        client.send(&bytes).await;
        assert_eq!(client.rest().await, answer, "{what}");
    }
    let only_5 =
        server_of(server.gate.clone(), MqttSettings { versions: vec![Version::V5], ..MqttSettings::default() }).await;
    let mut old = only_5.raw().await;
    old.send(CONNECT_V3).await;
    old.closes_with(b"\x20\x02\0\x01").await;
}

#[tokio::test]
async fn credentials() {
    let gate = FakeGate::new();
    gate.guard(|_, credentials| match credentials {
        Credentials::Password { user: "ann", password: b"pw" } => {
            Ok(Principal { name: "ann".into(), tenant: "acme".into() })
        }
        _ => Err(Refusal::new(Word::Unauthenticated, "who are you")),
    });
    let server = server_of(gate, MqttSettings::default()).await;
    let login_v3 = |password: &[u8; 2]| {
        [b"\x10\x16\0\x04MQTT\x04\xc2\0\x3c\0\x01c\0\x03ann\0\x02".to_vec(), password.to_vec()].concat()
    };
    let mut good = server.raw().await;
    good.send(&login_v3(b"pw")).await;
    good.expect(CONNACK_V3).await;
    good.send(&publish_v3(1, "t", b"x")).await;
    good.expect(&puback(1)).await;
    let origin = server.gate.seen()[0].origin.clone();
    assert_eq!((origin.principal.name.as_str(), origin.principal.tenant.as_str()), ("ann", "acme"));
    assert_eq!((origin.protocol, origin.version, origin.client.as_str()), ("mqtt", "3.1.1", "c"));
    let mut bad = server.raw().await;
    bad.send(&login_v3(b"no")).await;
    bad.closes_with(b"\x20\x02\0\x04").await;
    let mut nobody = server.raw().await;
    nobody.send(CONNECT_V3).await;
    nobody.closes_with(b"\x20\x02\0\x05").await;
    let mut new = server.raw().await;
    new.send(CONNECT_V5).await;
    let got = new.rest().await;
    assert_eq!(got[2..4], [0, 0x86], "{got:02x?}");
}
