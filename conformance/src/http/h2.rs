//! Rows about HTTP/2 with prior knowledge: floods, resets and flow control.
use super::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frame, GOAWAY, HEADERS,
        PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, frame, post_fields, preface, read,
    },
    row::{Ask, Miss, Row},
    wire::{NoAnswer, Wire},
};
use crate::suite::Endpoint;
use std::{fmt, time::Instant};

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "G01",
        title: "rapid reset: 1,000 streams opened and reset",
        section: "CVE-2023-44487",
        ask: Ask::Run(rapid_reset),
    },
    Row {
        name: "G02",
        title: "1,000 streams that the server has to reset",
        section: "CVE-2025-8671",
        ask: Ask::Run(made_you_reset),
    },
    Row {
        name: "G03",
        title: "CONTINUATION without end",
        section: "RFC 9113, section 6.10; CVE-2024-27316",
        ask: Ask::Run(continuation_flood),
    },
    Row {
        name: "G04",
        title: "empty DATA frames without end",
        section: "RFC 9113, section 10.5; CVE-2019-9518",
        ask: Ask::Run(empty_data_flood),
    },
    Row {
        name: "G05",
        title: "10,000 PING and SETTINGS frames: each is answered and none is queued, or the connection ends",
        section: "RFC 9113, section 10.5; CVE-2019-9512",
        ask: Ask::Run(ping_flood),
    },
    Row {
        name: "G06",
        title: "a header list of 60 KB, and one of 1 MB",
        section: "RFC 9113, section 10.5.1",
        ask: Ask::Run(large_header_list),
    },
    Row {
        name: "G07",
        title: "WINDOW_UPDATE above 2^31-1, on a stream and on the connection",
        section: "RFC 9113, section 6.9.1",
        ask: Ask::Run(window_overflow),
    },
    Row {
        name: "G08",
        title: "DATA on a stream that was closed",
        section: "RFC 9113, section 5.1",
        ask: Ask::Run(data_on_closed_stream),
    },
    Row {
        name: "G09",
        title: "a content-length that is not the body's, and two different ones",
        section: "RFC 9113, section 8.1.1",
        ask: Ask::Run(wrong_length),
    },
    Row {
        name: "G10",
        title: "a peer with a window of 0 that never opens it",
        section: "RFC 9113, section 10.5; the stream or the connection ends at the write deadline",
        ask: Ask::Run(closed_window),
    },
];

/// One HTTP/2 connection, and what is expected of it.
struct Talk<'a> {
    endpoint: &'a Endpoint,
    wire: Wire,
    wanted: &'static str,
}

impl<'a> Talk<'a> {
    fn start(endpoint: &'a Endpoint, wanted: &'static str, settings: &[(u16, u32)]) -> Result<Self, Miss> {
        let mut wire = Wire::connect(endpoint).map_err(|error| Miss::new(wanted, error))?;
        wire.send(&preface(settings));
        let mut talk = Talk { endpoint, wire, wanted };
        talk.find(|frame| frame.kind == SETTINGS && frame.flags == 0)?;
        talk.wire.send(&frame(SETTINGS, 1, 0, b""));
        Ok(talk)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.wire.send(&frame(kind, flags, stream, payload))
    }

    /// Opens a stream with `POST /events`.
    fn open(&mut self, stream: u32, flags: u8, more: &[(&str, &str)]) -> bool {
        let fields = post_fields(self.endpoint, more);
        self.send(HEADERS, END_HEADERS | flags, stream, &fields)
    }

    fn miss(&self, seen: impl fmt::Display) -> Miss {
        Miss::new(self.wanted, seen)
    }

    /// The first frame that fits; the others before it are passed over.
    fn find(&mut self, fits: impl Fn(&Frame) -> bool) -> Result<Frame, Miss> {
        let until = Instant::now() + self.endpoint.patience;
        let mut last = String::from("nothing");
        loop {
            match read(&mut self.wire, until) {
                Ok(frame) if fits(&frame) => return Ok(frame),
                Ok(frame) => last = frame.to_string(),
                Err(none) => return Err(self.miss(format!("{none}; the last frame: {last}"))),
            }
        }
    }

