//! From CONNECT to the end of a connection.
use crate::{
    client::*,
    support::{Answer, FakeGate, receipt},
};
use schemas::{Mode, Verdict};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt;
use transports::{
    Gate,
    mqtt::{MqttSessions, MqttSettings},
    net::Shutdown,
};

/// CONNECT on MQTT 5 as `c` with a will `gone` on `w`.
const WITH_WILL_V5: &[u8] = b"\x10\x18\0\x04MQTT\x05\x06\0\x3c\0\0\x01c\0\0\x01w\0\x04gone";
const WITH_WILL_V3: &[u8] = b"\x10\x16\0\x04MQTT\x04\x06\0\x3c\0\x01c\0\x01w\0\x04gone";

#[tokio::test]
async fn connack_of_mqtt_5() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.raw().await;
    client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c").await;
    let expected = [
        &b"\x20\x22\0\0\x1f"[..],
        b"\x21\0\x64",
        b"\x25\x00",
        b"\x27\0\x10\0\0",
        b"\x22\0\x10",
        b"\x13\x04\xb0",
        b"\x28\0\x29\0\x2a\0",
    ]
    .concat();
    let length = u8::try_from(expected.len()).unwrap();
    let expected = [&[0x20, length - 2, 0, 0, length - 5], &expected[5..]].concat();
    client.expect(&expected).await;
    client.ping().await;
}

