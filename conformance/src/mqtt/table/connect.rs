//! Rows M01 to M22: the way to a session, and packets that break their own form.
use super::{
    Ask::{After, First, Never, Own},
    Row,
    Want::{Closed, Connack, ConnackOrClosed, Disconnect},
    special,
};
use crate::{
    mqtt::{
        encode::{Connect, block, packet, publish, text},
        wire::Version::{self, V5, V311},
    },
    suite::Endpoint,
};

const fn row(name: &'static str, title: &'static str, section: &'static str, ask: super::Ask) -> Row {
    Row { name, title, section, ask }
}

/// A CONNECT with another client identifier.
fn named(endpoint: &Endpoint, version: Version, client: &[u8]) -> Vec<u8> {
    let plain = Connect { client: String::new(), ..Connect::new(version, endpoint) };
    let bytes = plain.bytes();
    // Protocol, level, flags, keep alive; on MQTT 5 the empty property block.
    let before = if version == V5 { 11 } else { 10 };
    let body = &bytes[2..];
    packet(0x10, &[&body[..before], &text(client), &body[before + 2..]].concat())
}

/// A CONNECT with a will: its flags, its properties (MQTT 5), its topic and payload.
fn with_will(
    endpoint: &Endpoint,
    version: Version,
    flags: u8,
    properties: &[u8],
    topic: &str,
    payload: &[u8],
) -> Vec<u8> {
    let mut will = if version == V5 { block(properties) } else { Vec::new() };
    will.extend(text(topic));
    will.extend(text(payload));
    Connect { will: Some((flags, will)), ..Connect::new(version, endpoint) }.bytes()
}

fn with_properties(endpoint: &Endpoint, properties: &[u8]) -> Vec<u8> {
    Connect { properties: properties.to_vec(), ..Connect::new(V5, endpoint) }.bytes()
}

fn with_flag(endpoint: &Endpoint, version: Version, flag: u8) -> Vec<u8> {
    let mut bytes = Connect::new(version, endpoint).bytes();
    bytes[9] |= flag;
    bytes
}

fn with_user(endpoint: &Endpoint, version: Version, user: &str) -> Vec<u8> {
    Connect { login: Some((user.to_owned(), String::new())), ..Connect::new(version, endpoint) }.bytes()
}

fn topic_then(rest: &[u8]) -> Vec<u8> {
    [&text("t"), rest].concat()
}

fn user_properties(count: usize) -> Vec<u8> {
    [&[0x26], &text("k")[..], &text("v")].concat().repeat(count)
}

