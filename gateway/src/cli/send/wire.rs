//! MQTT packets as bytes: what a publishing client writes and reads, for 3.1.1 and 5.
//!
//! Pure: no sockets. It knows CONNECT, PUBLISH, DISCONNECT, and of answers the code and the reason string. It is no general
//! codec: packets that a gateway which only takes messages in never sends are left unread.

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

impl Version {
    /// Reads `3.1.1` or `5`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "3.1.1" => Some(Version::V311),
            "5" => Some(Version::V5),
            _ => None,
        }
    }
}

/// What a client says when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The version to speak.
    pub version: Version,
    /// The client id.
    pub client_id: &'a str,
    /// User name and password.
    pub user: Option<(&'a str, &'a [u8])>,
}

/// One message to publish. An empty list of properties and no content type are the only ones that 3.1.1 can carry.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The topic.
    pub topic: &'a str,
    /// 0 or 1.
    pub qos: u8,
    /// The content type (MQTT 5).
    pub content_type: Option<&'a str>,
    /// User properties (MQTT 5).
    pub properties: &'a [(String, String)],
    /// The payload.
    pub payload: &'a [u8],
}

/// DISCONNECT without a reason: the same in both versions.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];
/// Packet type and flags of CONNACK.
pub const CONNACK: u8 = 0x20;
/// Packet type and flags of PUBACK.
pub const PUBACK: u8 = 0x40;
/// Packet type and flags of a server's DISCONNECT (MQTT 5).
pub const SERVER_DISCONNECT: u8 = 0xe0;

/// The longest packet that is read: answers are short.
const ANSWER_MAX: usize = 64 * 1024;

/// CONNECT with a clean session and a keep alive of 60 s.
pub fn connect(hello: &Hello<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    string(&mut body, b"MQTT");
    let (level, flags) = match (hello.version, hello.user) {
        (Version::V311, None) => (4, 0x02),
        (Version::V311, Some(_)) => (4, 0xc2),
        (Version::V5, None) => (5, 0x02),
        (Version::V5, Some(_)) => (5, 0xc2),
    };
    body.extend_from_slice(&[level, flags, 0, 60]);
    if hello.version == Version::V5 {
        body.push(0);
    }
    string(&mut body, hello.client_id.as_bytes());
    if let Some((user, password)) = hello.user {
        string(&mut body, user.as_bytes());
        string(&mut body, password);
    }
    let mut packet = vec![0x10];
    varint(&mut packet, body.len());
    packet.extend_from_slice(&body);
    packet
}

/// Appends a PUBLISH. Returns where its packet id stands, for who sends the same bytes again; `None` for QoS 0.
pub fn publish(into: &mut Vec<u8>, version: Version, packet_id: u16, message: &Publish<'_>) -> Option<usize> {
    let mut properties = Vec::new();
    if version == Version::V5 {
        if let Some(content_type) = message.content_type {
            properties.push(0x03);
            string(&mut properties, content_type.as_bytes());
        }
        for (name, value) in message.properties {
            properties.push(0x26);
            string(&mut properties, name.as_bytes());
            string(&mut properties, value.as_bytes());
        }
    }
    let mut before = Vec::with_capacity(message.topic.len() + properties.len() + 8);
    string(&mut before, message.topic.as_bytes());
    let id_at = before.len();
    if message.qos > 0 {
        before.extend_from_slice(&packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        varint(&mut before, properties.len());
        before.extend_from_slice(&properties);
    }
    into.push(0x30 | (message.qos << 1));
    varint(into, before.len() + message.payload.len());
    let start = into.len();
    into.extend_from_slice(&before);
    into.extend_from_slice(message.payload);
    (message.qos > 0).then_some(start + id_at)
}

/// What the other end sent is no MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// One packet that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its first byte: type and flags.
    pub first: u8,
    /// What follows the length.
    pub body: &'a [u8],
    /// All its bytes.
    pub size: usize,
}

/// The first whole packet of `bytes`; `None` when more bytes are needed.
///
/// # Errors
/// [`Broken`] for a length that MQTT cannot write, or one that no answer has.
pub fn next(bytes: &[u8]) -> Result<Option<Packet<'_>>, Broken> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, used)) = read_varint(rest)? else { return Ok(None) };
    if length > ANSWER_MAX {
        return Err(Broken);
    }
    let size = 1 + used + length;
    Ok(bytes.get(1 + used..size).map(|body| Packet { first, body, size }))
}

/// The packet id of a PUBACK.
pub fn packet_id(body: &[u8]) -> Option<u16> {
    body.first_chunk::<2>().map(|id| u16::from_be_bytes(*id))
}

