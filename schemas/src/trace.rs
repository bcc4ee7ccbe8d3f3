//! W3C Trace Context: `traceparent` and `tracestate`, parsed strictly. An invalid header is ignored and a new trace starts.
use crate::{ByteStr, limits};
use std::fmt;

/// One place in a trace (W3C Trace Context level 1, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// 16 bytes, not all zero.
    pub trace_id: [u8; 16],
    /// 8 bytes, not all zero: the span that is the parent of what comes next.
    pub span_id: [u8; 8],
    /// The trace flags; bit 0 is *sampled*.
    pub flags: u8,
}

/// Bit 0 of the trace flags.
pub const SAMPLED: u8 = 1;

impl TraceContext {
    /// A new trace with ids from `random`. Zero ids are forbidden; a zero (one in 2^64) becomes one.
    pub fn from_random(random: [u8; 24], flags: u8) -> Self {
        let mut trace_id = [0; 16];
        let mut span_id = [0; 8];
        trace_id.copy_from_slice(&random[..16]);
        span_id.copy_from_slice(&random[16..]);
        if trace_id == [0; 16] {
            trace_id[15] = 1;
        }
        if span_id == [0; 8] {
            span_id[7] = 1;
        }
        TraceContext { trace_id, span_id, flags }
    }

    /// Reads a `traceparent` (section 3.2.2). Version `00` must be exactly 55 characters; a later version may be longer
    /// after a dash, and is read by the rules of `00` (section 4.3). `ff` is invalid. Hex digits are lower case only.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 55 || bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return None;
        }
        let version = hex::<1>(&bytes[..2])?[0];
        if version == 0xff || (version == 0 && bytes.len() != 55) || (bytes.len() > 55 && bytes[55] != b'-') {
            return None;
        }
        let trace_id = hex::<16>(&bytes[3..35])?;
        let span_id = hex::<8>(&bytes[36..52])?;
        let flags = hex::<1>(&bytes[53..55])?[0];
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(TraceContext { trace_id, span_id, flags })
    }

    /// As a `traceparent` of version 00, in a buffer of its own.
    pub fn header(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut text[3..35], &self.trace_id);
        put_hex(&mut text[36..52], &self.span_id);
        text[HEADER_LEN - 1] += self.flags & SAMPLED;
        Traceparent(text)
    }

    /// A span below this one. The same `seed` gives the same span id, so that who writes the header and who reports the span
    /// agree without a word between them; other seeds give other ids, as random ones would.
    #[must_use]
    pub fn child(&self, seed: u64) -> Self {
        let mixed = mix(u64::from_be_bytes(self.span_id) ^ mix(seed));
        TraceContext { span_id: mixed.max(1).to_be_bytes(), ..*self }
    }

    /// Whether the sender asks for this trace to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace id as 32 lower-case hex digits.
    pub fn trace_id_hex(&self) -> String {
        to_hex(&self.trace_id)
    }

    /// The same as a text that can be shared.
    pub fn trace_id_text(&self) -> ByteStr {
        self.header().as_str().get(3..35).unwrap_or_default().into()
    }

    /// The span id as 16 lower-case hex digits.
    pub fn span_id_hex(&self) -> String {
        to_hex(&self.span_id)
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.header().as_str())
    }
}

/// The text of a `traceparent`, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Traceparent([u8; HEADER_LEN]);

/// Characters of a `traceparent` of version 00.
const HEADER_LEN: usize = 55;

impl Traceparent {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// SplitMix64's finaliser: every bit of the result depends on every bit of the argument.
fn mix(bits: u64) -> u64 {
    let mixed = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Whether a `tracestate` may be passed on (section 3.3): at most 32 members `key=value` with legal keys and values,
/// no key twice, at most [`limits::TRACESTATE_MAX`] bytes. Empty members are allowed. An invalid one is dropped.
pub fn is_valid_tracestate(text: &str) -> bool {
    if text.len() > limits::TRACESTATE_MAX {
        return false;
    }
    let mut keys: Vec<&str> = Vec::new();
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == 32 {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let tail = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(&b));
    let lower = |part: &str| part.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    match key.split_once('@') {
        None => key.len() <= 256 && lower(key) && tail(key),
        Some((tenant, system)) => {
            let starts = tenant.as_bytes().first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            starts && tenant.len() <= 241 && tail(tenant) && system.len() <= 14 && lower(system) && tail(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && !value.ends_with(' ')
        && value.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=')
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Writes `bytes` as lower-case hex digits; `text` has two places for each.
fn put_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    put_hex(&mut text, bytes);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_table() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        assert!(TraceContext::parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
    }

    #[test]
    fn children_are_stable_and_distinct() {
        let parent = TraceContext::parse(GOOD).unwrap();
        let child = parent.child(7);
        // A record written by one version must name the span that another version reports: this id never changes.
        assert_eq!(child.span_id_hex(), "172c2ae348df1bf9");
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        let ids: std::collections::HashSet<_> = (0..10_000).map(|seed| parent.child(seed).span_id).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(!ids.contains(&parent.span_id) && !ids.contains(&[0; 8]));
    }

    #[test]
    fn tracestate_table() {
        for good in ["a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1, b=2", "1a@sys=x", "a=1,,b=2"] {
            assert!(is_valid_tracestate(good), "{good}");
        }
        for bad in ["", "a", "A=1", "a=", "a=1,a=2", "a=b=c", "1a=1", "a= ", &format!("a={}", "x".repeat(300))] {
            assert!(!is_valid_tracestate(bad), "{bad}");
        }
    }
}
