//! The HTTP protocol binding 1.0.2, binary mode: headers `ce-…` to and from attributes.
//!
//! Reading follows section 3.1.3.2: a value in double quotes is unquoted, then one round of percent-decoding. Accepted as they
//! are, because the JavaScript SDK (10.0) does not encode what it sends: a `%` without two hex digits, spaces, and bytes
//! above 0x7F that are UTF-8. Bytes that are not UTF-8, sent so or percent-encoded, are `malformed`.
//!
//! A message is in binary mode when it has `ce-specversion`, whatever its content type says. Without it `ce-…` headers mean
//! nothing, but a faulty or reserved one is refused all the same: the sender meant something by it.
use super::{Found, finish, set_once};
use crate::{AttributeFault, Attributes, ByteStr, Door, Envelope, Word};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use std::borrow::Cow;

/// What must be percent-encoded (section 3.1.3.2), besides all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
const PREFIX: &[u8] = b"ce-";

/// Reads the headers of a message in one pass; those that are not of this binding go to `other`, `content-type` goes to
/// both. Header names may have any case.
///
/// # Errors
/// `malformed` naming the header, `reserved_attribute`, `too_large`.
pub fn read<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    mut other: impl FnMut(&'a str, &'a [u8]),
) -> Result<Found, AttributeFault> {
    let mut attributes = Attributes::default();
    let mut content_type = None;
    for (name, value) in headers {
        if read_header(&mut attributes, name, value)? {
            continue;
        }
        if name.eq_ignore_ascii_case("content-type") {
            let text = std::str::from_utf8(value).map_err(|_| malformed(name, "is not UTF-8"))?.trim();
            if content_type.replace(ByteStr::from(text)).is_some() {
                return Err(malformed(name, "comes twice"));
            }
        }
        other(name, value);
    }
    finish(attributes, content_type.filter(|text: &ByteStr| !text.is_empty()))
}

/// Takes one header if it begins with `ce-`; says whether it did.
///
/// # Errors
/// As [`read`].
pub fn read_header(attributes: &mut Attributes, name: &str, value: &[u8]) -> Result<bool, AttributeFault> {
    let Some((start, _)) = name.as_bytes().split_at_checked(PREFIX.len()) else { return Ok(false) };
    if !start.eq_ignore_ascii_case(PREFIX) {
        return Ok(false);
    }
    let text = decode_value(value).ok_or_else(|| malformed(name, "is not UTF-8"))?;
    let attribute = &name[PREFIX.len()..];
    if attribute.bytes().any(|b| b.is_ascii_uppercase()) {
        set_once(attributes, &attribute.to_ascii_lowercase(), &text)?;
    } else {
        set_once(attributes, attribute, &text)?;
    }
    Ok(true)
}

/// A header value's text. `None` when it is not UTF-8.
pub fn decode_value(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = value.trim_ascii();
    let unquoted = unquote(value);
    if !unquoted.contains(&b'%') {
        return match unquoted {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
    }
    percent_decode(&unquoted).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

/// Undoes a quoted string (RFC 9110, section 5.6.4) if the whole value is one. A stray quote stands for itself.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"") else { return Cow::Borrowed(value) };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Cow::Owned(text),
            b'"' => break,
            b'\\' => text.extend(bytes.next()),
            other => text.push(*other),
        }
    }
    Cow::Borrowed(value)
}

