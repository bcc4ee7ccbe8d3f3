//! Bare messages: what their events' attributes are when the sender said none.
//!
//! `id` a new UUIDv7 · `source` `/listeners/{listener}` · `type` from the protocol (the path), else the listener's rules, else
//! `anygate.message` · `time` when the message was received; if a rule says when it happened, then that, and `recordedtime`
//! says when it was received · `datacontenttype` as sent or recognised · `traceparent`.
use crate::{Context, set_trace, time::Rfc3339};
use schemas::{AttributeFault, Attributes, Envelope, Kind, Message};

/// The source of a bare event that nobody named is this and the listener.
const SOURCE_PREFIX: &str = "/listeners/";

/// The type of a bare event that nobody named.
pub const TYPE_DEFAULT: &str = "anygate.message";

/// Room for an `id`: a UUID's text.
const ID_ROOM: usize = 40;

/// Room for what most bare events get: source, type, time, content type, trace and `id`.
const USUAL_ROOM: usize = 240;

/// The attributes that all bare events of one message share: all but `id`.
pub(crate) struct Bare<'a> {
    shared: Attributes,
    cx: &'a Context<'a>,
}

impl<'a> Bare<'a> {
    pub(crate) fn new(message: &Message, content_type: &str, cx: &'a Context<'a>) -> Result<Self, AttributeFault> {
        let mut attributes = message.attributes.clone_with_room(USUAL_ROOM);
        if let Some(rules) = cx.rules {
            rules.apply(message, &mut attributes)?;
        }
        if let Some(from_protocol) = message.attributes.get("type")
            && attributes.get("type") != Some(from_protocol)
        {
            attributes.set("type", from_protocol, Kind::String)?;
        }
        let lacks = |attributes: &Attributes, name: &str| attributes.get(name).is_none_or(str::is_empty);
        if lacks(&attributes, "type") {
            attributes.set("type", TYPE_DEFAULT, Kind::String)?;
        }
        if lacks(&attributes, "source") {
            attributes.set_joined("source", &[SOURCE_PREFIX, cx.listener])?;
        }
        if lacks(&attributes, "datacontenttype") {
            attributes.set("datacontenttype", content_type, Kind::String)?;
        }
        set_time(&mut attributes, cx)?;
        set_trace(&mut attributes, message, cx)?;
        Ok(Bare { shared: attributes, cx })
    }

    /// The only event of the message.
    pub(crate) fn into_event(self, data: bytes::Bytes) -> Result<Envelope, AttributeFault> {
        let Bare { shared, cx } = self;
        Self::finish(shared, cx, data)
    }

    /// One event of several with its data. A rule may have said its `id`.
    pub(crate) fn event(&self, data: bytes::Bytes) -> Result<Envelope, AttributeFault> {
        Self::finish(self.shared.clone_with_room(ID_ROOM), self.cx, data)
    }

    fn finish(mut attributes: Attributes, cx: &Context<'_>, data: bytes::Bytes) -> Result<Envelope, AttributeFault> {
        if attributes.get("id").is_none_or(str::is_empty) {
            attributes.set("id", &(cx.new_id)(), Kind::String)?;
        }
        attributes.freeze(data)
    }
}

fn set_time(attributes: &mut Attributes, cx: &Context<'_>) -> Result<(), AttributeFault> {
    let name = if attributes.get("time").is_none() { "time" } else { "recordedtime" };
    if attributes.get(name).is_some() {
        return Ok(());
    }
    // A clock outside the years that RFC 3339 has is no reason to refuse a message: `time` is optional.
    let Some(received) = Rfc3339::of(cx.received) else { return Ok(()) };
    attributes.set(name, received.as_str(), Kind::String)
}
