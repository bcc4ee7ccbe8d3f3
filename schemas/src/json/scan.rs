//! An iterative scanner for JSON texts (RFC 8259): validates and finds places, builds nothing.
use crate::{AttributeFault, Word};
use std::{borrow::Cow, fmt, ops::Range};

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// The failure word: `malformed`, or `too_large` for too many events in a batch.
    pub word: Word,
    /// The byte offset of the fault, from 0, in the text that was scanned.
    pub offset: usize,
    /// What was found or expected there.
    pub what: Cow<'static, str>,
}

impl JsonFault {
    pub(crate) fn new(offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        JsonFault { word: Word::Malformed, offset, what: what.into() }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the JSON expected: {} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for JsonFault {}

impl From<JsonFault> for AttributeFault {
    fn from(fault: JsonFault) -> Self {
        AttributeFault::new(fault.word, fault.to_string())
    }
}

/// Whether `bytes` are one JSON text in UTF-8, nested at most `depth_max` deep (at most 64 whatever is asked; a scalar has
/// depth 0, `[]` depth 1). Duplicate member names and lone surrogate escapes are legal JSON and pass.
///
/// # Errors
/// The first fault with its byte offset.
pub fn is_valid_json(bytes: &[u8], depth_max: usize) -> Result<(), JsonFault> {
    let mut scanner = Scanner::new(bytes)?;
    scanner.skip_value(depth_max)?;
    scanner.end()
}

/// A position in a JSON text that is known to be UTF-8.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub(super) at: usize,
}

/// Containers that can be open at once: one bit each.
const STACK_BITS: usize = 64;

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, JsonFault> {
        let text =
            std::str::from_utf8(bytes).map_err(|e| JsonFault::new(e.valid_up_to(), "a byte that is not UTF-8"))?;
        Ok(Scanner { text, bytes, at: 0 })
    }

    /// The text at a place that this scanner gave out.
    pub(super) fn text(&self, place: &Range<usize>) -> &'a str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    /// Whether the value at a place that this scanner gave out begins so: that says of what kind it is.
    pub(super) fn begins(&self, place: &Range<usize>, byte: u8) -> bool {
        self.bytes.get(place.start) == Some(&byte)
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `wanted` if it comes next, after white space.
    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), JsonFault> {
        if self.take(wanted) { Ok(()) } else { Err(self.fault(what)) }
    }

    /// Only white space may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonFault> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault("the end of the text was expected")) }
    }

    pub(super) fn fault(&self, what: &'static str) -> JsonFault {
        if self.at >= self.bytes.len() {
            return JsonFault::new(self.bytes.len(), "the text ends too early");
        }
        JsonFault::new(self.at, what)
    }

    /// Passes one value of any kind without recursion; gives its place. `depth_max` counts from this value.
    pub(super) fn skip_value(&mut self, depth_max: usize) -> Result<Range<usize>, JsonFault> {
        self.skip_space();
        let start = self.at;
        if !matches!(self.peek(), Some(b'{' | b'[')) {
            self.skip_scalar()?;
            return Ok(start..self.at);
        }
        let depth_max = depth_max.min(STACK_BITS);
        // Bit 0 is the innermost container: 1 for an object, 0 for an array.
        let (mut objects, mut depth) = (0_u64, 0_usize);
        loop {
            self.skip_space();
            let open = match self.peek() {
                Some(kind @ (b'{' | b'[')) => {
                    if depth == depth_max {
                        return Err(JsonFault::new(self.at, format!("nested deeper than {depth_max} levels")));
                    }
                    self.at += 1;
                    objects = objects << 1 | u64::from(kind == b'{');
                    depth += 1;
                    true
                }
                _ => {
                    self.skip_scalar()?;
                    false
                }
            };
            // A container that was just opened may close at once; after a value come commas and ends.
            if open {
                let object = objects & 1 == 1;
                if !self.take(if object { b'}' } else { b']' }) {
                    if object {
                        self.skip_member_name()?;
                    }
                    continue;
                }
                objects >>= 1;
                depth -= 1;
            }
            if self.close(&mut objects, &mut depth)? {
                return Ok(start..self.at);
            }
        }
    }

    /// After a value: closes what ends here. `true` when nothing is open any more, `false` before the next value.
    fn close(&mut self, objects: &mut u64, depth: &mut usize) -> Result<bool, JsonFault> {
        while *depth > 0 {
            let object = *objects & 1 == 1;
            if self.take(b',') {
                if object {
                    self.skip_member_name()?;
                }
                return Ok(false);
            }
            self.expect(
                if object { b'}' } else { b']' },
                if object { "',' or '}' was expected" } else { "',' or ']' was expected" },
            )?;
            *objects >>= 1;
            *depth -= 1;
        }
        Ok(true)
    }

    fn skip_member_name(&mut self) -> Result<(), JsonFault> {
        self.string()?;
        self.expect(b':', "':' was expected")
    }

    fn skip_scalar(&mut self) -> Result<(), JsonFault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.skip_word("true"),
            Some(b'f') => self.skip_word("false"),
            Some(b'n') => self.skip_word("null"),
            _ => Err(self.fault("a value was expected")),
        }
    }

    fn skip_word(&mut self, word: &'static str) -> Result<(), JsonFault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(JsonFault::new(self.at, "a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), JsonFault> {
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fault("a digit was expected")) }
    }

    /// Passes a string; gives the place between its quotes, and whether it has escapes.
    pub(super) fn string(&mut self) -> Result<(Range<usize>, bool), JsonFault> {
        self.expect(b'"', "'\"' was expected")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((start..self.at - 1, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.skip_escape()?;
                }
                _ => return Err(self.fault("a control character in a string")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return Err(self.fault("four hex digits were expected"));
                    }
                }
                self.at += 1;
            }
            _ => return Err(self.fault("an escape that JSON does not have")),
        }
        Ok(())
    }
}