/// A value as it goes into a header.
pub fn encode_value(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Gives the headers of an event in binary mode to `visit`: `content-type` when the event has `datacontenttype`, and one
/// `ce-…` per attribute, with the `anygate…` attributes when a `door` is given. The body is [`Envelope::data`].
pub fn write(envelope: &Envelope, door: Option<&Door>, mut visit: impl FnMut(&str, &str)) {
    let mut name = String::from("ce-");
    let mut put = |attribute: &str, value: &str| {
        if attribute == "datacontenttype" {
            return visit("content-type", value);
        }
        name.truncate(PREFIX.len());
        name.push_str(attribute);
        visit(&name, &encode_value(value));
    };
    put("specversion", "1.0");
    for (attribute, value) in envelope.attributes() {
        put(attribute, value.text);
    }
    for (attribute, value) in door.into_iter().flat_map(Door::attributes) {
        put(attribute, value.text);
    }
}

fn malformed(header: &str, what: &str) -> AttributeFault {
    let shown: String = header.chars().take(80).collect();
    AttributeFault::new(Word::Malformed, format!("the header {shown:?} {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Kind, Mode};
    use bytes::Bytes;
    use proptest::prelude::*;

    const BASE: [(&str, &[u8]); 4] =
        [("ce-specversion", b"1.0"), ("CE-ID", b"1"), ("ce-source", b"/s"), ("Ce-Type", b"t")];

    fn read_all(extra: &[(&'static str, &'static [u8])]) -> Result<Found, AttributeFault> {
        read(BASE.into_iter().chain(extra.iter().copied()), |_, _| {})
    }

    fn value_of(value: &'static [u8]) -> Option<String> {
        read_all(&[("ce-x", value)]).ok()?.attributes.get("x").map(str::to_owned)
    }

    #[test]
    fn values() {
        for (value, text) in [
            (&b"Euro%20%E2%82%AC%20%F0%9F%98%80"[..], "Euro € 😀"),
            (b"%e2%82%ac", "€"),
            (b"%41", "A"),
            (b"\"a \\\"b\\\\ c\"", "a \"b\\ c"),
            (b"\"a%20b\"", "a b"),
            (b"say \"hi\"", "say \"hi\""),
            (b"\"open", "\"open"),
            (b"\"a\" b\"", "\"a\" b\""),
            (b"%2541", "%41"),
        ] {
            assert_eq!(value_of(value).as_deref(), Some(text), "{}", value.escape_ascii());
        }
        for bad in [&b"%C0%A0"[..], b"%FF", b"\xe9", b"%0A", b"a\x01"] {
            assert_eq!(value_of(bad), None, "{}", bad.escape_ascii());
        }
        let fault = read_all(&[("ce-x", b"%C0%A0")]).unwrap_err();
        assert_eq!(fault.word, Word::Malformed);
        assert!(fault.detail.contains("ce-x"), "{fault}");
    }

    #[test]
    fn unescaped_values_of_the_javascript_sdk_are_taken_as_they_are() {
        assert_eq!(value_of("é%".as_bytes()).as_deref(), Some("é%"));
        assert_eq!(value_of("50 % off, 100%z".as_bytes()).as_deref(), Some("50 % off, 100%z"));
    }

    #[test]
    fn binary_mode_and_what_is_not() {
        let found = read_all(&[("content-type", b"application/cloudevents+json")]).unwrap();
        assert_eq!(found.mode, Mode::Binary);
        assert_eq!(found.attributes.get("datacontenttype"), Some("application/cloudevents+json"));
        let mut others = Vec::new();
        let headers: [(&str, &[u8]); 3] = [("ce-id", b"1"), ("Content-Type", b"text/plain"), ("traceparent", b"x")];
        let bare = read(headers, |name, _| others.push(name)).unwrap();
        assert_eq!((bare.mode, bare.attributes.is_empty()), (Mode::ByContentType, true));
        assert_eq!(bare.content_type.unwrap().as_str(), "text/plain");
        assert_eq!(others, ["Content-Type", "traceparent"]);
    }

    #[test]
    fn refusals() {
        for (header, word) in [
            (("ce-id", &b"2"[..]), Word::Malformed),
            (("ce-specversion", b"1.0"), Word::Malformed),
            (("ce-specversion", b"0.3"), Word::Malformed),
            (("ce-my-name", b"x"), Word::Malformed),
            (("ce-data", b"x"), Word::Malformed),
            (("ce-anygatetenant", b"acme"), Word::ReservedAttribute),
            (("CE-AnygateTenant", b"acme"), Word::ReservedAttribute),
        ] {
            assert_eq!(read_all(&[header]).unwrap_err().word, word, "{header:?}");
        }
        let other = read_all(&[("content-type", b"text/plain"), ("ce-datacontenttype", b"text/xml")]);
        assert_eq!(other.unwrap_err().word, Word::Malformed);
        assert!(read_all(&[("content-type", b"text/plain"), ("ce-datacontenttype", b"text/plain")]).is_ok());
        assert!(read_all(&[("content-type", b"a/b"), ("content-type", b"a/b")]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in "[^\\p{C}]{1,20}", content_type in "[a-z]{1,5}/[a-z]{1,5}") {
            let mut attributes = read_all(&[]).unwrap().attributes;
            attributes.set("subject", &value, Kind::String).unwrap();
            attributes.set("datacontenttype", &content_type, Kind::String).unwrap();
            let envelope = attributes.freeze(Bytes::new()).unwrap();
            let mut headers = Vec::new();
            write(&envelope, None, |name, value| headers.push((name.to_owned(), value.to_owned())));
            prop_assert!(headers.iter().all(|(_, value)| value.bytes().all(|b| (0x21..0x7f).contains(&b))));
            let again = read(headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())), |_, _| {}).unwrap();
            prop_assert_eq!(again.attributes.freeze(Bytes::new()).unwrap(), envelope);
        }

        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = decode_value(&value);
        }
    }
}
