//! The listener as a function over bytes: the same answers however the input is cut, and nothing kept for any input.
use crate::client::*;
use transports::mqtt::{
    MqttSettings,
    fuzz::{session_bytes, session_chunks},
};

fn flags(first: u8, mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] = first;
    packet
}

/// Whole conversations, good and bad.
fn conversations() -> Vec<Vec<u8>> {
    let v3 = |rest: &[&[u8]]| [CONNECT_V3, &rest.concat()].concat();
    let v5 = |rest: &[&[u8]]| [CONNECT_V5, &rest.concat()].concat();
    vec![
        v3(&[&publish_v3(1, "a/b", b"x"), PINGREQ, &publish_v3(2, "a/b", b"!no"), &publish_v3(3, "a/b", b"x")]),
        v3(&[&flags(0x34, publish_v3(9, "t", b"x")), b"\x62\x02\0\x09", b"\xe0\0"]),
        v3(&[b"\x82\x06\0\x01\0\x01t\x01", b"\xa2\x05\0\x02\0\x01t", b"\x31\x03\0\x01t", b"\x40\x02\0\x01"]),
        v5(&[&publish_v5(1, "a/b", &user("k", "v"), b"x"), &publish_v5(2, "a/b", &[], b"!no"), PINGREQ]),
        v5(&[&publish_v5(1, "a", &[0x23, 0, 2], b"x"), &publish_v5(2, "", &[0x23, 0, 2], b"y"), b"\xe0\x01\x04"]),
        v5(&[
            &flags(0x34, publish_v5(9, "t", &[], b"x")),
            &flags(0x3c, publish_v5(9, "t", &[], b"x")),
            b"\x62\x02\0\x09",
        ]),
        v5(&[&publish_v5(1, "t", &[], b"?"), &publish_v5(2, "t", &[], b"x")]),
        v5(&[&publish_v5(1, "t", &[], &[b'x'; 6_000]), b"\x30\x05\0\x01t\0"]),
        v5(&[b"\x50\x03\0\x04\x80\x62\x02\0\x04", b"\xc0\x80\0"]),
        v5(&[b"\x0a\xc0"]),
        b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\x02\x23\0\0\x01c".to_vec(),
        b"\x10\x0d\0\x04MQTT\x06\x02\0\x3c\0\x01c".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]
}

#[test]
fn a_cut_changes_nothing() {
    for input in conversations() {
        let whole = session_bytes(&input);
        assert!(input[0] != 0x10 || !whole.output.is_empty(), "{input:02x?}");
        // Long payloads are cut around their header and at their end only.
        for cut in (1..input.len()).filter(|cut| *cut < 100 || *cut + 20 > input.len()) {
            let cut_there = session_chunks(&input, cut, &MqttSettings::default());
            assert_eq!(cut_there, whole, "cut at {cut}: {input:02x?}");
        }
        assert_eq!(whole.held, 0, "{input:02x?}");
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for input in conversations() {
        for _ in 0..400 {
            let mut changed = input.clone();
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = usize::try_from(random >> 8).unwrap() % changed.len();
            changed[at] = u8::try_from(random & 0xff).unwrap();
            assert_eq!(session_bytes(&changed).held, 0, "{changed:02x?}");
        }
    }
}

#[test]
fn the_null_gateway_reaches_every_answer() {
    let told = |payload: &[u8]| {
        let whole = session_bytes(&[CONNECT_V5, &publish_v5(1, "t", &[], payload)].concat());
        assert_eq!(whole.messages, 1);
        let after_connack = 2 + usize::from(whole.output[1]);
        whole.output[after_connack..].first().copied()
    };
    assert_eq!(told(b"x"), Some(0x40));
    assert_eq!(told(b"!"), Some(0x40));
    assert_eq!(told(b"~"), Some(0xe0));
    assert_eq!(told(b"?"), None, "an unknown outcome has no answer");
}