/// How many bytes of `bytes` are neither quote, backslash nor control character: strings are most of a payload. The first two
/// words alone, because most names and values end there; then in blocks, each compared as a whole (the compiler makes vector
/// instructions of that), then word by word, then byte by byte.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let (mut rest, mut at) = (bytes, 0);
    for _ in 0..2 {
        let Some((word, behind)) = rest.split_first_chunk() else { break };
        let len = plain_word(*word);
        if len < WORD {
            return at + len;
        }
        (rest, at) = (behind, at + WORD);
    }
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        if block.iter().fold(false, |found, b| found | (*b == b'"') | (*b == b'\\') | (*b < 0x20)) {
            break;
        }
        (rest, at) = (behind, at + BLOCK);
    }
    while let Some((word, behind)) = rest.split_first_chunk() {
        let len = plain_word(*word);
        if len < WORD {
            return at + len;
        }
        (rest, at) = (behind, at + WORD);
    }
    at + rest.iter().take_while(|b| **b != b'"' && **b != b'\\' && **b >= 0x20).count()
}

const WORD: usize = 8;

/// The same for one word: [`WORD`] if all of it is plain.
#[inline]
fn plain_word(word: [u8; WORD]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word);
    // A high bit is set in each byte that is zero after the XOR, or below 0x20. False hits stand only above true ones.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let hits = (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control) & HIGHS;
    // 64 when there is none.
    (hits.trailing_zeros() / 8) as usize
}

/// The text of a string between its quotes, with its escapes undone. `None` for a lone surrogate, which no text can hold.
pub(super) fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(place) = rest.find('\\') {
        text.push_str(&rest[..place]);
        let code = rest.as_bytes().get(place + 1)?;
        let mut used = place + 2;
        text.push(match code {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (unit, end) = (hex4(rest, used)?, used + 4);
                used = end;
                if (0xd800..0xdc00).contains(&unit) {
                    let low = rest[end..].starts_with("\\u").then(|| hex4(rest, end + 2))??;
                    used = end + 6;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + low)?
                } else {
                    char::from_u32(unit)?
                }
            }
            other => char::from(*other),
        });
        rest = &rest[used..];
    }
    text.push_str(rest);
    Some(text)
}

fn hex4(text: &str, at: usize) -> Option<u32> {
    u32::from_str_radix(text.get(at..at + 4)?, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_and_bad_texts() {
        for good in [
            "0",
            "-0",
            " -1.5e+3 ",
            "\"\"",
            "[]",
            "{}",
            "[1,[2,{}],{\"a\":[]}]",
            "\"\\ud800\"",
            "{\"a\":1,\"a\":2}",
            "null",
            "\"é\\n\"",
        ] {
            assert_eq!(is_valid_json(good.as_bytes(), 64), Ok(()), "{good}");
        }
        for (bad, at) in [
            ("", 0),
            ("  ", 2),
            ("{", 1),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("{a:1}", 1),
            ("01", 1),
            ("1.", 2),
            ("-", 1),
            ("+1", 0),
            ("1e", 2),
            ("nul", 0),
            ("tru e", 0),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("[1}", 2),
            ("1 2", 2),
            ("NaN", 0),
            ("[1", 2),
        ] {
            assert_eq!(is_valid_json(bad.as_bytes(), 64).unwrap_err().offset, at, "{bad}");
        }
        assert_eq!(is_valid_json(b"\"a\xff\"", 64).unwrap_err().offset, 2);
    }

    #[test]
    fn depth_is_counted_and_cannot_exhaust_the_stack() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(is_valid_json(nested(64).as_bytes(), 64).is_ok());
        assert_eq!(is_valid_json(nested(65).as_bytes(), 64).unwrap_err().offset, 64);
        assert!(is_valid_json(nested(65).as_bytes(), 1000).is_err(), "64 whatever is asked");
        assert_eq!(is_valid_json("[{\"a\":".repeat(1_000_000).as_bytes(), 64).unwrap_err().offset, 32 * 6);
        assert!(is_valid_json(b"7", 0).is_ok());
        assert!(is_valid_json(b"[]", 0).is_err());
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#"a\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00z"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té😀z");
        for lone in [r"\ud800", r"\ud800x", r"\ud800A", r"\udc00"] {
            assert_eq!(unescape(lone), None, "{lone}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde(text in "[\\[\\]{},:\"\\\\0-9eE.+a-u \\-\u{1}é]{0,24}") {
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_valid_json(text.as_bytes(), 64).is_ok(), serde);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let serde = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() && std::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(is_valid_json(&bytes, 64).is_ok(), serde);
        }

        #[test]
        fn runs_end_where_a_loop_says(bytes in proptest::collection::vec(prop_oneof![8 => 0x20u8..0x7f, 1 => any::<u8>()], 0..140)) {
            let slow = bytes.iter().take_while(|b| **b != b'"' && **b != b'\\' && **b >= 0x20).count();
            prop_assert_eq!(plain_run(&bytes), slow);
        }
    }
}
