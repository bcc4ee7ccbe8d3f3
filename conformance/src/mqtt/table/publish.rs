//! Rows M23 to M40: PUBLISH, acknowledgements and subscriptions.
use super::{
    Ask::{After, Never, Own},
    Row,
    Want::{Answer, Closed, Disconnect, Open},
    special,
};
use crate::mqtt::{
    encode::{packet, publish, text},
    wire::Version::{self, V5, V311},
};

const fn row(name: &'static str, title: &'static str, section: &'static str, ask: super::Ask) -> Row {
    Row { name, title, section, ask }
}

/// SUBSCRIBE with identifier 7 and these filters, each with its options.
fn subscribe(version: Version, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = vec![0, 7];
    if version == V5 {
        body.push(0);
    }
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

fn qos0(version: Version, topic: &str) -> Vec<u8> {
    publish(version, 0, topic, 0, &[], b"x")
}

fn qos1(version: Version, topic: &str) -> Vec<u8> {
    publish(version, 2, topic, 7, &[], b"x")
}

pub(super) const ROWS: &[Row] = &[
    row("M23.5", "QoS 3", "MQTT-3.3.1-4", After(V5, |v| publish(v, 6, "t", 7, &[], b"x"), Disconnect(&[0x81]))),
    row("M23.3", "QoS 3", "MQTT-3.3.1-4", After(V311, |v| publish(v, 6, "t", 7, &[], b"x"), Closed)),
    row(
        "M24.5",
        "packet identifier 0",
        "MQTT-2.2.1-3",
        After(V5, |v| publish(v, 2, "t", 0, &[], b"x"), Disconnect(&[0x82])),
    ),
    row("M24.3", "packet identifier 0", "MQTT-2.3.1-1", After(V311, |v| publish(v, 2, "t", 0, &[], b"x"), Closed)),
    row(
        "M25.5",
        "DUP with QoS 0",
        "MQTT-3.3.1-2",
        After(V5, |v| publish(v, 8, "t", 0, &[], b"x"), Disconnect(&[0x82])),
    ),
    row("M25.3", "DUP with QoS 0", "MQTT-3.3.1-2", After(V311, |v| publish(v, 8, "t", 0, &[], b"x"), Closed)),
    row("M26.5", "an empty topic without an alias", "3.3.2.1", After(V5, |v| qos0(v, ""), Disconnect(&[0x82]))),
    row("M26.3", "an empty topic", "MQTT-4.7.3-1", After(V311, |v| qos0(v, ""), Closed)),
    row("M27a.5", "a topic with +", "MQTT-3.3.2-2", After(V5, |v| qos0(v, "a/+/b"), Disconnect(&[0x90, 0x81]))),
    row("M27a.3", "a topic with +", "MQTT-3.3.2-2", After(V311, |v| qos0(v, "a/+/b"), Closed)),
    row("M27b.5", "a topic with #", "MQTT-3.3.2-2", After(V5, |v| qos0(v, "a/#"), Disconnect(&[0x90, 0x81]))),
    row("M27b.3", "a topic with #", "MQTT-3.3.2-2", After(V311, |v| qos0(v, "a/#"), Closed)),
    row("M27c.5", "U+0000 in a topic", "MQTT-1.5.4-2", After(V5, |v| qos0(v, "a\0"), Disconnect(&[0x81]))),
    row("M27c.3", "U+0000 in a topic", "MQTT-1.5.3-2", After(V311, |v| qos0(v, "a\0"), Closed)),
    row(
        "M28.5",
        "a topic that begins with $",
        "4.7.2",
        After(V5, |v| qos1(v, "$SYS/uptime"), Answer(b"\x40\0\x07\x87")),
    ),
    row("M28.3", "a topic that begins with $", "4.7.2", After(V311, |v| qos1(v, "$SYS/uptime"), Closed)),
    row(
        "M29.5",
        "a topic of 65,535 slashes",
        "3.4.2.1",
        After(V5, |v| qos1(v, &"/".repeat(65_535)), Answer(b"\x40\0\x07\x90")),
    ),
    row("M29.3", "a topic of 65,535 slashes", "4.8", After(V311, |v| qos1(v, &"/".repeat(65_535)), Closed)),
    row(
        "M30a.5",
        "topic alias 0",
        "MQTT-3.3.2-8",
        After(V5, |v| publish(v, 0, "t", 0, b"\x23\0\0", b"x"), Disconnect(&[0x94])),
    ),
    row("M30b.5", "a topic alias above the maximum", "MQTT-3.3.2-9", Own(special::alias_above_maximum)),
    // A protocol error by 3.3.2.3.4; 0x94 says the same more closely.
    row(
        "M30c.5",
        "a topic alias that stands for nothing",
        "3.3.2.3.4",
        After(V5, |v| publish(v, 0, "", 0, b"\x23\0\x01", b"x"), Disconnect(&[0x82, 0x94])),
    ),
    row(
        "M31.5",
        "more QoS 2 messages without PUBREL than the Receive Maximum",
        "MQTT-3.3.4-7",
        Own(special::above_receive_maximum),
    ),
    row(
        "M31.3",
        "more messages without an answer than are taken",
        "4.9",
        Never("3.1.1 has no Receive Maximum: the server stops reading, which no client can see"),
    ),
    row(
        "M32.5",
        "the same QoS 2 message 10,000 times, then PUBREL",
        "MQTT-4.3.3-10",
        Own(|to| special::again_and_again(to, V5)),
    ),
    row(
        "M32.3",
        "the same QoS 2 message 10,000 times, then PUBREL",
        "MQTT-4.3.3-2",
        Own(|to| special::again_and_again(to, V311)),
    ),
    row("M33.5", "PUBREL for nothing", "3.7.2.1", After(V5, |_| b"\x62\x02\0\x07".to_vec(), Answer(b"\x70\0\x07\x92"))),
    row(
        "M33.3",
        "PUBREL for nothing",
        "MQTT-4.3.3-2",
        After(V311, |_| b"\x62\x02\0\x07".to_vec(), Answer(b"\x70\0\x07")),
    ),
    row("M34a.5", "CONNACK from a client", "2.1.2", After(V5, |_| b"\x20\x03\0\0\0".to_vec(), Disconnect(&[0x82]))),
    row("M34a.3", "CONNACK from a client", "2.2.1", After(V311, |_| b"\x20\x02\0\0".to_vec(), Closed)),
    row("M34b.5", "SUBACK from a client", "2.1.2", After(V5, |_| b"\x90\x04\0\x01\0\0".to_vec(), Disconnect(&[0x82]))),
    row("M34b.3", "SUBACK from a client", "2.2.1", After(V311, |_| b"\x90\x03\0\x01\0".to_vec(), Closed)),
    // Clients do send PUBACK and PUBREC, and one for a message that is gone is no error: PUBREC gets its PUBREL.
    row("M34c.5", "PUBACK for nothing", "4.3.2", After(V5, |_| b"\x40\x02\0\x07".to_vec(), Open)),
    row("M34c.3", "PUBACK for nothing", "4.3.2", After(V311, |_| b"\x40\x02\0\x07".to_vec(), Open)),
    row(
        "M34d.5",
        "PUBREC for nothing",
        "3.6.2.1",
        After(V5, |_| b"\x50\x02\0\x07".to_vec(), Answer(b"\x62\0\x07\x92")),
    ),
    row(
        "M34d.3",
        "PUBREC for nothing",
        "MQTT-4.3.3-1",
        After(V311, |_| b"\x50\x02\0\x07".to_vec(), Answer(b"\x62\0\x07")),
    ),
    row(
        "M35.5",
        "a payload that is not the text it says it is",
        "3.3.2.3.2",
        After(V5, |v| publish(v, 2, "t", 7, b"\x01\x01", b"\xff"), Answer(b"\x40\0\x07\x99")),
    ),
    row("M36.5", "RETAIN", "MQTT-3.2.2-14", Own(special::retain)),
    row("M36.3", "RETAIN", "3.3.1.3", After(V311, |v| publish(v, 3, "t", 7, &[], b"x"), Answer(b"\x40\0\x07"))),
    row(
        "M37.5",
        "SUBSCRIBE with two filters",
        "3.9.3",
        Own(|to| special::refuses_filters(to, V5, &subscribe(V5, &[("t", 1), ("#", 0)]))),
    ),
    row(
        "M37.3",
        "SUBSCRIBE with two filters",
        "3.9.3",
        Own(|to| special::refuses_filters(to, V311, &subscribe(V311, &[("t", 1), ("#", 0)]))),
    ),
    row("M38a.5", "SUBSCRIBE without a filter", "MQTT-3.8.3-2", After(V5, |v| subscribe(v, &[]), Disconnect(&[0x82]))),
    row("M38a.3", "SUBSCRIBE without a filter", "MQTT-3.8.3-3", After(V311, |v| subscribe(v, &[]), Closed)),
    // 0x8F is for filters that are well formed and still not accepted; this one is malformed.
    row(
        "M38b.5",
        "SUBSCRIBE with a wildcard that does not stand alone",
        "MQTT-4.7.1-1",
        After(V5, |v| subscribe(v, &[("a#", 0)]), Disconnect(&[0x81, 0x8f])),
    ),
    row(
        "M38b.3",
        "SUBSCRIBE with a wildcard that does not stand alone",
        "MQTT-4.7.1-2",
        After(V311, |v| subscribe(v, &[("a#", 0)]), Closed),
    ),
    row(
        "M38c.5",
        "SUBSCRIBE with reserved options",
        "MQTT-3.8.3-5",
        After(V5, |v| subscribe(v, &[("t", 0x40)]), Disconnect(&[0x81])),
    ),
    row(
        "M38c.3",
        "SUBSCRIBE with reserved options",
        "MQTT-3-8.3-4",
        After(V311, |v| subscribe(v, &[("t", 0x40)]), Closed),
    ),
    row(
        "M39.5",
        "a packet one byte above the Maximum Packet Size",
        "MQTT-3.2.2-15",
        Own(|to| special::too_large(to, V5)),
    ),
    row("M39.3", "a packet one byte above the Maximum Packet Size", "4.8", Own(|to| special::too_large(to, V311))),
    row(
        "M40",
        "a payload that the server takes and a later step refuses",
        "4.3.2",
        Never("it is acknowledged by then; no answer can show it"),
    ),
];
