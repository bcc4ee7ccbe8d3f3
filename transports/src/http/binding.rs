//! The CloudEvents HTTP binding, binary mode: `ce-` headers as attributes.
use http::{HeaderMap, header};
use percent_encoding::percent_decode;
use schemas::{AttributeFault, Attributes, Kind, Word};
use std::borrow::Cow;

/// The attributes of a request in binary mode (CloudEvents HTTP binding 1.0.2, section 3.1).
///
/// # Errors
/// `malformed`, `reserved_attribute`, `too_large`, as [`Attributes::set_from_sender`], or for a value that is not UTF-8.
pub(super) fn attributes(headers: &HeaderMap) -> Result<Attributes, AttributeFault> {
    let mut attributes = Attributes::with_capacity(256);
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        if attributes.get(name).is_some() {
            return Err(AttributeFault::new(Word::Malformed, format!("the attribute {name:?} came twice")));
        }
        let unquoted = unquote(value.as_bytes());
        let value = percent_decode(&unquoted).decode_utf8();
        let value = value.map_err(|_| AttributeFault::new(Word::Malformed, format!("the attribute {name:?} is not UTF-8")))?;
        attributes.set_from_sender(name, &value, Kind::String)?;
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        attributes.set("datacontenttype", content_type, Kind::String)?;
    }
    Ok(attributes)
}

/// Section 3.1.3.2: a value in double quotes is unescaped first.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) else { return Cow::Borrowed(value) };
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    Cow::Owned(plain)
}
