//! A message: payload bytes and metadata as received; the unit of acknowledgement.
use crate::{Attributes, ByteStr, Headers, TraceContext};
use bytes::Bytes;
use std::{fmt, str::FromStr, time::Duration};

/// When the sender is told yes. Ordered: a later one promises more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckLevel {
    /// Validated and in memory; a crash may lose it.
    Received,
    /// In the journal, and its `fdatasync` has returned.
    #[default]
    Durable,
    /// Every backend of the route confirmed it; it was never journaled.
    Delivered,
}

impl AckLevel {
    /// As written in configs, answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            AckLevel::Received => "received",
            AckLevel::Durable => "durable",
            AckLevel::Delivered => "delivered",
        }
    }
}

impl fmt::Display for AckLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AckLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [AckLevel::Received, AckLevel::Durable, AckLevel::Delivered]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no ack level: received, durable or delivered"))
    }
}

/// What the sender asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    /// Keep the good events of a message and answer per event, instead of all or nothing (rule 15).
    pub partial: bool,
    /// How long the answer may take from now on.
    pub deadline: Duration,
    /// Whether an answer can be sent at all: not for MQTT QoS 0.
    pub answer: bool,
    /// Whether the answer names each event (HTTP); without it a receipt carries no ids, which saves work.
    pub detail: bool,
    /// The protocol cannot say no (MQTT 3.1.1, `on_reject: ack`): a permanent refusal becomes a dead letter and is
    /// acknowledged.
    pub cannot_refuse: bool,
}

impl Default for Wants {
    fn default() -> Self {
        Wants { partial: false, deadline: Duration::from_secs(30), answer: true, detail: false, cannot_refuse: false }
    }
}

/// How the transport's binding took the payload. The codec is chosen by it and the content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not said by the binding: a bare payload, or a structured event by its content type.
    #[default]
    ByContentType,
    /// The attributes are those of a CloudEvent in binary mode; the payload is its data.
    Binary,
    /// The protocol cannot say (MQTT 3.1.1): structured if it is a JSON object with `specversion`, else bare.
    Sniff,
}

/// Payload and metadata as received.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The payload, after content codings were undone.
    pub payload: Bytes,
    /// What the binding found: all attributes in binary mode; for a bare message what the protocol says of it
    /// (`type` from the path, `expirytime`, …).
    pub attributes: Attributes,
    /// Kept headers, by allow-list.
    pub headers: Headers,
    /// Path, topic or routing key: becomes `anygatesubject`, and `envelope` rules match it.
    pub subject: ByteStr,
    /// The payload's content type, as sent.
    pub content_type: Option<ByteStr>,
    /// How the payload is to be taken.
    pub mode: Mode,
    /// The trace context of the protocol's own header, if a valid one came.
    pub trace: Option<TraceContext>,
    /// The `tracestate` that came with `trace`, if valid.
    pub tracestate: Option<ByteStr>,
    /// `Idempotency-Key` or the like: the dedupe id of a bare event.
    pub dedupe_id: Option<ByteStr>,
    /// What the sender asked for.
    pub wants: Wants,
}
