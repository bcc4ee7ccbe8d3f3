//! The listener against a codec that is not ours (rmqtt-codec), in both directions; and bytes that no codec would make.
use crate::{client::*, support::Answer};
use bytes::{Bytes, BytesMut};
use rmqtt_codec::{
    types::{Protocol, Publish, QoS},
    v3, v5,
};
use schemas::{Mode, Refusal, Word};
use std::num::{NonZeroU16, NonZeroU32};
use tokio::io::AsyncReadExt;
use tokio_util::codec::{Decoder, Encoder};
use transports::mqtt::MqttSettings;

async fn send_v5(client: &mut Client, packet: v5::Packet) {
    let mut bytes = BytesMut::new();
    v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
    client.send(&bytes).await;
}

async fn receive_v5(client: &mut Client, bytes: &mut BytesMut) -> v5::Packet {
    let mut codec = v5::Codec::new(0, 0);
    loop {
        if let Some((packet, _)) = codec.decode(bytes).unwrap() {
            return packet;
        }
        assert!(client.0.read_buf(bytes).await.unwrap() > 0, "closed");
    }
}

fn publish(id: u16, topic: &str, payload: &'static [u8]) -> Publish {
    let properties = v5::PublishProperties {
        topic_alias: NonZeroU16::new(3),
        correlation_data: Some(Bytes::from_static(b"\x00\xff")),
        message_expiry_interval: NonZeroU32::new(30),
        content_type: Some("text/plain".into()),
        user_properties: vec![("specversion".into(), "1.0".into()), ("id".into(), "7".into())],
        is_utf8_payload: true,
        response_topic: Some("r".into()),
        subscription_ids: Vec::new(),
    };
    Publish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: topic.into(),
        packet_id: NonZeroU16::new(id),
        payload: Bytes::from_static(payload),
        properties: Some(properties),
    }
}

#[tokio::test]
async fn a_conversation_in_mqtt_5() {
    let server = server(MqttSettings::default()).await;
    let (mut client, mut bytes) = (server.raw().await, BytesMut::new());
    let will = v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "w".into(),
        message: Bytes::from_static(b"gone"),
        will_delay_interval_sec: Some(5),
        correlation_data: None,
        message_expiry_interval: NonZeroU32::new(9),
        content_type: Some("text/plain".into()),
        user_properties: vec![("a".into(), "b".into())],
        is_utf8_payload: Some(true),
        response_topic: None,
    };
    let connect = v5::Connect {
        session_expiry_interval_secs: 60,
        receive_max: NonZeroU16::new(10),
        last_will: Some(will),
        user_properties: vec![("a".into(), "b".into())],
        username: Some("ann".into()),
        password: Some(Bytes::from_static(b"pw")),
        keep_alive: 30,
        clean_start: true,
        ..v5::Connect::default()
    };
    send_v5(&mut client, connect.into()).await;
    let v5::Packet::ConnectAck(connack) = receive_v5(&mut client, &mut bytes).await else { panic!("no CONNACK") };
    assert_eq!((connack.session_present, connack.reason_code), (false, v5::ConnectAckReason::Success));
    assert_eq!((connack.session_expiry_interval_secs, connack.receive_max.get()), (Some(0), 100));
    assert_eq!((connack.max_qos, connack.max_packet_size), (QoS::ExactlyOnce, Some(1024 * 1024)));
    assert_eq!((connack.topic_alias_max, connack.server_keepalive_sec), (16, None));
    assert!(!connack.retain_available && !connack.wildcard_subscription_available);
    assert!(!connack.shared_subscription_available && !connack.subscription_identifiers_available);
    assert!(connack.assigned_client_id.is_some());
    server.gate.script({
        let mut count = 0;
        move |_| {
            count += 1;
            match count {
                1 => Answer::Now(schemas::Verdict::Receipt(crate::support::receipt("e"))),
                2 => Answer::Refuse(Refusal::new(Word::NoRoute, "nobody")),
                _ => Answer::Refuse(Refusal::new(Word::TooLarge, "too much")),
            }
        }
    });
    for id in 1..=3 {
        send_v5(&mut client, publish(id, "a/b", b"hi").into()).await;
    }
    let v5::Packet::PublishAck(ack) = receive_v5(&mut client, &mut bytes).await else { panic!("no PUBACK") };
    assert_eq!((ack.packet_id.get(), ack.reason_code), (1, v5::PublishAckReason::Success));
    let v5::Packet::PublishAck(ack) = receive_v5(&mut client, &mut bytes).await else { panic!("no PUBACK") };
    assert_eq!((ack.packet_id.get(), ack.reason_code), (2, v5::PublishAckReason::TopicNameInvalid));
    assert_eq!(ack.reason_string.as_deref(), Some("no_route: nobody"));
    let v5::Packet::Disconnect(end) = receive_v5(&mut client, &mut bytes).await else { panic!("no DISCONNECT") };
    assert_eq!(end.reason_code, v5::DisconnectReasonCode::PacketTooLarge);
    assert_eq!(end.reason_string.as_deref(), Some("too_large: too much"));
    let message = server.gate.seen()[0].message.clone();
    assert_eq!((message.mode, message.subject.as_str(), &message.payload[..]), (Mode::Binary, "a/b", &b"hi"[..]));
    drop(client);
    until("the will", || server.gate.seen().len() == 4).await;
    let will = server.gate.seen()[3].message.clone();
    assert_eq!((will.subject.as_str(), will.content_type.as_deref()), ("w", Some("text/plain")));
    assert!(will.attributes.get("expirytime").is_some());
}

