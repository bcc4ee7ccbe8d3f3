//! The packets that this listener sends, as bytes.
//!
//! Small and few, so they are written by hand into the connection's output; a reason string is left out when the client asked
//! for none, and cut where the client's Maximum Packet Size ends.
use super::{
    fault::{Fault, code},
    fields::{Version, property},
    settings::MqttSettings,
};

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

    /// PUBACK. `reason` only for refusals on MQTT 5. Says `false`, and writes nothing, when the client takes no packet of
    /// this size.
    #[must_use]
    pub fn puback(self, out: &mut Vec<u8>, packet_id: u16, code: u8, reason: &str) -> bool {
        let [high, low] = packet_id.to_be_bytes();
        if code == code::SUCCESS {
            out.extend_from_slice(&[0x40, 2, high, low]);
            return self.takes(4);
        }
        self.with_reason(out, 0x40, &[high, low, code], reason)
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
    pub fn suback(self, out: &mut Vec<u8>, packet_id: u16, filters: usize) -> bool {
        let code = match self.version {
            Version::V311 => 0x80,
            Version::V5 => code::NOT_AUTHORIZED,
        };
        self.codes(out, 0x90, packet_id, &vec![code; filters])
    }

    /// UNSUBACK: there was no subscription.
    #[must_use]
    pub fn unsuback(self, out: &mut Vec<u8>, packet_id: u16, filters: usize) -> bool {
        match self.version {
            Version::V311 => self.codes(out, 0xb0, packet_id, &[]),
            Version::V5 => self.codes(out, 0xb0, packet_id, &vec![code::NO_SUBSCRIPTION; filters]),
        }
    }

    /// The answer to a PUBREC (PUBREL) or PUBREL (PUBCOMP) of a packet identifier that nobody used: QoS 2 is not served.
    #[must_use]
    pub fn not_found(self, out: &mut Vec<u8>, first: u8, packet_id: u16) -> bool {
        let [high, low] = packet_id.to_be_bytes();
        match self.version {
            Version::V311 => out.extend_from_slice(&[first, 2, high, low]),
            Version::V5 => out.extend_from_slice(&[first, 3, high, low, code::ID_NOT_FOUND]),
        }
        self.takes(5)
    }

    fn codes(self, out: &mut Vec<u8>, first: u8, packet_id: u16, codes: &[u8]) -> bool {
        let mut body = packet_id.to_be_bytes().to_vec();
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
}

/// A successful CONNACK; Session Present is always 0.
pub fn connack(out: &mut Vec<u8>, version: Version, settings: &MqttSettings, welcome: Welcome<'_>) {
    if version == Version::V311 {
        out.extend_from_slice(&[0x20, 2, 0, 0]);
        return;
    }
    let mut properties = Vec::with_capacity(64);
    put_u32(&mut properties, property::SESSION_EXPIRY, 0);
    put_u16(&mut properties, property::RECEIVE_MAX, settings.max_inflight.max(1));
    properties.extend_from_slice(&[property::MAX_QOS, 1, property::RETAIN, 0]);
    put_u32(&mut properties, property::MAX_PACKET, u32::try_from(settings.max_packet).unwrap_or(u32::MAX));
    if let Some(assigned) = welcome.assigned {
        put_string(&mut properties, property::ASSIGNED_CLIENT_ID, assigned);
    }
    put_u16(&mut properties, property::ALIAS_MAX, settings.topic_alias_max);
    properties.extend_from_slice(&[property::WILDCARD, 0, property::SUBSCRIPTION_IDS, 0, property::SHARED, 0]);
    if welcome.keep_alive_changed {
        put_u16(&mut properties, property::SERVER_KEEP_ALIVE, welcome.keep_alive);
    }
    let mut body = vec![0, code::SUCCESS];
    put_varint(&mut body, properties.len());
    body.extend_from_slice(&properties);
    packet(out, 0x20, &body);
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

    #[test]
    fn reason_strings_are_cut_or_left_out() {
        let full = bytes(|out| PEER.puback(out, 7, 0x99, "malformed: x"));
        assert_eq!(full.as_deref(), Some(&b"\x40\x13\0\x07\x99\x0f\x1f\0\x0cmalformed: x"[..]));
        let none = bytes(|out| Peer { problem_info: false, ..PEER }.puback(out, 7, 0x99, "malformed: x"));
        assert_eq!(none.as_deref(), Some(&b"\x40\x03\0\x07\x99"[..]));
        for max in 5..40 {
            let out = bytes(|out| Peer { max_packet: max, ..PEER }.puback(out, 7, 0x99, "malformed: é è ê"));
            assert!(out.is_some_and(|out| out.len() <= max as usize), "{max}");
        }
        assert_eq!(bytes(|out| Peer { max_packet: 4, ..PEER }.puback(out, 7, 0x99, "x")), None);
    }

    #[test]
    fn codes_per_filter() {
        assert_eq!(bytes(|out| PEER.suback(out, 1, 2)).as_deref(), Some(&b"\x90\x05\0\x01\0\x87\x87"[..]));
        assert_eq!(bytes(|out| PEER.unsuback(out, 1, 2)).as_deref(), Some(&b"\xb0\x05\0\x01\0\x11\x11"[..]));
        let old = Peer { version: Version::V311, ..PEER };
        assert_eq!(bytes(|out| old.suback(out, 1, 2)).as_deref(), Some(&b"\x90\x04\0\x01\x80\x80"[..]));
        assert_eq!(bytes(|out| old.unsuback(out, 1, 2)).as_deref(), Some(&b"\xb0\x02\0\x01"[..]));
    }
}
