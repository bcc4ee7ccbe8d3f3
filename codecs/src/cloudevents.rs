//! The codec `cloudevents`: events that say themselves what they are, in binary, structured or batched mode.
use crate::{Codec, Context, DecodeError, Decoded, choose::essence, set_trace};
use schemas::{
    AttributeFault, Envelope, EventView, Message, Mode, Word,
    envelope::is_json,
    json::{BATCH_TYPE, Draft, EVENT_TYPE, is_valid_json, read_batch, read_event, write_event},
    limits,
};

/// CloudEvents 1.0.2. Binary mode: the binding has read the attributes. Structured and batched: the JSON format; any other
/// event format is `unsupported_format`. An empty batch is legal (HTTP binding, section 3.3.2): no events.
#[derive(Clone, Copy, Debug)]
pub struct CloudEvents;

impl Codec for CloudEvents {
    fn name(&self) -> &'static str {
        "cloudevents"
    }

    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
        if message.mode == Mode::Binary {
            return decode_binary(message, cx);
        }
        // What says nothing of its format is the JSON format: MQTT 3.1.1, or a listener that is set to this codec.
        let format = message.content_type.as_deref().map_or(EVENT_TYPE, essence);
        if format.eq_ignore_ascii_case(BATCH_TYPE) {
            return decode_batch(message, cx);
        }
        if !format.eq_ignore_ascii_case(EVENT_TYPE)
            && message.mode != Mode::Sniff
            && schemas::binding::is_event_format(format)
        {
            let shown: String = format.chars().take(80).collect();
            let detail = format!("the event format {shown:?} is not known: use {EVENT_TYPE} or {BATCH_TYPE}");
            return Err(DecodeError { word: Word::UnsupportedFormat, offset: None, detail: detail.into() });
        }
        let item = read_event(&message.payload)?;
        Ok(Decoded::from_iter([item.and_then(|draft| finish(draft, message, cx))]))
    }

    /// The JSON event format, with the `anygate…` attributes.
    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>) {
        write_event(out, event.envelope, Some(event.door));
    }
}

fn decode_binary(message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
    let attributes = message.attributes.clone();
    // An event in binary mode may have no data at all; data that says it is JSON must be.
    if !message.payload.is_empty() && attributes.get("datacontenttype").is_some_and(is_json) {
        is_valid_json(&message.payload, limits::JSON_DEPTH_MAX)?;
    }
    let draft = Draft { attributes, data: message.payload.clone() };
    Ok(Decoded::from_iter([finish(draft, message, cx)]))
}

fn decode_batch(message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::new();
    read_batch(&message.payload, |item| decoded.push(item.and_then(|draft| finish(draft, message, cx))))?;
    Ok(decoded)
}

fn finish(mut draft: Draft, message: &Message, cx: &Context<'_>) -> Result<Envelope, AttributeFault> {
    set_trace(&mut draft.attributes, message, cx)?;
    draft.freeze()
}