    /// GOAWAY with one of these codes; an empty list takes any but NO_ERROR.
    fn goaway(&mut self, codes: &[u32]) -> Result<(), Miss> {
        let frame = self.find(|frame| frame.kind == GOAWAY)?;
        let code = frame.code().unwrap_or(0);
        let fits = if codes.is_empty() { code != 0 } else { codes.contains(&code) };
        if fits { Ok(()) } else { Err(self.miss(frame)) }
    }

    /// The stream is reset with this code.
    fn reset(&mut self, stream: u32, code: u32) -> Result<(), Miss> {
        let frame = self.find(|frame| frame.kind == GOAWAY || (frame.stream == stream && frame.kind == RST_STREAM))?;
        if frame.kind == RST_STREAM && frame.code() == Some(code) { Ok(()) } else { Err(self.miss(frame)) }
    }

    /// The status of the answer on this stream, if its HEADERS begin with one from the static table (RFC 7541, appendix A) or a
    /// literal; 0 for another beginning.
    fn status(&mut self, stream: u32) -> Result<u16, Miss> {
        let frame = self.find(|frame| frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM))?;
        match (frame.kind, frame.payload.as_slice()) {
            (HEADERS, [indexed @ 0x88..=0x8e, ..]) => {
                Ok([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)])
            }
            (HEADERS, payload) => Ok(literal_status(payload)),
            _ => Err(self.miss(frame)),
        }
    }
}

/// `:status` as a literal with its name from the static table; digits are plain or in Huffman code (RFC 7541, appendix B).
fn literal_status(payload: &[u8]) -> u16 {
    let [0x48 | 0x08 | 0x18, length, text @ ..] = payload else { return 0 };
    let Some(text) = text.get(..usize::from(length & 0x7f)) else { return 0 };
    if length & 0x80 == 0 {
        return std::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    }
    // At most eight bytes, the first bit of the code on the left.
    let mut left = text.iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    left = left.checked_shl(64 - 8 * u32::try_from(text.len().min(8)).unwrap_or(8)).unwrap_or(0);
    let mut status = 0u16;
    for _ in 0..3 {
        // 0, 1 and 2 have five bits from 0 on; 3 to 9 have six, from 0x19 on.
        let (five, six) = (left >> 59, left >> 58);
        let (digit, used) = if five < 3 { (five, 5) } else { (six.saturating_sub(0x19) + 3, 6) };
        status = status * 10 + u16::try_from(digit.min(9)).unwrap_or(0);
        left <<= used;
    }
    status
}

fn rapid_reset(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "GOAWAY with ENHANCE_YOUR_CALM", &[])?;
    let fields = post_fields(endpoint, &[]);
    let mut flood = Vec::new();
    for stream in (1..2000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &fields));
        flood.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    talk.wire.send(&flood);
    talk.goaway(&[ENHANCE_YOUR_CALM])
}

fn made_you_reset(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "GOAWAY with ENHANCE_YOUR_CALM", &[])?;
    let fields = post_fields(endpoint, &[]);
    let mut flood = Vec::new();
    for stream in (1..2000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &fields));
        // Above 2^31-1 the stream has to be reset (RFC 9113, section 6.9.1).
        flood.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffffu32.to_be_bytes()));
    }
    talk.wire.send(&flood);
    talk.goaway(&[ENHANCE_YOUR_CALM])
}

fn continuation_flood(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "GOAWAY with an error", &[])?;
    talk.send(HEADERS, 0, 1, &post_fields(endpoint, &[]));
    let field = super::frames::literal("x-flood", &"f".repeat(100));
    for _ in 0..20_000 {
        if !talk.send(CONTINUATION, 0, 1, &field) {
            break;
        }
    }
    talk.goaway(&[])
}

fn empty_data_flood(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "GOAWAY with an error", &[])?;
    talk.open(1, 0, &[]);
    let flood = frame(DATA, 0, 1, b"").repeat(1000);
    for _ in 0..200 {
        if !talk.wire.send(&flood) {
            break;
        }
    }
    talk.goaway(&[])
}

