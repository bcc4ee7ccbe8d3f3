//! Single lines of a head: pure functions, each strict where leniency has let requests be smuggled.
use super::Fault;
use http::Uri;

/// RFC 9110, section 5.6.2: the characters of a token.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
/// The characters of a path and query that are taken. RFC 3986 allows less: what careless clients send and nobody reads in two
/// ways stays.
const PATH: [bool; 256] =
    table(b"!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_abcdefghijklmnopqrstuvwxyz{|}~");

const fn table(members: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < members.len() {
        table[members[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether a byte may stand in a token.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// What the request line says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    /// HTTP/1.1; else 1.0.
    pub(super) is_11: bool,
    /// The method is HEAD: its answer has no body.
    pub(super) is_head: bool,
}

/// Reads a request line, without its line end.
pub(super) fn request_line(line: &[u8], target_max: usize) -> Result<RequestLine, Fault> {
    let method_len = token_len(line);
    if method_len == 0 || line.get(method_len).is_some_and(|byte| *byte != b' ') {
        return Err(Fault::Method);
    }
    let rest = line.get(method_len + 1..).ok_or(Fault::RequestLine)?;
    let target_len = rest.iter().take_while(|byte| PATH[usize::from(**byte)]).count();
    let (target, rest) = rest.split_at(target_len);
    if target.len() > target_max {
        return Err(Fault::TargetTooLong);
    }
    let Some((b' ', version)) = rest.split_first() else {
        return Err(if rest.is_empty() { Fault::RequestLine } else { Fault::Target });
    };
    let is_11 = version_of(version)?;
    let method = &line[..method_len];
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    if target.first() != Some(&b'/') && target != b"*" {
        check_absolute(target)?;
    }
    Ok(RequestLine { is_11, is_head: method == b"HEAD" })
}

/// RFC 9112, section 2.3. Returns whether it is 1.1.
fn version_of(version: &[u8]) -> Result<bool, Fault> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Fault::Version)
        }
        _ => Err(Fault::RequestLine),
    }
}

/// RFC 9112, section 3.2.2. Whether it names the same place as Host is looked at later, with all headers.
fn check_absolute(target: &[u8]) -> Result<(), Fault> {
    let parsed = Uri::try_from(target).map_err(|_| Fault::Target)?;
    if parsed.scheme().is_some() && parsed.authority().is_some() { Ok(()) } else { Err(Fault::Target) }
}

/// A header line, without its line end, as name and value without the space around it.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let name_len = token_len(line);
    if line.get(name_len) != Some(&b':') || name_len == 0 {
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        return Err(if folded { Fault::Folded } else { Fault::FieldName });
    }
    let value = &line[name_len + 1..];
    if has_control(value) {
        return Err(Fault::FieldValue);
    }
    Ok((&line[..name_len], value))
}

fn token_len(line: &[u8]) -> usize {
    line.iter().take_while(|byte| is_token(**byte)).count()
}

/// Whether a control character other than the tab is among the bytes: eight at a time, and one by one only where a byte that low
/// was seen.
fn has_control(bytes: &[u8]) -> bool {
    let (eights, rest) = bytes.as_chunks::<8>();
    let suspicious = eights.iter().any(|eight| {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        let word = u64::from_le_bytes(*eight);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let against_del = word ^ (ONES * 0x7f);
        let is_del = against_del.wrapping_sub(ONES) & !against_del;
        (below_space | is_del) & HIGHS != 0
    });
    let is_control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
    if suspicious { bytes.iter().any(is_control) } else { rest.iter().any(is_control) }
}

/// RFC 9110, section 8.6: digits only, below what a length can be. Space before the number is taken, space behind it is not.
pub(super) fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let digits = value.trim_ascii_start();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ContentLength);
    }
    let mut length = 0u64;
    for digit in digits {
        let ten_times = length.checked_mul(10).ok_or(Fault::ContentLength)?;
        length = ten_times.checked_add(u64::from(digit - b'0')).ok_or(Fault::ContentLength)?;
    }
    // The server behind keeps the two largest numbers for itself.
    if length > u64::MAX >> 1 { Err(Fault::ContentLength) } else { Ok(length) }
}