pub(super) const ROWS: &[Row] = &[
    row("M01a", "PUBACK as the first packet", "MQTT-3.1.0-1", First(|_| b"\x40\x02\0\x01".to_vec(), Closed)),
    row("M01b", "PUBLISH as the first packet", "MQTT-3.1.0-1", First(|_| publish(V311, 0, "t", 0, &[], b"x"), Closed)),
    row("M01c", "PINGREQ as the first packet", "MQTT-3.1.0-1", First(|_| b"\xc0\0".to_vec(), Closed)),
    row("M02.5", "a second CONNECT", "MQTT-3.1.0-2", After(V5, |_| second_connect(), Disconnect(&[0x82]))),
    row("M02.3", "a second CONNECT", "MQTT-3.1.0-2", After(V311, |_| second_connect(), Closed)),
    row("M03", "nothing at all", "3.1.4, reasonable time for CONNECT", Own(special::says_nothing)),
    row(
        "M04a",
        "another protocol's name",
        "MQTT-3.1.2-1",
        First(|_| b"\x10\x0d\0\x04MQTX\x04\x02\0\x3c\0\x01c".to_vec(), Closed),
    ),
    // Both specifications speak of a level that a server does not know, each with its own CONNACK.
    row(
        "M04b",
        "protocol level 6",
        "MQTT-3.1.2-2",
        First(|_| b"\x10\x0e\0\x04MQTT\x06\x02\0\x3c\0\0\x01c".to_vec(), Connack(&[1, 0x84])),
    ),
    row("M05.5", "the reserved connect flag", "MQTT-3.1.2-3", First(|to| with_flag(to, V5, 1), Connack(&[0x81]))),
    row("M05.3", "the reserved connect flag", "MQTT-3.1.2-3", First(|to| with_flag(to, V311, 1), Closed)),
    row(
        "M06a.5",
        "a remaining length of five bytes",
        "1.5.5",
        After(V5, |_| b"\x30\xff\xff\xff\xff\x01".to_vec(), Disconnect(&[0x81])),
    ),
    row(
        "M06a.3",
        "a remaining length of five bytes",
        "2.2.3",
        After(V311, |_| b"\x30\xff\xff\xff\xff\x01".to_vec(), Closed),
    ),
    row(
        "M06b.5",
        "a property length of five bytes",
        "1.5.5",
        First(|_| b"\x10\x12\0\x04MQTT\x05\x02\0\x3c\xff\xff\xff\xff\x01\0\x01c".to_vec(), Connack(&[0x81])),
    ),
    row(
        "M07.5",
        "a packet of 256 MiB announced, none of it sent",
        "3.2.2.3.6",
        After(V5, |_| b"\x30\xff\xff\xff\x7f".to_vec(), Disconnect(&[0x95])),
    ),
    row(
        "M07.3",
        "a packet of 256 MiB announced, none of it sent",
        "4.8",
        After(V311, |_| b"\x30\xff\xff\xff\x7f".to_vec(), Closed),
    ),
    row("M08.5", "half a packet, keep alive 1", "MQTT-3.1.2-22", Own(|to| special::half_a_packet(to, V5))),
    row("M08.3", "half a packet, keep alive 1", "MQTT-3.1.2-24", Own(|to| special::half_a_packet(to, V311))),
    row(
        "M09a.5",
        "a topic that is longer than the packet",
        "MQTT-1.5.4",
        After(V5, |_| b"\x30\x04\0\x09t\0".to_vec(), Disconnect(&[0x81])),
    ),
    row(
        "M09a.3",
        "a topic that is longer than the packet",
        "1.5.3",
        After(V311, |_| b"\x30\x04\0\x09t\0".to_vec(), Closed),
    ),
    row(
        "M09b.5",
        "PUBACK with bytes behind its end",
        "3.4",
        After(V5, |_| b"\x40\x05\0\x01\0\0\0".to_vec(), Disconnect(&[0x81])),
    ),
    row("M09b.3", "PUBACK with bytes behind its end", "3.4", After(V311, |_| b"\x40\x03\0\x01\0".to_vec(), Closed)),
    row(
        "M10a.5",
        "a property block that is longer than the packet",
        "2.2.2.1",
        After(V5, |_| packet(0x30, &topic_then(b"\x09\x01\x01")), Disconnect(&[0x81])),
    ),
    row(
        "M10b.5",
        "a property length that is written longer than needed",
        "MQTT-1.5.5-1",
        After(V5, |_| packet(0x30, &topic_then(b"\x80\0")), Disconnect(&[0x81])),
    ),
    row(
        "M11a.5",
        "a property twice",
        "3.3.2.3.2",
        After(V5, |v| publish(v, 0, "t", 0, b"\x01\0\x01\0", b"x"), Disconnect(&[0x82])),
    ),
    // 0x81, not 0x82: 2.2.2.2 says that a property of another packet makes this one malformed.
    row(
        "M11b.5",
        "a property of another packet",
        "2.2.2.2",
        After(V5, |v| publish(v, 0, "t", 0, b"\x21\0\x01", b"x"), Disconnect(&[0x81])),
    ),
    row(
        "M12a.5",
        "65 user properties",
        "4.13",
        After(V5, |v| publish(v, 0, "t", 0, &user_properties(65), b"x"), Disconnect(&[0x95, 0x82])),
    ),
    row(
        "M12b.5",
        "10,000 user properties",
        "4.13",
        After(V5, |v| publish(v, 0, "t", 0, &user_properties(10_000), b"x"), Disconnect(&[0x95, 0x82])),
    ),
    // 0x81 as in M11b.
    row(
        "M13a.5",
        "a will with a topic alias",
        "2.2.2.2",
        First(|to| with_will(to, V5, 0, b"\x23\0\x01", "t", b"x"), Connack(&[0x81])),
    ),
    row(
        "M13b.5",
        "a will that is not the text it says it is",
        "3.1.3.2.3",
        First(|to| with_will(to, V5, 0, b"\x01\x01", "t", b"\xff"), Connack(&[0x99])),
    ),
    row(
        "M14a.5",
        "a will topic with a wildcard",
        "4.7.1",
        First(|to| with_will(to, V5, 0, &[], "a/#", b"x"), Connack(&[0x90])),
    ),
    row(
        "M14a.3",
        "a will topic with a wildcard",
        "4.7.1",
        First(|to| with_will(to, V311, 0, &[], "a/#", b"x"), Closed),
    ),
    row(
        "M14b.5",
        "a will topic that begins with $",
        "4.7.2",
        First(|to| with_will(to, V5, 0, &[], "$SYS/x", b"x"), Connack(&[0x90])),
    ),
    row(
        "M14b.3",
        "a will topic that begins with $",
        "4.7.2",
        First(|to| with_will(to, V311, 0, &[], "$SYS/x", b"x"), Closed),
    ),
    row(
        "M14c.5",
        "an empty will topic",
        "MQTT-4.7.3-1",
        First(|to| with_will(to, V5, 0, &[], "", b"x"), Connack(&[0x90, 0x81])),
    ),
    row("M14c.3", "an empty will topic", "MQTT-4.7.3-1", First(|to| with_will(to, V311, 0, &[], "", b"x"), Closed)),
    row(
        "M14d.5",
        "a will with QoS 3",
        "MQTT-3.1.2-12",
        First(|to| with_will(to, V5, 0x18, &[], "t", b"x"), Connack(&[0x81])),
    ),
    row("M14d.3", "a will with QoS 3", "MQTT-3.1.2-14", First(|to| with_will(to, V311, 0x18, &[], "t", b"x"), Closed)),
    // MQTT 5 lets a server name any client that has no name, whatever Clean Start says (3.1.3.1).
    row("M15.5", "an empty client identifier, clean start 0", "MQTT-3.1.3-6", Own(special::unnamed)),
    row(
        "M15.3",
        "an empty client identifier, clean session 0",
        "MQTT-3.1.3-8",
        First(|_| b"\x10\x0c\0\x04MQTT\x04\0\0\x3c\0\0".to_vec(), Connack(&[2])),
    ),
    row(
        "M16a.5",
        "a client identifier of 129 bytes",
        "3.1.3.1",
        First(|to| named(to, V5, &[b'a'; 129]), Connack(&[0x85])),
    ),
    row(
        "M16a.3",
        "a client identifier of 129 bytes",
        "3.1.3.1",
        First(|to| named(to, V311, &[b'a'; 129]), Connack(&[2])),
    ),
    row(
        "M16b.5",
        "U+0000 in the client identifier",
        "MQTT-1.5.4-2",
        First(|to| named(to, V5, b"a\0"), Connack(&[0x81, 0x85])),
    ),
    row(
        "M16b.3",
        "U+0000 in the client identifier",
        "MQTT-1.5.3-2",
        First(|to| named(to, V311, b"a\0"), ConnackOrClosed(&[2])),
    ),
    row(
        "M16c.5",
        "a client identifier that is not UTF-8",
        "MQTT-1.5.4-1",
        First(|to| named(to, V5, b"a\xff"), Connack(&[0x81, 0x85])),
    ),
    row(
        "M16c.3",
        "a client identifier that is not UTF-8",
        "MQTT-1.5.3-1",
        First(|to| named(to, V311, b"a\xff"), ConnackOrClosed(&[2])),
    ),
    row(
        "M16d.5",
        "U+FFFE in the client identifier",
        "1.5.4",
        First(|to| named(to, V5, "a\u{fffe}".as_bytes()), Connack(&[0x81, 0x85])),
    ),
    row(
        "M16d.3",
        "U+FFFE in the client identifier",
        "1.5.3",
        First(|to| named(to, V311, "a\u{fffe}".as_bytes()), ConnackOrClosed(&[2])),
    ),
    row("M17a.5", "# as the client identifier", "3.1.3.1", First(|to| named(to, V5, b"#"), Connack(&[0x85]))),
    row("M17a.3", "# as the client identifier", "3.1.3.1", First(|to| named(to, V311, b"#"), Connack(&[2]))),
    row("M17b.5", "+ as the client identifier", "3.1.3.1", First(|to| named(to, V5, b"+"), Connack(&[0x85]))),
    row("M17b.3", "+ as the client identifier", "3.1.3.1", First(|to| named(to, V311, b"+"), Connack(&[2]))),
    // It is the user name that is bad, and both versions have a code for that.
    row("M17c.5", "# as the user name", "3.2.2.2", First(|to| with_user(to, V5, "#"), Connack(&[0x86, 0x85]))),
    row("M17c.3", "# as the user name", "3.2.2.3", First(|to| with_user(to, V311, "#"), Connack(&[4, 2]))),
    row(
        "M18",
        "a client identifier of another principal",
        "MQTT-3.1.4-3",
        Never("needs two principals, and a target has one"),
    ),
    row("M19.5", "the same client identifier again", "MQTT-3.1.4-3", Own(|to| special::takeover(to, V5))),
    row("M19.3", "the same client identifier again", "MQTT-3.1.4-2", Own(|to| special::takeover(to, V311))),
    row("M20.5", "a password without a user name", "3.1.2.9", Own(special::password_alone)),
    row(
        "M20.3",
        "a password without a user name",
        "MQTT-3.1.2-22",
        First(|to| password_without_user(to, V311), Closed),
    ),
    row("M21a.5", "keep alive 0", "3.2.2.3.14", Own(|to| special::keep_alive(to, 0))),
    row("M21b.5", "keep alive 65535", "3.2.2.3.14", Own(|to| special::keep_alive(to, u16::MAX))),
    // CONNACK 2 would say that the identifier is wrong. The client is taken, and held to the server's own limit.
    row("M21a.3", "keep alive 0", "3.1.2.10", Own(|to| special::keep_alive_taken(to, 0))),
    row("M21b.3", "keep alive 65535", "3.1.2.10", Own(|to| special::keep_alive_taken(to, u16::MAX))),
    // No method was agreed on, so AUTH is a protocol error; 0x8C is for the method in CONNECT.
    row(
        "M22a.5",
        "AUTH without a method in CONNECT",
        "MQTT-4.12.0-7",
        After(V5, |_| b"\xf0\0".to_vec(), Disconnect(&[0x82])),
    ),
    row(
        "M22b.5",
        "an unknown authentication method",
        "MQTT-4.12.0-1",
        First(|to| with_properties(to, &[&[0x15], &text("none-such")[..]].concat()), Connack(&[0x8c])),
    ),
    row("M22c.3", "AUTH, which 3.1.1 does not have", "2.2.1", After(V311, |_| b"\xf0\0".to_vec(), Closed)),
];

fn second_connect() -> Vec<u8> {
    b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c".to_vec()
}

/// A CONNECT with a password and no user name.
pub(super) fn password_without_user(endpoint: &Endpoint, version: Version) -> Vec<u8> {
    let mut bytes = Connect { login: None, ..Connect::new(version, endpoint) }.bytes();
    bytes.extend(text("secret"));
    bytes[1] += 8;
    bytes[9] |= 0x40;
    bytes
}
