//! Rows that need more than one packet, or a look at the CONNACK.
use super::{
    Miss, connect::password_without_user, connected, connected_as, fail, open, want_answer, want_closed, want_last,
    want_open,
};
use crate::{
    mqtt::{
        encode::{Connect, publish, text, varint},
        wire::{
            Packet, Seen,
            Version::{self, V5, V311},
        },
    },
    suite::Endpoint,
};
use std::time::Duration;

/// How often M32 sends its message.
const AGAIN: usize = 10_000;
/// How many of them are without an answer at a time.
const BATCH: usize = 16;

fn two(value: &[u8]) -> u16 {
    u16::from_be_bytes([value[0], value[1]])
}

fn not_applicable(why: &str) -> Miss {
    Miss::NotApplicable(why.to_owned())
}

/// M03.
pub(super) fn says_nothing(endpoint: &Endpoint) -> Result<(), Miss> {
    Ok(want_closed(&mut open(endpoint)?)?)
}

/// M08: the keep alive ends it; a server that waits for the rest does nothing wrong before.
pub(super) fn half_a_packet(endpoint: &Endpoint, version: Version) -> Result<(), Miss> {
    let (mut connection, _) = connected_as(endpoint, &Connect { keep_alive: 1, ..Connect::new(version, endpoint) })?;
    connection.send(b"\x30\x10\0");
    let early = connection.next_within(Duration::from_millis(300));
    if early != Seen::Silence {
        return Err(fail("nothing before one and a half times the keep alive", early));
    }
    match version {
        V5 => Ok(want_last(&mut connection, 14, &[0x8d])?),
        V311 => Ok(want_closed(&mut connection)?),
    }
}

/// M15: a name from the server, or a refusal.
pub(super) fn unnamed(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut connection = open(endpoint)?;
    connection.send(&Connect { client: String::new(), clean: false, ..Connect::new(V5, endpoint) }.bytes());
    match connection.receive() {
        Seen::Packet(packet) if packet.kind() == 2 && packet.code() == 0x85 => Ok(()),
        Seen::Packet(packet)
            if packet.kind() == 2
                && packet.code() == 0
                && packet.connack_property(0x12).is_some_and(|id| id.len() > 2) =>
        {
            Ok(want_open(&mut connection)?)
        }
        seen => Err(fail("CONNACK 0x00 with an Assigned Client Identifier, or 0x85", seen)),
    }
}

/// M19.
pub(super) fn takeover(endpoint: &Endpoint, version: Version) -> Result<(), Miss> {
    let connect = Connect::new(version, endpoint);
    let (mut old, _) = connected_as(endpoint, &connect)?;
    let (mut new, _) = connected_as(endpoint, &connect)?;
    match version {
        V5 => want_last(&mut old, 14, &[0x8e])?,
        V311 => want_closed(&mut old)?,
    }
    Ok(want_open(&mut new)?)
}

/// M20 on MQTT 5.
pub(super) fn password_alone(endpoint: &Endpoint) -> Result<(), Miss> {
    if endpoint.credentials.is_some() {
        return Err(not_applicable("the endpoint wants other credentials"));
    }
    let mut connection = open(endpoint)?;
    connection.send(&password_without_user(endpoint, V5));
    match connection.receive() {
        Seen::Packet(packet) if packet.kind() == 2 && matches!(packet.code(), 0 | 0x86 | 0x87) => Ok(()),
        seen => Err(fail("CONNACK 0x00 (or 0x86, 0x87: the packet is well formed)", seen)),
    }
}

/// M21 on MQTT 5: the client is told what is in force.
pub(super) fn keep_alive(endpoint: &Endpoint, asked: u16) -> Result<(), Miss> {
    let (_, connack) = connected_as(endpoint, &Connect { keep_alive: asked, ..Connect::new(V5, endpoint) })?;
    match connack.connack_property(0x13).map(two) {
        Some(told) if told > 0 && (asked == 0 || told < asked) => Ok(()),
        told => Err(fail("CONNACK with a Server Keep Alive", format!("{told:?} in {connack}"))),
    }
}

/// M21 on 3.1.1.
pub(super) fn keep_alive_taken(endpoint: &Endpoint, asked: u16) -> Result<(), Miss> {
    let (mut connection, _) = connected_as(endpoint, &Connect { keep_alive: asked, ..Connect::new(V311, endpoint) })?;
    Ok(want_open(&mut connection)?)
}