#[tokio::test]
async fn client_identifiers_are_assigned() {
    let server = server(MqttSettings::default()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = server.raw().await;
        client.send(b"\x10\x0d\0\x04MQTT\x05\0\0\x3c\0\0\0").await;
        let connack = client.packet().await;
        let at = connack.iter().position(|byte| *byte == 0x12).unwrap();
        let length = usize::from(connack[at + 2]);
        ids.push(String::from_utf8(connack[at + 3..at + 3 + length].to_vec()).unwrap());
        client.send(&publish_v5(1, "t", &[], b"x")).await;
        client.expect(&puback(1)).await;
    }
    assert_ne!(ids[0], ids[1]);
    assert_eq!(server.gate.seen()[1].origin.client.as_str(), ids[1]);
    let mut old = server.raw().await;
    old.send(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0").await;
    old.expect(CONNACK_V3).await;
}

#[tokio::test]
async fn a_slow_connect_is_cut_off() {
    let server = server(MqttSettings { connect_timeout: Duration::from_millis(250), ..MqttSettings::default() }).await;
    let begun = Instant::now();
    let mut mute = server.raw().await;
    let mut slow = server.raw().await;
    slow.send(&CONNECT_V5[..9]).await;
    mute.closes_with(b"").await;
    slow.closes_with(b"").await;
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn silence_ends_after_one_and_a_half_keep_alives() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v5_with(b"\x10\x0e\0\x04MQTT\x05\x02\0\x01\0\0\x01c").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    client.ping().await;
    let begun = Instant::now();
    client.disconnected(0x8d).await;
    assert!((1_400..2_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let strict = server_of(server.gate.clone(), MqttSettings { keep_alive_max: 1, ..MqttSettings::default() }).await;
    let mut forever = strict.raw().await;
    forever.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c").await;
    forever.expect(CONNACK_V3).await;
    forever.closes_with(b"").await;
}

#[tokio::test]
async fn a_will_is_sent_unless_the_client_says_goodbye() {
    let server = server(MqttSettings::default()).await;
    let count = || server.gate.seen().len();
    let mut polite = server.v5_with(WITH_WILL_V5).await;
    polite.send(b"\xe0\0").await;
    polite.closes_with(b"").await;
    let mut polite = server.raw().await;
    polite.send(WITH_WILL_V3).await;
    polite.expect(CONNACK_V3).await;
    polite.send(b"\xe0\0").await;
    polite.closes_with(b"").await;
    assert_eq!(count(), 0);
    drop(server.v5_with(WITH_WILL_V5).await);
    until("the will of a closed connection", || count() == 1).await;
    let message = server.gate.seen()[0].message.clone();
    assert_eq!(
        (message.subject.as_str(), &message.payload[..], message.mode),
        ("w", &b"gone"[..], Mode::ByContentType)
    );
    assert!(!message.wants.answer);
    let mut asks = server.v5_with(WITH_WILL_V5).await;
    asks.send(b"\xe0\x01\x04").await;
    until("the will that was asked for", || count() == 2).await;
    let mut faulty = server.v5_with(WITH_WILL_V5).await;
    faulty.send(b"\x36\x06\0\x01t\0\x01\0").await;
    faulty.disconnected(0x81).await;
    until("the will of a faulty client", || count() == 3).await;
    let mut old = server.raw().await;
    old.send(WITH_WILL_V3).await;
    old.expect(CONNACK_V3).await;
    drop(old);
    until("the will of a 3.1.1 client", || count() == 4).await;
    assert_eq!(server.gate.seen()[3].message.mode, Mode::Sniff);
    until("all connections counted", || server.gate.connections() == (6, 6)).await;
}

#[tokio::test]
async fn takeover() {
    let server = server(MqttSettings::default()).await;
    let mut old = server.v5_with(WITH_WILL_V5).await;
    let mut new = server.v5().await;
    new.send(&publish_v5(1, "t", &[], b"x")).await;
    new.expect(&puback(1)).await;
    old.closes_with(b"\xe0\x01\x8e").await;
    let topics: Vec<String> = server.gate.seen().iter().map(|seen| seen.message.subject.to_string()).collect();
    assert_eq!(topics, ["w", "t"], "the will comes before the successor's messages");
    let mut newest = server.v3().await;
    new.closes_with(b"\xe0\x01\x8e").await;
    newest.ping().await;
}

#[tokio::test]
async fn what_was_sent_before_the_end_is_taken() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.v3().await;
    client.send(b"\x30\x04\0\x01ta\x30\x04\0\x01tb\xe0\0").await;
    client.closes_with(b"").await;
    assert_eq!(server.gate.seen().len(), 2);
    let mut count = 0;
    server.gate.script(move |_| {
        count += 1;
        let verdict = Answer::Now(Verdict::Receipt(receipt("e")));
        if count == 1 { Answer::After(Duration::from_millis(200), Box::new(verdict)) } else { verdict }
    });
    let mut client = server.v3().await;
    client.send(b"\x30\x04\0\x01ta\x30\x04\0\x01tb").await;
    drop(client);
    until("both", || server.gate.seen().len() == 4).await;
}

#[tokio::test]
async fn shutdown_answers_what_was_handed_over() {
    let server = server(MqttSettings::default()).await;
    let mut lsn = 0;
    server.gate.script(move |_| {
        lsn += 1;
        Answer::Durable(lsn, receipt("e"))
    });
    let mut client = server.v5().await;
    let mut connecting = server.raw().await;
    client.send(&publish_v5(1, "t", &[], b"x")).await;
    until("a message", || server.gate.seen().len() == 1).await;
    server.stop.send(true).unwrap();
    client.silent().await;
    connecting.closes_with(b"").await;
    server.gate.set_durable(1);
    client.closes_with(&[puback(1), disconnect(0x8b, "shutting_down")].concat()).await;
    tokio::time::timeout(SOON, server.serving).await.unwrap().unwrap();
    assert_eq!(server.gate.budget().used(), 0);
}

#[tokio::test]
async fn a_connect_on_its_way_is_answered_at_the_end() {
    // The listener ends and the gateway goes on.
    let server = server(MqttSettings::default()).await;
    let (mut newcomer, mut half, mut old) = (server.raw().await, server.raw().await, server.raw().await);
    half.send(&CONNECT_V5[..5]).await;
    // Answered: by now all of them have been accepted, or wait to be.
    server.v5().await.ping().await;
    server.stop.send(true).unwrap();
    newcomer.send(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0").await;
    half.send(&CONNECT_V5[5..]).await;
    old.send(CONNECT_V3).await;
    let goodbye = disconnect(0x8b, "shutting_down");
    for client in [&mut newcomer, &mut half] {
        let connack = client.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        client.closes_with(&goodbye).await;
    }
    // The same client identifier on 3.1.1, which has no goodbye.
    old.closes_with(CONNACK_V3).await;
    tokio::time::timeout(SOON, server.serving).await.unwrap().unwrap();

    // The gateway stops.
    let server = self::server(MqttSettings::default()).await;
    let (mut newcomer, mut old) = (server.raw().await, server.raw().await);
    server.v5().await.ping().await;
    server.gate.set_stopping(true);
    server.stop.send(true).unwrap();
    newcomer.send(CONNECT_V5).await;
    old.send(CONNECT_V3).await;
    let connack = newcomer.rest().await;
    assert_eq!((connack[0], connack[3]), (0x20, 0x88), "{connack:02x?}");
    old.closes_with(b"\x20\x02\0\x03").await;
    tokio::time::timeout(SOON, server.serving).await.unwrap().unwrap();
}

/// 3.14.2.1: not 0x8B, because the server is as well as ever and the client may come back at once.
#[tokio::test]
async fn an_old_connection_is_answered_and_told_its_age() {
    let age = Some(Duration::from_secs(3));
    let server = server(MqttSettings { max_connection_age: age, ..MqttSettings::default() }).await;
    server.gate.script(|_| Answer::Durable(1, receipt("e")));
    let (mut client, mut old) = (server.v5().await, server.raw().await);
    // Without a client identifier of its own: the other one has taken `c`.
    old.send(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0").await;
    old.expect(CONNACK_V3).await;
    client.send(&publish_v5(1, "t", &[], b"x")).await;
    until("a message", || server.gate.seen().len() == 1).await;
    old.closes_with(b"").await;
    server.gate.set_durable(1);
    client.closes_with(&[puback(1), disconnect(0xa0, "max_connection_age")].concat()).await;
    server.v5().await.ping().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let settings = MqttSettings { write_timeout: Duration::from_millis(300), ..MqttSettings::default() };
    let gate = FakeGate::new();
    let sessions = MqttSessions::new(Arc::new(settings), gate.clone());
    let (mut client, stream) = tokio::io::duplex(1024);
    let (_stop, shutdown) = Shutdown::channel();
    let session = tokio::spawn(sessions.serve(stream, ([127, 0, 0, 1], 1).into(), shutdown));
    client.write_all(CONNECT_V3).await.unwrap();
    let mut pings = 0;
    let begun = Instant::now();
    while client.write_all(&PINGREQ.repeat(256)).await.is_ok() {
        pings += 256;
        assert!(pings < 100_000, "the listener reads on although nobody takes its answers");
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
    tokio::time::timeout(SOON, session).await.unwrap().unwrap();
    assert_eq!(gate.connections(), (1, 1));
}
