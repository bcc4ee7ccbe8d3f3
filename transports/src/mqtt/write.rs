//! The packets that this listener sends, as bytes.
//!
//! Small and few, so they are written by hand into the connection's output; a reason string is left out when the client asked
//! for none, and cut where the client's Maximum Packet Size ends.
use super::{
    fault::{Fault, code},
    fields::{Version, property},
    settings::MqttSettings,
};
use std::num::NonZeroU16;

/// Longest reason string, in bytes.
const REASON_MAX: usize = 512;

/// What the client said about packets to it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its version.
    pub version: Version,
    /// Its Maximum Packet Size, `u32::MAX` for none.
    pub max_packet: u32,
    /// Request Problem Information.
    pub problem_info: bool,
}

impl Peer {
    fn takes(self, bytes: usize) -> bool {
        u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.max_packet)
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte. `reason` only for refusals on MQTT 5. Says `false`, and writes
    /// nothing, when the client takes no packet of this size.
    #[must_use]
    pub fn acknowledge(self, out: &mut Vec<u8>, first: u8, id: NonZeroU16, code: u8, reason: &str) -> bool {
        let [high, low] = id.get().to_be_bytes();
        if code == code::SUCCESS || self.version == Version::V311 {
            let fits = self.takes(4);
            if fits {
                out.extend_from_slice(&[first, 2, high, low]);
            }
            return fits;
        }
        self.with_reason(out, first, &[high, low, code], reason)
    }

    /// DISCONNECT of MQTT 5; nothing on 3.1.1, where a server just closes.
    pub fn disconnect(self, out: &mut Vec<u8>, code: u8, reason: &str) {
        if self.version == Version::V5 {
            // A client that takes not even three bytes sees the connection close: the best that is left.
            let _fits = self.with_reason(out, 0xe0, &[code], reason);
        }
    }

    /// A packet of fixed fields and perhaps a reason string.
    fn with_reason(self, out: &mut Vec<u8>, first: u8, fields: &[u8], reason: &str) -> bool {
        let bare = 2 + fields.len();
        if !self.takes(bare) {
            return false;
        }
        // Fixed header at most 3, property length at most 2, property identifier 1, string length 2.
        let most =
            usize::try_from(self.max_packet).unwrap_or(usize::MAX).saturating_sub(8 + fields.len()).min(REASON_MAX);
        let reason = cut(reason, most);
        if reason.is_empty() || !self.problem_info {
            out.push(first);
            out.push(small(fields.len()));
            out.extend_from_slice(fields);
            return true;
        }
        let mut properties = Vec::with_capacity(reason.len() + 3);
        put_string(&mut properties, property::REASON, reason);
        let mut body = fields.to_vec();
        put_varint(&mut body, properties.len());
        body.extend_from_slice(&properties);
        packet(out, first, &body);
        true
    }

    /// SUBACK: every filter is refused. Says `false` as [`Peer::puback`] does.
    #[must_use]
    pub fn suback(self, out: &mut Vec<u8>, packet_id: NonZeroU16, filters: usize) -> bool {
        let code = match self.version {
            Version::V311 => 0x80,
            Version::V5 => code::NOT_AUTHORIZED,
        };
        self.codes(out, 0x90, packet_id, &vec![code; filters])
    }

    /// UNSUBACK: there was no subscription.
    #[must_use]
    pub fn unsuback(self, out: &mut Vec<u8>, packet_id: NonZeroU16, filters: usize) -> bool {
        match self.version {
            Version::V311 => self.codes(out, 0xb0, packet_id, &[]),
            Version::V5 => self.codes(out, 0xb0, packet_id, &vec![code::NO_SUBSCRIPTION; filters]),
        }
    }

    fn codes(self, out: &mut Vec<u8>, first: u8, packet_id: NonZeroU16, codes: &[u8]) -> bool {
        let mut body = packet_id.get().to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(codes);
        if !self.takes(body.len() + 5) && !self.takes(body.len() + 2) {
            return false;
        }
        packet(out, first, &body);
        true
    }
}

/// The first byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// The first byte of PUBREC.
pub const PUBREC: u8 = 0x50;
/// The first byte of PUBREL.
pub const PUBREL: u8 = 0x62;
/// The first byte of PUBCOMP.
pub const PUBCOMP: u8 = 0x70;
/// PINGRESP.
pub const PINGRESP: [u8; 2] = [0xd0, 0];

/// What a successful CONNACK tells beside the settings.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    /// The keep alive in force.
    pub keep_alive: u16,
    /// Whether the client asked for another one.
    pub keep_alive_changed: bool,
    /// The client identifier that was made for it.
    pub assigned: Option<&'a str>,
    /// Whether it asked for a session that outlives the connection: it gets none.
    pub session_asked: bool,
}