/// M30b.
pub(super) fn alias_above_maximum(endpoint: &Endpoint) -> Result<(), Miss> {
    let (mut connection, connack) = connected(endpoint, V5)?;
    let max = connack.connack_property(0x22).map_or(0, two);
    let Some(above) = max.checked_add(1) else { return Err(not_applicable("every alias is allowed")) };
    let [high, low] = above.to_be_bytes();
    connection.send(&publish(V5, 0, "t", 0, &[0x23, high, low], b"x"));
    Ok(want_last(&mut connection, 14, &[0x94])?)
}

/// M31: QoS 2 messages count until PUBCOMP.
pub(super) fn above_receive_maximum(endpoint: &Endpoint) -> Result<(), Miss> {
    let (mut connection, connack) = connected(endpoint, V5)?;
    let max = connack.connack_property(0x21).map_or(u16::MAX, two);
    if max > 10_000 {
        return Err(not_applicable("its Receive Maximum is too large to be exceeded here"));
    }
    for id in 1..=max {
        connection.send(&publish(V5, 4, "conform/m31", id, &[], b"x"));
        let [high, low] = id.to_be_bytes();
        want_answer(&mut connection, &[0x50, high, low])?;
    }
    connection.send(&publish(V5, 4, "conform/m31", max + 1, &[], b"x"));
    Ok(want_last(&mut connection, 14, &[0x93])?)
}

/// M32: PUBREC for each, and one PUBCOMP in the end.
pub(super) fn again_and_again(endpoint: &Endpoint, version: Version) -> Result<(), Miss> {
    let (mut connection, _) = connected(endpoint, version)?;
    connection.send(&publish(version, 4, "conform/m32", 7, &[], b"x"));
    want_answer(&mut connection, b"\x50\0\x07")?;
    let again = publish(version, 12, "conform/m32", 7, &[], b"x").repeat(BATCH);
    for _ in 0..AGAIN / BATCH {
        connection.send(&again);
        for _ in 0..BATCH {
            want_answer(&mut connection, b"\x50\0\x07")?;
        }
    }
    connection.send(b"\x62\x02\0\x07");
    want_answer(&mut connection, b"\x70\0\x07")?;
    Ok(want_open(&mut connection)?)
}

/// M36 on MQTT 5.
pub(super) fn retain(endpoint: &Endpoint) -> Result<(), Miss> {
    let (mut connection, connack) = connected(endpoint, V5)?;
    if connack.connack_property(0x25) != Some(&[0]) {
        return Err(not_applicable("the server keeps retained messages"));
    }
    connection.send(&publish(V5, 1, "conform/m36", 0, &[], b"x"));
    Ok(want_last(&mut connection, 14, &[0x9a])?)
}

/// M37: every filter is refused by itself.
pub(super) fn refuses_filters(endpoint: &Endpoint, version: Version, subscribe: &[u8]) -> Result<(), Miss> {
    let (mut connection, _) = connected(endpoint, version)?;
    connection.send(subscribe);
    let refused: &[u8] = match version {
        V5 => b"\0\x07\0\x87\x87",
        V311 => b"\0\x07\x80\x80",
    };
    match connection.receive() {
        Seen::Packet(packet) if packet.first == 0x90 && packet.body == refused => Ok(want_open(&mut connection)?),
        Seen::Packet(packet) if packet.kind() == 9 && packet.body.last().is_some_and(|code| *code < 3) => {
            Err(not_applicable("the server grants subscriptions"))
        }
        seen => Err(fail(Packet { first: 0x90, body: refused.to_vec() }.to_string(), seen)),
    }
}

/// M39: at the header, before the packet has come.
pub(super) fn too_large(endpoint: &Endpoint, version: Version) -> Result<(), Miss> {
    let (mut connection, connack) = connected(endpoint, V5)?;
    let Some(max) = connack.connack_property(0x27) else {
        return Err(not_applicable("the server has no Maximum Packet Size"));
    };
    let max = u32::from_be_bytes([max[0], max[1], max[2], max[3]]);
    if version == V311 {
        connection = connected(endpoint, V311)?.0;
    }
    // Fixed header and body together are one byte above it.
    let body = usize::try_from(max).unwrap_or(usize::MAX) + 1 - header_size(max);
    connection.send(&[&[0x30], &varint(body)[..], &text("t")].concat());
    match version {
        V5 => Ok(want_last(&mut connection, 14, &[0x95])?),
        V311 => Ok(want_closed(&mut connection)?),
    }
}

fn header_size(packet: u32) -> usize {
    match packet {
        0..=129 => 2,
        130..=16_386 => 3,
        16_387..=2_097_155 => 4,
        _ => 5,
    }
}