#[tokio::test]
async fn a_conversation_in_mqtt_3() {
    let server = server(MqttSettings::default()).await;
    let mut client = server.raw().await;
    let connect =
        v3::Connect { protocol: Protocol(4), clean_session: false, client_id: "c".into(), ..v3::Connect::default() };
    let publish = Publish { properties: None, ..publish(9, "a", b"x") };
    let packets = [
        v3::Packet::Connect(Box::new(connect)),
        v3::Packet::Publish(Box::new(publish)),
        v3::Packet::Subscribe {
            packet_id: NonZeroU16::new(2).unwrap(),
            topic_filters: vec![("a/#".into(), QoS::AtLeastOnce), ("b".into(), QoS::AtMostOnce)],
        },
        v3::Packet::PingRequest,
    ];
    let mut codec = v3::Codec::new(0);
    for packet in packets {
        let mut bytes = BytesMut::new();
        codec.encode(packet, &mut bytes).unwrap();
        client.send(&bytes).await;
        let mut answer = BytesMut::new();
        while codec.decode(&mut answer.clone()).unwrap().is_none() {
            assert!(client.0.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        match codec.decode(&mut answer).unwrap().unwrap().0 {
            v3::Packet::ConnectAck(ack) => {
                assert!(!ack.session_present && ack.return_code == v3::ConnectAckReason::ConnectionAccepted);
            }
            v3::Packet::PublishAck { packet_id } => assert_eq!(packet_id.get(), 9),
            v3::Packet::SubscribeAck { status, .. } => assert_eq!(status, [v3::SubscribeReturnCode::Failure; 2]),
            v3::Packet::PingResponse => {}
            other => panic!("{other:?}"),
        }
    }
}

/// 400 connections send packets with random changes: nothing panics, everybody gets an end or an answer, and the listener works
/// afterwards.
#[tokio::test]
async fn changed_bytes_harm_nobody() {
    let server = server(MqttSettings::default()).await;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut seed = BytesMut::new();
    v5::Codec::new(0, 0).encode(publish(1, "a/b", b"hello").into(), &mut seed).unwrap();
    for round in 0..400 {
        let connect =
            if round % 2 == 0 { CONNECT_V5 } else { b"\x10\x18\0\x04MQTT\x05\x06\0\x3c\0\0\x01c\0\0\x01w\0\x04gone" };
        let mut bytes = [connect, &seed, b"\x82\x08\0\x01\0\0\x02a#\0", b"\xe0\0"].concat();
        for _ in 0..=next() % 3 {
            let at = usize::try_from(next()).unwrap_or(0) % bytes.len();
            bytes[at] = next().to_le_bytes()[0];
        }
        let mut client = server.raw().await;
        client.send(&bytes).await;
        tokio::io::AsyncWriteExt::shutdown(&mut client.0).await.unwrap();
        client.rest().await;
    }
    let mut client = server.v5_with(b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01z").await;
    client.ping().await;
    until("all closed", || {
        let (opened, closed) = server.gate.connections();
        opened == closed + 1
    })
    .await;
}
