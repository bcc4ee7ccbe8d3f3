//! Writing records. Every string is written by its length where its section stands, and once more, as bytes, in `text`.
use super::{
    DETAIL_BYTES_MAX, DoorLetter, HEADER_LEN, MIN_READER, RecordKind, TEXT_BYTES_MAX, VERSION, cursor::put_varint, tag,
};
use crate::{
    AckLevel, Death, Door, Envelope, Event, Headers, Mode, TraceContext,
    envelope::{CORE_NAMES, ENVELOPE_VERSION, Extensions},
    text::Span,
};
use bytes::BufMut;
use std::time::{Duration, SystemTime};

/// An envelope's or a letter's text, and its attributes as places in it.
type Spans<'a> = (&'a str, &'a [Span; CORE_NAMES.len()], &'a Extensions);

/// An event to be written, borrowed from wherever its parts are: what [`Event`] owns.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The lanes it goes to: bit n = lane n.
    pub lanes: u64,
    /// The event.
    pub envelope: &'a Envelope,
    /// The door it came through.
    pub door: &'a Door,
    /// Headers kept by allow-list.
    pub headers: &'a Headers,
    /// When its message was received.
    pub received: SystemTime,
    /// The gateway's own span of this message.
    pub trace: TraceContext,
    /// The name of the first route that matched; empty for none.
    pub route: &'a str,
    /// The ack level of its path.
    pub level: AckLevel,
    /// The order key; `None`: as [`crate::event::order_key`] finds it.
    pub key: Option<&'a str>,
    /// What a resend of the event is known by.
    pub id: Option<&'a [u8; 16]>,
    /// Set when it is a dead letter.
    pub death: Option<&'a Death>,
}

/// Appends all of an event's record but the data itself, which must follow as it is (`event.envelope.data()`).
pub fn encode_head(out: &mut Vec<u8>, event: &Event) {
    encode_head_with_id(out, event, None);
}

/// The same, with what a resend of the event is known by ([`super::id_of`] finds it again).
pub fn encode_head_with_id(out: &mut Vec<u8>, event: &Event, id: Option<&[u8; 16]>) {
    let Event { lsn: _, lanes, envelope, door, headers, received, trace, route, level, key, death } = event;
    encode_parts(
        out,
        &Parts {
            lanes: *lanes,
            envelope,
            door,
            headers,
            received: *received,
            trace: *trace,
            route,
            level: *level,
            key: Some(key),
            id,
            death: death.as_deref(),
        },
    );
}

/// As [`encode_head`], of an event whose parts are in several places.
pub fn encode_parts(out: &mut Vec<u8>, event: &Parts<'_>) {
    let kind = if event.death.is_some() { RecordKind::Dead } else { RecordKind::Event };
    out.reserve(256 + event.envelope.size() - event.envelope.data().len());
    let place = Place { lanes: event.lanes, received: event.received, trace: event.trace, level: event.level };
    begin(out, kind, &place, event.id, event.door);
    if !event.route.is_empty() {
        section(out, tag::ROUTE, |out| put_varint(out, event.route.len()));
    }
    let (key_source, own_key) = key_source(event);
    section(out, tag::KEY, |out| {
        out.push(key_source);
        if key_source == KEY_OWN {
            put_varint(out, own_key.len());
        }
    });
    if let Some(death) = event.death {
        section(out, tag::DEATH, |out| put_death(out, death));
    }
    let spans = event.envelope.spans();
    section(out, tag::ATTRIBUTES, |out| put_attributes(out, true, spans));
    put_headers(out, event.headers);
    text_section(out, |out| {
        put_door_text(out, event.door);
        out.put_slice(event.route.as_bytes());
        if key_source == KEY_OWN {
            out.put_slice(own_key.as_bytes());
        }
        put_death_text(out, event.death);
        put_attributes_text(out, spans);
        put_headers_text(out, event.headers);
    });
    put_data_head(out, event.envelope.data().len());
}

/// Appends all of a door letter's record but the payload itself, which must follow as it is. It is for lane 0 alone.
pub fn encode_letter_head(out: &mut Vec<u8>, letter: &DoorLetter) {
    let place = Place { lanes: 1, received: letter.received, trace: letter.trace, level: AckLevel::Durable };
    begin(out, RecordKind::Letter, &place, None, &letter.door);
    section(out, tag::DEATH, |out| put_death(out, &letter.death));
    let optional = [&letter.content_type, &letter.tracestate, &letter.dedupe_id];
    section(out, tag::MESSAGE, |out| {
        out.push(match letter.mode {
            Mode::ByContentType => 0,
            Mode::Binary => 1,
            Mode::Sniff => 2,
        });
        for text in optional {
            put_varint(out, text.as_ref().map_or(0, |text| text.len() + 1));
        }
    });
    let spans = letter.attributes.spans();
    section(out, tag::ATTRIBUTES, |out| put_attributes(out, letter.attributes.is_event(), spans));
    put_headers(out, &letter.headers);
    text_section(out, |out| {
        put_door_text(out, &letter.door);
        put_death_text(out, Some(&letter.death));
        for text in optional.into_iter().flatten() {
            out.put_slice(text.as_bytes());
        }
        put_attributes_text(out, spans);
        put_headers_text(out, &letter.headers);
    });
    put_data_head(out, letter.payload.len());
}

/// The order key is one of the event's own attributes, or a text of its own.
pub(super) const KEY_OWN: u8 = 0;
/// What a key can be taken from, numbered from 1.
pub(super) const KEY_SOURCES: [&str; 3] = ["partitionkey", "subject", "source"];

