//! Codecs: one message into envelopes, and an envelope back into bytes.
//!
//! A codec is pure: no I/O, no clock, no random numbers. What it needs of them comes with the [`Context`]. It keeps data as a
//! slice of the payload and builds no tree of it. What went wrong with the whole message is a [`DecodeError`]; what is wrong
//! with one event of several is that event's own fault, and hides no other.
//!
//! **To add one**: a module with a type that implements [`Codec`], its `mod` line here, and its line in [`builtin`]; and in
//! [`choose`] when a content type is to lead to it.
mod bare;
mod choose;
pub mod cloudevents;
pub mod json;
pub mod raw;
mod time;

use schemas::{AttributeFault, Attributes, Envelope, EventView, Message, Word, json::JsonFault};
use smallvec::SmallVec;
use std::{borrow::Cow, fmt, time::SystemTime};

pub use choose::{builtin, by_name, choose};

/// The events of one message, in order; each good or with its own fault. May be empty (an empty batch).
pub type Decoded = SmallVec<[Result<Envelope, AttributeFault>; 1]>;

/// Turns one message into envelopes, and an envelope back into bytes.
pub trait Codec: Send + Sync + 'static {
    /// The name in configs and errors.
    fn name(&self) -> &'static str;

    /// The events of a message.
    ///
    /// # Errors
    /// The message as a whole cannot be read.
    fn decode(&self, message: &Message, cx: &Context<'_>) -> Result<Decoded, DecodeError>;

    /// Appends an event in this codec's form.
    fn encode(&self, event: EventView<'_>, out: &mut Vec<u8>);
}

/// What a codec is told about the way in, and given in place of a clock and random numbers.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The listener's name: the source of bare events is `/listeners/{listener}`.
    pub listener: &'a str,
    /// When the message was received: the time of bare events.
    pub received: SystemTime,
    /// Becomes the extension `traceparent` of events that have none; empty for none. A sender's own is never overwritten.
    pub traceparent: &'a str,
    /// The listener's envelope rules.
    pub rules: Option<&'a dyn BareRules>,
    /// A new UUIDv7 for each bare event.
    pub new_id: &'a dyn Fn() -> String,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { listener, received, traceparent, rules, new_id: _ } = self;
        f.debug_struct("Context")
            .field("listener", listener)
            .field("received", received)
            .field("traceparent", traceparent)
            .field("rules", &rules.is_some())
            .finish_non_exhaustive()
    }
}

/// A listener's `envelope` rules: what a bare message becomes.
pub trait BareRules: Send + Sync {
    /// Sets attributes from what is known of the message. A `type` that the protocol gave (the path) stays, whatever is set.
    ///
    /// # Errors
    /// As [`Attributes::set`], and `missing_attribute` when a template names something that the message lacks.
    fn apply(&self, message: &Message, attributes: &mut Attributes) -> Result<(), AttributeFault>;
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The failure word.
    pub word: Word,
    /// The byte offset of the fault in the payload, if it has one.
    pub offset: Option<usize>,
    /// What is wrong, for people; says the offset too.
    pub detail: Cow<'static, str>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.detail)
    }
}

impl std::error::Error for DecodeError {}

impl From<JsonFault> for DecodeError {
    fn from(fault: JsonFault) -> Self {
        DecodeError { word: fault.word, offset: Some(fault.offset), detail: fault.to_string().into() }
    }
}

impl From<AttributeFault> for DecodeError {
    fn from(fault: AttributeFault) -> Self {
        DecodeError { word: fault.word, offset: None, detail: fault.detail }
    }
}

/// Gives an event the trace it came with, unless it has one of its own (design rule 13).
fn set_trace(attributes: &mut Attributes, message: &Message, cx: &Context<'_>) -> Result<(), AttributeFault> {
    if cx.traceparent.is_empty() || attributes.get("traceparent").is_some() {
        return Ok(());
    }
    attributes.set("traceparent", cx.traceparent, schemas::Kind::String)?;
    match &message.tracestate {
        Some(state) if !state.is_empty() => attributes.set("tracestate", state, schemas::Kind::String),
        _ => {
            // A `tracestate` without its `traceparent` belongs to no trace.
            if attributes.get("tracestate").is_some() {
                attributes.remove("tracestate");
            }
            Ok(())
        }
    }
}