/// A successful CONNACK; Session Present is always 0. What only tells that there are no subscriptions is left out where the
/// client's Maximum Packet Size has no room for it. Says `false`, and writes nothing, when there is none for the rest either.
#[must_use]
pub fn connack(out: &mut Vec<u8>, peer: Peer, settings: &MqttSettings, welcome: Welcome<'_>) -> bool {
    if peer.version == Version::V311 {
        out.extend_from_slice(&[0x20, 2, 0, 0]);
        return true;
    }
    let mut properties = Vec::with_capacity(64);
    if welcome.session_asked {
        put_u32(&mut properties, property::SESSION_EXPIRY, 0);
    }
    put_u16(&mut properties, property::RECEIVE_MAX, settings.max_inflight.max(1));
    properties.extend_from_slice(&[property::RETAIN, 0]);
    put_u32(&mut properties, property::MAX_PACKET, u32::try_from(settings.max_packet).unwrap_or(u32::MAX));
    if let Some(assigned) = welcome.assigned {
        put_string(&mut properties, property::ASSIGNED_CLIENT_ID, assigned);
    }
    put_u16(&mut properties, property::ALIAS_MAX, settings.topic_alias_max);
    if welcome.keep_alive_changed {
        put_u16(&mut properties, property::SERVER_KEEP_ALIVE, welcome.keep_alive);
    }
    let none = [property::WILDCARD, 0, property::SUBSCRIPTION_IDS, 0, property::SHARED, 0];
    // Fixed header at most 3, flags and code 2, property length at most 2.
    if peer.takes(7 + properties.len() + none.len()) {
        properties.extend_from_slice(&none);
    }
    let mut body = vec![0, code::SUCCESS];
    put_varint(&mut body, properties.len());
    body.extend_from_slice(&properties);
    let size = 1 + if body.len() < 128 { 1 } else { 2 } + body.len();
    if peer.takes(size) {
        packet(out, 0x20, &body);
    }
    peer.takes(size)
}

/// A CONNACK that refuses. `login` says whether credentials were shown.
pub fn connack_refusal(out: &mut Vec<u8>, version: Version, fault: &Fault, login: bool) {
    if version == Version::V311 {
        let code = match fault.code {
            code::VERSION => 1,
            code::CLIENT_ID => 2,
            code::BAD_LOGIN if login => 4,
            code::BAD_LOGIN | code::NOT_AUTHORIZED => 5,
            _ => 3,
        };
        out.extend_from_slice(&[0x20, 2, 0, code]);
        return;
    }
    let mut properties = Vec::new();
    // A client of a later version may not know what properties are in its CONNACK.
    if fault.code != code::VERSION {
        let reason = fault.reason();
        put_string(&mut properties, property::REASON, cut(&reason, REASON_MAX));
    }
    let mut body = vec![0, fault.code];
    put_varint(&mut body, properties.len());
    body.extend_from_slice(&properties);
    packet(out, 0x20, &body);
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    put_varint(out, body.len());
    out.extend_from_slice(body);
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = small(value & 0x7f);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_u16(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, id: u8, text: &str) {
    let text = cut(text, usize::from(u16::MAX));
    put_u16(out, id, u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn small(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// The start of `text` in at most `most` bytes, without U+0000.
fn cut(text: &str, most: usize) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { version: Version::V5, max_packet: u32::MAX, problem_info: true };

    fn bytes(write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        write(&mut out).then_some(out)
    }

    const ID: NonZeroU16 = NonZeroU16::new(7).unwrap();

    #[test]
    fn reason_strings_are_cut_or_left_out() {
        let full = bytes(|out| PEER.acknowledge(out, PUBACK, ID, 0x99, "malformed: x"));
        assert_eq!(full.as_deref(), Some(&b"\x40\x13\0\x07\x99\x0f\x1f\0\x0cmalformed: x"[..]));
        let none = bytes(|out| Peer { problem_info: false, ..PEER }.acknowledge(out, PUBREC, ID, 0x99, "malformed: x"));
        assert_eq!(none.as_deref(), Some(&b"\x50\x03\0\x07\x99"[..]));
        for max in 5..40 {
            let peer = Peer { max_packet: max, ..PEER };
            let out = bytes(|out| peer.acknowledge(out, PUBACK, ID, 0x99, "malformed: é è ê"));
            assert!(out.is_some_and(|out| out.len() <= max as usize), "{max}");
        }
        assert_eq!(bytes(|out| Peer { max_packet: 4, ..PEER }.acknowledge(out, PUBACK, ID, 0x99, "x")), None);
        assert_eq!(bytes(|out| Peer { max_packet: 3, ..PEER }.acknowledge(out, PUBACK, ID, 0, "")), None);
    }

    #[test]
    fn a_connack_fits_or_is_not_sent() {
        let settings = MqttSettings::default();
        let welcome = Welcome { keep_alive: 60, keep_alive_changed: false, assigned: None, session_asked: false };
        let of = |max_packet| bytes(|out| connack(out, Peer { max_packet, ..PEER }, &settings, welcome));
        let full = of(u32::MAX).map(|connack| connack.len());
        assert_eq!(full, Some(24));
        for max in 18..24 {
            assert!(of(max).is_some_and(|connack| connack.len() <= max as usize), "{max}");
        }
        assert_eq!(of(17), None);
    }

    #[test]
    fn codes_per_filter() {
        assert_eq!(bytes(|out| PEER.suback(out, ID, 2)).as_deref(), Some(&b"\x90\x05\0\x07\0\x87\x87"[..]));
        assert_eq!(bytes(|out| PEER.unsuback(out, ID, 2)).as_deref(), Some(&b"\xb0\x05\0\x07\0\x11\x11"[..]));
        let old = Peer { version: Version::V311, ..PEER };
        assert_eq!(bytes(|out| old.suback(out, ID, 2)).as_deref(), Some(&b"\x90\x04\0\x07\x80\x80"[..]));
        assert_eq!(bytes(|out| old.unsuback(out, ID, 2)).as_deref(), Some(&b"\xb0\x02\0\x07"[..]));
    }
}