/// Where the key comes from, and the key itself if that is nowhere else.
fn key_source<'a>(event: &Parts<'a>) -> (u8, &'a str) {
    let text = |name: &str| event.envelope.get(name).map(|value| value.text);
    let place = match event.key {
        Some(key) => KEY_SOURCES.iter().position(|name| text(name) == Some(key)),
        // The first that is not empty; `source` always is there.
        None => KEY_SOURCES.iter().position(|name| text(name).is_some_and(|text| !text.is_empty())),
    };
    let source = place.and_then(|place| u8::try_from(place + 1).ok());
    (source.unwrap_or(KEY_OWN), event.key.unwrap_or_default())
}

/// The `place` section: lanes u64, received u64 (ns since 1970), trace id, span id, flags u8, level u8.
struct Place {
    lanes: u64,
    received: SystemTime,
    trace: TraceContext,
    level: AckLevel,
}

fn begin(out: &mut Vec<u8>, kind: RecordKind, place: &Place, id: Option<&[u8; 16]>, door: &Door) {
    let header: [u8; HEADER_LEN] = [VERSION, MIN_READER, kind as u8, u8::try_from(ENVELOPE_VERSION).unwrap_or(u8::MAX)];
    out.put_slice(&header);
    section(out, tag::PLACE, |out| {
        out.put_u64_le(place.lanes);
        let since = place.received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        out.put_u64_le(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        out.put_slice(&place.trace.trace_id);
        out.put_slice(&place.trace.span_id);
        out.push(place.trace.flags);
        out.push(match place.level {
            AckLevel::Received => 0,
            AckLevel::Durable => 1,
            AckLevel::Delivered => 2,
        });
    });
    if let Some(id) = id {
        section(out, tag::ID, |out| out.put_slice(id));
    }
    section(out, tag::DOOR, |out| {
        for text in [&door.listener, &door.principal, &door.tenant, &door.subject] {
            put_varint(out, text.len());
        }
    });
}

/// Writes the text. Its length takes three bytes, a padded varint, so that nothing is moved once it is known.
fn text_section(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    out.put_slice(&[tag::TEXT, 0, 0, 0]);
    let start = out.len();
    fill(out);
    let len = out.len() - start;
    // Every limit on what a message may carry is far below this one.
    debug_assert!(len <= TEXT_BYTES_MAX);
    let [low, middle, high, _] = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    out[start - 3] = low | 0x80;
    out[start - 2] = middle << 1 | low >> 7 | 0x80;
    out[start - 1] = high << 2 | middle >> 6;
}

/// Writes one section. The length is written as one byte, and moved apart for the few that need more.
fn section(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.push(0);
    fill(out);
    let len = out.len() - at - 1;
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out[at] = short,
        _ => {
            let mut varint = Vec::with_capacity(5);
            put_varint(&mut varint, len);
            out.splice(at..=at, varint);
        }
    }
}

/// The detail, cut short between characters: the one text of a record that nothing else bounds.
fn detail(death: &Death) -> &str {
    let mut len = death.detail.len().min(DETAIL_BYTES_MAX);
    while !death.detail.is_char_boundary(len) {
        len -= 1;
    }
    &death.detail[..len]
}

fn put_death(out: &mut Vec<u8>, death: &Death) {
    out.put_u64_le(death.first_lsn);
    out.put_u32_le(death.attempts);
    for len in [death.word.as_str().len(), detail(death).len(), death.backend.len()] {
        put_varint(out, len);
    }
}

/// Per core attribute its length + 1, 0 for none; then per extension the lengths of name and value, and the kind.
fn put_attributes(out: &mut Vec<u8>, is_event: bool, (_, core, extensions): Spans<'_>) {
    out.push(u8::from(is_event));
    for span in core {
        put_varint(out, span.size().map_or(0, |size| size + 1));
    }
    put_varint(out, extensions.len());
    for extension in extensions {
        put_varint(out, extension.name.size().unwrap_or(0));
        put_varint(out, extension.value.size().unwrap_or(0));
        out.push(extension.kind as u8);
    }
}

fn put_headers(out: &mut Vec<u8>, headers: &Headers) {
    if headers.is_empty() {
        return;
    }
    section(out, tag::HEADERS, |out| {
        put_varint(out, headers.len());
        for (name, value) in headers.iter() {
            put_varint(out, name.len());
            put_varint(out, value.len());
        }
    });
}

fn put_door_text(out: &mut Vec<u8>, door: &Door) {
    for text in [&door.listener, &door.principal, &door.tenant, &door.subject] {
        out.put_slice(text.as_bytes());
    }
}

fn put_death_text(out: &mut Vec<u8>, death: Option<&Death>) {
    if let Some(death) = death {
        for text in [death.word.as_str(), detail(death), &death.backend] {
            out.put_slice(text.as_bytes());
        }
    }
}

fn put_attributes_text(out: &mut Vec<u8>, (text, core, extensions): Spans<'_>) {
    for span in core {
        put_part(out, text, *span);
    }
    for extension in extensions {
        put_part(out, text, extension.name);
        put_part(out, text, extension.value);
    }
}

fn put_part(out: &mut Vec<u8>, text: &str, span: Span) {
    if let Some(part) = span.bytes_of(text) {
        out.put_slice(part);
    }
}

fn put_headers_text(out: &mut Vec<u8>, headers: &Headers) {
    for (name, value) in headers.iter() {
        out.put_slice(name.as_bytes());
        out.put_slice(value.as_bytes());
    }
}

/// Data is always the last section, and always there.
fn put_data_head(out: &mut Vec<u8>, len: usize) {
    out.push(tag::DATA);
    put_varint(out, len);
}