fn ping_flood(endpoint: &Endpoint) -> Result<(), Miss> {
    const FRAMES: usize = 10_000;
    let mut talk = Talk::start(endpoint, "an acknowledgement for each, or GOAWAY with an error", &[])?;
    let mut sender = talk.wire.sender().map_err(|error| talk.miss(error))?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pair = [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")].concat();
            for _ in 0..FRAMES / 2 {
                // A connection that ends too early shows on the reading side.
                let _ended = sender.write(&pair);
            }
        });
        let mut acknowledged = 0;
        while acknowledged < FRAMES {
            let acks =
                |frame: &Frame| frame.kind == GOAWAY || (frame.flags == 1 && matches!(frame.kind, PING | SETTINGS));
            let frame = talk.find(acks)?;
            match frame.code() {
                None => acknowledged += 1,
                Some(0) => return Err(talk.miss(frame)),
                Some(_) => return Ok(()),
            }
        }
        Ok(())
    })
}

fn large_header_list(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "431, or the stream is reset, or GOAWAY with an error", &[])?;
    for (size, stream) in [(60_000, 1), (1_000_000, 3)] {
        let fields = post_fields(endpoint, &[("x-large", &"x".repeat(size))]);
        let mut parts = fields.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { flags | END_STREAM } else { flags };
            talk.send(kind, flags, stream, part);
            kind = CONTINUATION;
        }
        let fits = |frame: &Frame| frame.kind == GOAWAY || frame.stream == stream;
        let first = talk.find(fits)?;
        match (first.kind, first.payload.as_slice()) {
            (GOAWAY | RST_STREAM, _) if first.code() != Some(0) => return Ok(()),
            (HEADERS, payload) if literal_status(payload) == 431 => {}
            _ => return Err(talk.miss(first)),
        }
    }
    Ok(())
}

fn window_overflow(endpoint: &Endpoint) -> Result<(), Miss> {
    let most = 0x7fff_ffffu32.to_be_bytes();
    let mut talk = Talk::start(endpoint, "the stream is reset with FLOW_CONTROL_ERROR", &[])?;
    talk.open(1, 0, &[]);
    talk.send(WINDOW_UPDATE, 0, 1, &most);
    talk.reset(1, FLOW_CONTROL_ERROR)?;
    let mut talk = Talk::start(endpoint, "GOAWAY with FLOW_CONTROL_ERROR", &[])?;
    talk.send(WINDOW_UPDATE, 0, 0, &most);
    talk.goaway(&[FLOW_CONTROL_ERROR])
}

fn data_on_closed_stream(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "STREAM_CLOSED", &[])?;
    talk.open(1, END_STREAM, &[]);
    talk.status(1)?;
    talk.send(DATA, 0, 1, b"more");
    let refused = talk.find(|frame| frame.code().is_some())?;
    if refused.code() == Some(STREAM_CLOSED) { Ok(()) } else { Err(talk.miss(refused)) }
}

fn wrong_length(endpoint: &Endpoint) -> Result<(), Miss> {
    let mut talk = Talk::start(endpoint, "the stream is reset with PROTOCOL_ERROR", &[])?;
    talk.open(1, 0, &[("content-length", "10")]);
    talk.send(DATA, END_STREAM, 1, b"{}");
    talk.reset(1, PROTOCOL_ERROR)?;
    talk.open(3, 0, &[("content-length", "2"), ("content-length", "3")]);
    talk.send(DATA, END_STREAM, 3, b"{}");
    talk.reset(3, PROTOCOL_ERROR)
}

fn closed_window(endpoint: &Endpoint) -> Result<(), Miss> {
    let wanted = "the stream is reset or the connection ends at the write deadline";
    let mut talk = Talk::start(endpoint, wanted, &[(INITIAL_WINDOW_SIZE, 0)])?;
    talk.open(1, 0, &[]);
    talk.send(DATA, END_STREAM, 1, b"{}");
    talk.status(1)?;
    let until = Instant::now() + endpoint.patience;
    loop {
        match read(&mut talk.wire, until) {
            Ok(frame) if matches!(frame.kind, RST_STREAM | GOAWAY) => return Ok(()),
            Ok(frame) if frame.kind == DATA && !frame.payload.is_empty() => return Err(talk.miss(frame)),
            Ok(_) => {}
            Err(NoAnswer::Closed) => return Ok(()),
            Err(none) => return Err(talk.miss(none)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_from_literals() {
        assert_eq!(literal_status(b"\x48\x03431"), 431);
        // 4 = 011010, 3 = 011001, 1 = 00001, then ones: 0x69 0x90 0xff cut to what a status has.
        assert_eq!(literal_status(&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111]), 431);
        assert_eq!(literal_status(&[0x48, 0x82, 0b0001_0000, 0b0000_0101]), 202);
    }
}
