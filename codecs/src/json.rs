//! The codec `json`: bare JSON, one text or one per line (NDJSON). Validated by a scanner; the data stays the bytes that came.
use crate::{Codec, Context, DecodeError, Decoded, bare::Bare, choose::declared, choose::is_ndjson};
use bytes::Bytes;
use schemas::{AttributeFault, EventView, Message, Word, json::is_valid_json, limits};

/// The content type of a JSON text that nobody declared, and of a line of NDJSON.
const JSON: &str = "application/json";

/// Bare JSON events.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Codec for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    /// With `application/x-ndjson` each line that is not empty is an event; a line that is no JSON is that event's fault.
    /// Otherwise the whole payload must be one JSON text.
    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
        let content_type = declared(message).unwrap_or(JSON);
        if is_ndjson(content_type) {
            return decode_lines(message, cx);
        }
        is_valid_json(&message.payload, limits::JSON_DEPTH_MAX)?;
        let bare = Bare::new(message, content_type, cx)?;
        Ok(Decoded::from_iter([bare.into_event(message.payload.clone())]))
    }

    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(event.envelope.data());
    }
}

fn decode_lines(message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
    let bare = Bare::new(message, JSON, cx)?;
    let mut decoded = Decoded::new();
    let mut start = 0;
    for (number, line) in message.payload.split(|byte| *byte == b'\n').enumerate() {
        let offset = start + (line.len() - line.trim_ascii_start().len());
        start += line.len() + 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if decoded.len() == limits::EVENTS_PER_MESSAGE_MAX {
            let detail = format!("more than {} events in one message", limits::EVENTS_PER_MESSAGE_MAX);
            return Err(DecodeError { word: Word::TooLarge, offset: Some(offset), detail: detail.into() });
        }
        let item = check_line(line, number + 1, offset);
        decoded.push(item.and_then(|()| bare.event(slice(&message.payload, offset, line.len()))));
    }
    Ok(decoded)
}

fn check_line(line: &[u8], number: usize, offset: usize) -> Result<(), AttributeFault> {
    is_valid_json(line, limits::JSON_DEPTH_MAX).map_err(|fault| {
        let detail = format!("line {number} is not JSON: {} at byte {}", fault.what, offset + fault.offset);
        AttributeFault::new(fault.word, detail)
    })
}

fn slice(payload: &Bytes, offset: usize, len: usize) -> Bytes {
    payload.slice(offset..offset + len)
}
