//! The protocol bindings of CloudEvents 1.0.2: attributes to and from each protocol's own metadata.
//!
//! Each module reads a message's metadata into a [`Found`], and writes an event's attributes through a visitor, so that no
//! list of headers is built on the way. Values in, values out: sockets and clients are the transports' and backends'.
pub mod http;
pub mod kafka;
pub mod mqtt;

use crate::{AttributeFault, Attributes, ByteStr, Kind, Mode, Word};

/// What a binding found in a message's metadata.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All attributes, in binary mode with `datacontenttype`; none when the message is not one in binary mode.
    pub attributes: Attributes,
    /// The payload's content type, as sent.
    pub content_type: Option<ByteStr>,
    /// [`Mode::Binary`] or [`Mode::ByContentType`].
    pub mode: Mode,
}

/// Whether a content type is one of the CloudEvents event formats, which means structured or batched mode.
pub fn is_event_format(content_type: &str) -> bool {
    const PREFIX: &[u8] = b"application/cloudevents";
    content_type.trim_start().as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Sets an attribute that must not come twice.
fn set_once(attributes: &mut Attributes, name: &str, value: &str) -> Result<(), AttributeFault> {
    let twice = if name == "specversion" { attributes.is_event() } else { attributes.get(name).is_some() };
    if twice {
        return Err(AttributeFault::new(Word::Malformed, format!("the attribute {name:?} comes twice")));
    }
    attributes.set_from_sender(name, value, Kind::String)
}

/// Ends the reading: in binary mode the content type becomes `datacontenttype`, else the attributes are dropped.
fn finish(mut attributes: Attributes, content_type: Option<ByteStr>) -> Result<Found, AttributeFault> {
    if !attributes.is_event() {
        return Ok(Found { attributes: Attributes::default(), content_type, mode: Mode::ByContentType });
    }
    if let Some(content_type) = &content_type {
        // The bindings forbid a second home of this attribute; one that says the same harms nobody.
        if attributes.get("datacontenttype").is_some_and(|own| own != content_type.as_str()) {
            let detail = "the attribute \"datacontenttype\" is not the message's content type";
            return Err(AttributeFault::new(Word::Malformed, detail));
        }
        if attributes.get("datacontenttype").is_none() {
            attributes.set_from_sender("datacontenttype", content_type, Kind::String)?;
        }
    }
    Ok(Found { attributes, content_type, mode: Mode::Binary })
}
