//! HTTP/2 frames by hand (RFC 9113, section 4): a writer that checks nothing, and a reader that knows their names.
use super::wire::{NoAnswer, Wire, authorization};
use crate::suite::Endpoint;
use std::{fmt, time::Instant};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// RFC 9113, section 7.
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The connection preface and SETTINGS with these values.
pub(super) fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &payload)].concat()
}

/// A field as a literal that is not indexed (RFC 7541, section 6.2.2), without Huffman coding.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(&mut bytes, text.len());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// RFC 7541, section 5.1, with a prefix of 7 bits.
fn length(bytes: &mut Vec<u8>, length: usize) {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let Some(mut rest) = length.checked_sub(127) else {
        bytes.push(byte(length));
        return;
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(byte((rest % 128) | 128));
        rest /= 128;
    }
    bytes.push(byte(rest));
}

/// The fields of `POST /events`, and these.
pub(super) fn post_fields(endpoint: &Endpoint, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/events")] {
        fields.extend(literal(name, value));
    }
    fields.extend(literal(":authority", &endpoint.host));
    fields.extend(literal("content-type", "application/json"));
    let shown = authorization(endpoint);
    if let Some((_, value)) = shown.trim_end().split_once(": ") {
        fields.extend(literal("authorization", value));
    }
    for (name, value) in more {
        fields.extend(literal(name, value));
    }
    fields
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub(super) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        self.payload.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            DATA => "DATA",
            HEADERS => "HEADERS",
            RST_STREAM => "RST_STREAM",
            SETTINGS => "SETTINGS",
            PING => "PING",
            GOAWAY => "GOAWAY",
            WINDOW_UPDATE => "WINDOW_UPDATE",
            _ => "another frame",
        };
        write!(f, "{name} on stream {}", self.stream)?;
        self.code().map_or(Ok(()), |code| write!(f, " with code {code}"))
    }
}

/// The next frame.
pub(super) fn read(wire: &mut Wire, until: Instant) -> Result<Frame, NoAnswer> {
    let head = wire.exactly(9, until)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = wire.exactly(length, until)?;
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Ok(Frame { kind: head[3], flags: head[4], stream, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_lengths_are_written_as_the_rfcs_say() {
        assert_eq!(frame(PING, 1, 0, b"12345678"), b"\0\0\x08\x06\x01\0\0\0\x0012345678");
        assert_eq!(literal("a", "bc"), b"\0\x01a\x02bc");
        // RFC 7541, appendix C.1.2, with one prefix bit more: 1337 = 127 + 58 + 9 × 128.
        assert_eq!(literal("", &"x".repeat(1337))[2..5], [127, 128 | 58, 9]);
    }
}