/// RFC 9112, sections 6.1 and 7: `chunked`, once and nothing else.
pub(super) fn transfer_encoding(value: &[u8]) -> Result<(), Fault> {
    let value = value.trim_ascii();
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_some_and(is_chunked) {
        return Err(Fault::TransferEncoding);
    }
    let known_elsewhere = |coding: &[u8]| !coding.is_empty() && coding.iter().all(|byte| is_token(*byte));
    // Chunked twice, or an empty coding, is broken; another coding is only not taken.
    let broken = codings.any(|coding| is_chunked(coding) || !known_elsewhere(coding));
    Err(if broken { Fault::TransferEncoding } else { Fault::UnknownCoding })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        for line in ["POST /events HTTP/1.1", "GET / HTTP/1.0", "OPTIONS * HTTP/1.1", "M-SEARCH http://x/a?b HTTP/1.1"]
        {
            assert!(request_line(line.as_bytes(), 100).is_ok(), "{line}");
        }
        for (line, fault) in [
            ("", Fault::Method),
            (" POST / HTTP/1.1", Fault::Method),
            ("PO\u{1}ST / HTTP/1.1", Fault::Method),
            ("POST", Fault::RequestLine),
            ("POST /", Fault::RequestLine),
            ("POST  / HTTP/1.1", Fault::RequestLine),
            ("POST /  HTTP/1.1", Fault::RequestLine),
            ("POST / HTTP/1.1 ", Fault::RequestLine),
            ("POST / http/1.1", Fault::RequestLine),
            ("POST / HTTP/11", Fault::RequestLine),
            ("POST / HTTP/2.0", Fault::Version),
            ("POST / HTTP/1.2", Fault::Version),
            ("POST /\u{e9} HTTP/1.1", Fault::Target),
            ("POST /a#b HTTP/1.1", Fault::Target),
            ("POST events HTTP/1.1", Fault::Target),
            ("POST x:1 HTTP/1.1", Fault::Target),
            ("CONNECT x:1 HTTP/1.1", Fault::Connect),
            ("GET /123456789012345678901 HTTP/1.1", Fault::TargetTooLong),
        ] {
            assert_eq!(request_line(line.as_bytes(), 21), Err(fault), "{line:?}");
        }
    }

    #[test]
    fn fields() {
        assert_eq!(field(b"Host: x").unwrap(), (b"Host".as_slice(), b" x".as_slice()));
        assert_eq!(field(b"a:").unwrap(), (b"a".as_slice(), b"".as_slice()));
        assert!(field(b"x: \t\x80\xff tab and obs-text are fine").is_ok());
        for (line, fault) in [
            (b"no colon".as_slice(), Fault::FieldName),
            (b": x", Fault::FieldName),
            (b"Host : x", Fault::FieldName),
            (b"H\x00: x", Fault::FieldName),
            (b" folded: x", Fault::Folded),
            (b"\tfolded", Fault::Folded),
        ] {
            assert_eq!(field(line), Err(fault), "{line:?}");
        }
    }

    #[test]
    fn a_control_character_is_found_wherever_it_stands() {
        for length in 0..40 {
            let mut value = vec![b'v'; length];
            assert!(!has_control(&value));
            for at in 0..length {
                for byte in 0..=255u8 {
                    value[at] = byte;
                    let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                    assert_eq!(has_control(&value), control, "{byte} at {at} of {length}");
                }
                value[at] = b'v';
            }
        }
    }

    #[test]
    fn lengths_and_codings() {
        assert_eq!(content_length(b" 0010").unwrap(), 10);
        for wrong in ["", " ", "+3", "-1", "0x3", "3 ", "3,3", "3.0", "18446744073709551616", "18446744073709551615"] {
            assert_eq!(content_length(wrong.as_bytes()), Err(Fault::ContentLength), "{wrong:?}");
        }
        assert!(transfer_encoding(b" Chunked\t").is_ok());
        for wrong in
            ["", "xchunked", "chunked, identity", "chunked;q=1", "chunked, chunked", ", chunked", "gzip", "\"chunked\""]
        {
            assert_eq!(transfer_encoding(wrong.as_bytes()), Err(Fault::TransferEncoding), "{wrong:?}");
        }
        assert_eq!(transfer_encoding(b"gzip, chunked"), Err(Fault::UnknownCoding));
    }
}