/// What an answer says: its code and its reason string, which is empty when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The reason code; 0 is success.
    pub code: u8,
    /// The reason string.
    pub reason: String,
    /// CONNACK: how many QoS 1 messages may be without their PUBACK.
    pub receive_max: Option<u16>,
}

/// Reads the body of CONNACK, PUBACK or DISCONNECT.
pub fn said(first: u8, body: &[u8], version: Version) -> Said {
    let at = match first & 0xf0 {
        CONNACK => 1,
        PUBACK => 2,
        _ => 0,
    };
    let code = body.get(at).copied().unwrap_or(0);
    let mut said = Said { code, ..Said::default() };
    if version == Version::V5 {
        properties(body.get(at + 1..).unwrap_or_default(), &mut said);
    }
    said
}

/// Walks over properties (MQTT 5, 2.2.2.2), as far as they can be read.
fn properties(bytes: &[u8], said: &mut Said) {
    let Ok(Some((length, used))) = read_varint(bytes) else { return };
    let mut rest = bytes.get(used..used + length).unwrap_or_default();
    while let Some((&id, value)) = rest.split_first() {
        let text =
            |at: usize| value.get(at..at + 2).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
        let size = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Some(1),
            0x13 | 0x21 | 0x22 | 0x23 => Some(2),
            0x02 | 0x11 | 0x18 | 0x27 => Some(4),
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => text(0).map(|length| 2 + length),
            0x26 => text(0).and_then(|name| Some(4 + name + text(2 + name)?)),
            _ => None,
        };
        let Some(value) = size.and_then(|size| value.get(..size)) else { return };
        match (id, value) {
            (0x1f, [_, _, reason @ ..]) => said.reason = String::from_utf8_lossy(reason).into_owned(),
            (0x21, [high, low]) => said.receive_max = Some(u16::from_be_bytes([*high, *low])),
            _ => {}
        }
        rest = &rest[1 + value.len()..];
    }
}

/// Text longer than MQTT can write is cut; the callers check theirs before.
fn string(into: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&text[..usize::from(length)]);
}

fn varint(into: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        into.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn read_varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let mut value = 0;
    for at in 0..4 {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    Err(Broken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn connect_and_publish_are_what_the_standard_writes() {
        let hello = Hello { version: Version::V311, client_id: "c", user: None };
        assert_eq!(connect(&hello), b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c");
        let hello = Hello { version: Version::V5, client_id: "c", user: Some(("u", b"p")) };
        assert_eq!(connect(&hello), b"\x10\x14\0\x04MQTT\x05\xc2\0\x3c\0\0\x01c\0\x01u\0\x01p");
        let mut bytes = Vec::new();
        let message =
            Publish { topic: "t", qos: 1, content_type: None, properties: &[("a".into(), "b".into())], payload: b"x" };
        let at = publish(&mut bytes, Version::V5, 0x0102, &message).unwrap();
        assert_eq!(bytes, b"\x32\x0e\0\x01t\x01\x02\x07\x26\0\x01a\0\x01bx");
        assert_eq!(bytes[at..at + 2], [1, 2]);
        let mut bytes = Vec::new();
        assert_eq!(publish(&mut bytes, Version::V311, 7, &Publish { qos: 0, ..message }), None);
        assert_eq!(bytes, b"\x30\x04\0\x01tx");
    }

    #[test]
    fn answers_are_read_with_their_reason() {
        let bytes = b"\x40\x0d\0\x07\x99\x09\x1f\0\x06no: isx";
        let packet = next(bytes).unwrap();
        // The length says 13: one byte of the payload is missing from the property, so it is cut, not misread.
        assert_eq!(packet.unwrap().size, 15);
        let body = b"\0\x07\x99\x08\x1f\0\x05no:is";
        assert_eq!(packet_id(body), Some(7));
        assert_eq!(said(PUBACK, body, Version::V5), Said { code: 0x99, reason: "no:is".to_owned(), receive_max: None });
        assert_eq!(said(PUBACK, b"\0\x07", Version::V311), Said::default());
        let connack = said(CONNACK, b"\0\0\x03\x21\0\x40", Version::V5);
        assert_eq!(connack.receive_max, Some(64));
    }

    #[test]
    fn parts_and_nonsense() {
        assert_eq!(next(b""), Ok(None));
        assert_eq!(next(b"\x40\x02\0"), Ok(None));
        assert_eq!(next(b"\x40\xff\xff\xff\xff\x01"), Err(Broken));
        assert_eq!(next(b"\x40\xff\xff\xff\x7f"), Err(Broken));
    }
}
