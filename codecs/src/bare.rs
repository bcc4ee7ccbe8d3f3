//! Bare messages: what their events' attributes are when the sender said none.
//!
//! `id` a new UUIDv7 · `source` `/listeners/{listener}` · `type` from the protocol (the path), else the listener's rules, else
//! `anygate.message` · `time` when the message was received; if a rule says when it happened, then that, and `recordedtime`
//! says when it was received · `datacontenttype` as sent or recognised · `traceparent`.
use crate::{Context, set_trace};
use jiff::Timestamp;
use schemas::{AttributeFault, Attributes, Envelope, Kind, Message};

/// The type of a bare event that nobody named.
pub const TYPE_DEFAULT: &str = "anygate.message";

/// Room for an `id`: a UUID's text.
const ID_ROOM: usize = 40;

/// The attributes that all bare events of one message share: all but `id`.
pub(crate) struct Bare<'a> {
    shared: Attributes,
    cx: &'a Context<'a>,
}

impl<'a> Bare<'a> {
    pub(crate) fn new(message: &Message, content_type: &str, cx: &'a Context<'a>) -> Result<Self, AttributeFault> {
        let mut attributes = message.attributes.clone();
        let from_protocol = attributes.get("type").map(str::to_owned);
        if let Some(rules) = cx.rules {
            rules.apply(message, &mut attributes)?;
        }
        if let Some(from_protocol) = &from_protocol {
            attributes.set("type", from_protocol, Kind::String)?;
        }
        let mut default = |name: &str, value: &str| match attributes.get(name) {
            Some(there) if !there.is_empty() => Ok(()),
            _ => attributes.set(name, value, Kind::String),
        };
        default("type", TYPE_DEFAULT)?;
        default("source", &["/listeners/", cx.listener].concat())?;
        default("datacontenttype", content_type)?;
        set_time(&mut attributes, cx)?;
        set_trace(&mut attributes, message, cx)?;
        Ok(Bare { shared: attributes, cx })
    }

    /// One event with its data. A rule may have said its `id`.
    pub(crate) fn event(&self, data: bytes::Bytes) -> Result<Envelope, AttributeFault> {
        let mut attributes = self.shared.clone_with_room(ID_ROOM);
        if attributes.get("id").is_none_or(str::is_empty) {
            attributes.set("id", &(self.cx.new_id)(), Kind::String)?;
        }
        attributes.freeze(data)
    }
}

fn set_time(attributes: &mut Attributes, cx: &Context<'_>) -> Result<(), AttributeFault> {
    // A clock outside jiff's years is no reason to refuse a message: `time` is optional.
    let Ok(received) = Timestamp::try_from(cx.received) else { return Ok(()) };
    let name = if attributes.get("time").is_none() { "time" } else { "recordedtime" };
    if attributes.get(name).is_some() {
        return Ok(());
    }
    attributes.set(name, &received.to_string(), Kind::String)
}
