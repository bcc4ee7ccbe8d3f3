//! The codec `typed`: the first word of the payload is the event's type, all behind the space is its data.
use codecs::{Codec, Context, DecodeError, Decoded};
use schemas::{AttributeFault, Attributes, EventView, Kind, Message, Word};

/// `com.acme.reading 21.5` is an event of the type `com.acme.reading` with the data `21.5`.
#[derive(Clone, Copy, Debug)]
pub struct Typed;

impl Codec for Typed {
    fn name(&self) -> &'static str {
        "typed"
    }

    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
        let payload = &message.payload;
        let space = payload
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(|| fault(payload.len(), "no space behind the type"))?;
        let text = std::str::from_utf8(&payload[..space])
            .map_err(|error| fault(error.valid_up_to(), "the type is not UTF-8"))?;
        // A slice of the payload: data is never copied here. A fault of the attributes is this event's own.
        let data = payload.slice(space + 1..);
        Ok(Decoded::from_iter([attributes(text, message, cx).and_then(|attributes| attributes.freeze(data))]))
    }

    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(event.envelope.event_type().as_bytes());
        out.push(b' ');
        out.extend_from_slice(event.envelope.data());
    }
}

fn attributes(event_type: &str, message: &Message, cx: &Context<'_>) -> Result<Attributes, AttributeFault> {
    let mut attributes = message.attributes.clone();
    attributes.set("id", &(cx.new_id)(), Kind::String)?;
    attributes.set("source", &format!("/listeners/{}", cx.listener), Kind::String)?;
    attributes.set_from_sender("type", event_type, Kind::String)?;
    Ok(attributes)
}

fn fault(offset: usize, what: &str) -> DecodeError {
    DecodeError { word: Word::Malformed, offset: Some(offset), detail: format!("{what} at byte {offset}").into() }
}
