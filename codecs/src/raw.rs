//! The codec `raw`: any payload is the data of one bare event, looked at only to name an undeclared content type.
use crate::{Codec, Context, DecodeError, Decoded, bare::Bare, choose::declared};
use schemas::{EventView, Message};

/// One bare event of any bytes. Without a declared content type it is `text/plain` if it is UTF-8, else
/// `application/octet-stream`.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError> {
        let content_type = declared(message).unwrap_or_else(|| match std::str::from_utf8(&message.payload) {
            Ok(_) => "text/plain",
            Err(_) => "application/octet-stream",
        });
        let bare = Bare::new(message, content_type, cx)?;
        Ok(Decoded::from_iter([bare.into_event(message.payload.clone())]))
    }

    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(event.envelope.data());
    }
}
