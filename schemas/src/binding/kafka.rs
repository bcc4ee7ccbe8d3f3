//! The Kafka protocol binding: record headers `ce_…`, UTF-8 and not percent-encoded, to and from attributes.
//!
//! Binary mode: the value is the data, `content-type` the `datacontenttype`, one `ce_…` header per attribute, the `anygate…`
//! attributes of the door among them (`ce_anygateenvelope` carries the envelope's version). `ce_traceparent` stays the
//! event's own; the plain headers `traceparent` and `tracestate` are the hop's, given by the caller.
//! Structured mode: the value is the JSON event format, the headers are `content-type` and the hop's trace.
use super::{Found, finish, is_event_format, set_once};
use crate::{AttributeFault, Attributes, ByteStr, Event, TraceContext, Value, Word, json, trace::SAMPLED};

/// Prefix of the header of an attribute.
pub const PREFIX: &str = "ce_";

/// Headers of the most common attributes, so that no name is put together for them.
const KNOWN: [(&str, &str); 17] = [
    ("id", "ce_id"),
    ("source", "ce_source"),
    ("type", "ce_type"),
    ("time", "ce_time"),
    ("subject", "ce_subject"),
    ("dataschema", "ce_dataschema"),
    ("traceparent", "ce_traceparent"),
    ("tracestate", "ce_tracestate"),
    ("partitionkey", "ce_partitionkey"),
    ("recordedtime", "ce_recordedtime"),
    ("expirytime", "ce_expirytime"),
    ("sequence", "ce_sequence"),
    ("anygateprincipal", "ce_anygateprincipal"),
    ("anygatetenant", "ce_anygatetenant"),
    ("anygatelistener", "ce_anygatelistener"),
    ("anygatesubject", "ce_anygatesubject"),
    ("anygateenvelope", "ce_anygateenvelope"),
];

/// The hop's own place in its trace: what goes into the native headers of one record.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The span of this delivery.
    pub trace: TraceContext,
    /// The `tracestate` to pass on; empty for none.
    pub tracestate: &'a str,
}

/// The key of a record: `partitionkey`, else `subject`, else `source`, unless the backend's `key:` says otherwise.
pub fn key(event: &Event) -> &[u8] {
    event.key.as_bytes()
}

/// The value in binary mode: the data. An event without data has none (section 3.2.2), which a compacted topic takes as a
/// tombstone.
pub fn value(event: &Event) -> Option<&[u8]> {
    let data = event.envelope.data();
    if data.is_empty() { None } else { Some(data) }
}

/// Gives the headers of a record in binary mode to `visit`. Allocates only for the names of extensions that are not common.
pub fn write(event: &Event, hop: Option<&Hop<'_>>, mut visit: impl FnMut(&str, &[u8])) {
    let mut name = String::new();
    visit("ce_specversion", b"1.0");
    let door = event.door.attributes().map(|(name, value)| -> (&str, Value<'_>) { (name, value) });
    for (attribute, value) in event.envelope.attributes().chain(door) {
        if attribute == "datacontenttype" {
            visit("content-type", value.text.as_bytes());
        } else if let Some((_, header)) = KNOWN.iter().find(|(known, _)| *known == attribute) {
            visit(header, value.text.as_bytes());
        } else {
            name.clear();
            name.push_str(PREFIX);
            name.push_str(attribute);
            visit(&name, value.text.as_bytes());
        }
    }
    write_hop(hop, &mut visit);
}

/// Gives the headers of a record in structured mode to `visit`; the value is [`write_structured_value`]'s.
pub fn write_structured(hop: Option<&Hop<'_>>, mut visit: impl FnMut(&str, &[u8])) {
    visit("content-type", json::EVENT_TYPE.as_bytes());
    write_hop(hop, &mut visit);
}

/// Appends the value in structured mode: the event in the JSON event format with its `anygate…` attributes.
pub fn write_structured_value(out: &mut Vec<u8>, event: &Event) {
    json::write_event(out, &event.envelope, Some(&event.door));
}

fn write_hop(hop: Option<&Hop<'_>>, visit: &mut impl FnMut(&str, &[u8])) {
    if let Some(hop) = hop {
        visit("traceparent", &traceparent(&hop.trace));
        if !hop.tracestate.is_empty() {
            visit("tracestate", hop.tracestate.as_bytes());
        }
    }
}

/// As [`TraceContext`] displays itself, without an allocation: this is done for every record.
fn traceparent(trace: &TraceContext) -> [u8; 55] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let flags = [trace.flags & SAMPLED];
    for (start, bytes) in [(3, &trace.trace_id[..]), (36, &trace.span_id[..]), (53, &flags[..])] {
        for (pair, byte) in text[start..].chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
    }
    text
}

/// Reads the headers of a record; those that are not of this binding go to `other`. A content type of an event format says
/// structured mode, where `ce_…` headers mean nothing.
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
        let text = || {
            std::str::from_utf8(value)
                .map_err(|_| AttributeFault::new(Word::Malformed, format!("the header {name:?} is not UTF-8")))
        };
        if let Some(attribute) = name.strip_prefix(PREFIX) {
            set_once(&mut attributes, attribute, text()?)?;
        } else if name.eq_ignore_ascii_case("content-type") {
            content_type = Some(ByteStr::from(text()?));
        } else {
            other(name, value);
        }
    }
    if content_type.as_deref().is_some_and(is_event_format) {
        attributes = Attributes::default();
    }
    finish(attributes, content_type)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn the_traceparent_is_the_one_that_trace_context_displays() {
        let trace = TraceContext::from_random(std::array::from_fn(|n| u8::try_from(n * 10).unwrap()), 0xff);
        assert_eq!(traceparent(&trace), trace.to_string().as_bytes());
    }

    #[test]
    fn known_names_are_the_prefix_and_the_name() {
        for (name, header) in KNOWN {
            assert_eq!(header, [PREFIX, name].concat());
        }
    }

    #[test]
    fn reading_tells_the_modes_apart_and_refuses() {
        let event: [(&str, &[u8]); 4] =
            [("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"t"), ("ce_specversion", b"1.0")];
        let found = read(event, |_, _| {}).unwrap();
        assert_eq!((found.mode, found.attributes.get("id")), (Mode::Binary, Some("1")));
        let percent = read(event.into_iter().chain([("ce_x", &b"%41"[..])]), |_, _| {}).unwrap();
        assert_eq!(percent.attributes.get("x"), Some("%41"), "no percent-decoding here");
        let structured = event.into_iter().chain([("content-type", &b"application/CloudEvents+json"[..])]);
        let structured = read(structured, |_, _| {}).unwrap();
        assert_eq!((structured.mode, structured.attributes.is_empty()), (Mode::ByContentType, true));
        for (extra, word) in [
            (("ce_id", &b"2"[..]), Word::Malformed),
            (("ce_x", b"\xff"), Word::Malformed),
            (("ce_X", b"x"), Word::Malformed),
            (("ce_anygatetenant", b"acme"), Word::ReservedAttribute),
        ] {
            assert_eq!(read(event.into_iter().chain([extra]), |_, _| {}).unwrap_err().word, word, "{extra:?}");
        }
    }
}
