//! What a sender is told: receipt, refusal or unknown (design rule 2).
use crate::{AckLevel, ByteStr, Envelope, Word};
use std::{borrow::Cow, time::Duration};

/// What became of one message.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The ack level is reached.
    Receipt(Receipt),
    /// Nothing of it was kept.
    Refusal(Refusal),
    /// It may have been kept.
    Unknown(Unknown),
}

/// The ack level is reached, for every event that `items` does not say otherwise about.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The weakest level among the kept events.
    pub level: AckLevel,
    /// 32 hex digits when the sender wanted detail, else empty.
    pub trace_id: ByteStr,
    /// What became of each event.
    pub items: Items,
    /// A reply for the sender, on `call` routes only.
    pub reply: Option<Box<Envelope>>,
}

/// Nothing was kept. `word` knows whether a resend can help.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub word: Word,
    /// What exactly, for people: field, offset, limit.
    pub detail: Cow<'static, str>,
    /// When a resend makes sense, for retryable words.
    pub retry_after: Option<Duration>,
    /// The bad events of a batch, or [`Items::All`].
    pub items: Items,
}

impl Refusal {
    /// A refusal of the whole message.
    pub fn new(word: Word, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { word, detail: detail.into(), retry_after: None, items: Items::All }
    }

    /// With the time after which a resend makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Verdict::Refusal(refusal)
    }
}

/// It may have been kept. Resend with the same id; never nack it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Why nothing definite can be said: `timeout`, `internal` or `shutting_down`.
    pub word: Word,
}

/// What became of the events of one message.
#[derive(Clone, Debug, Default)]
pub enum Items {
    /// All the same.
    #[default]
    All,
    /// One by one, in the message's order: the sender wanted detail, partial answers were asked for, or a list of faults.
    Each(Box<[ItemReceipt]>),
}

/// One event of a message.
#[derive(Clone, Debug)]
pub struct ItemReceipt {
    /// The event's `id`; empty when none could be read.
    pub id: ByteStr,
    /// What became of it.
    pub verdict: ItemVerdict,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub enum ItemVerdict {
    /// Kept at this level; `dead_letter` names why when it went to the dead letters (`unrouted: dead_letter`).
    Kept {
        /// The event's own ack level.
        level: AckLevel,
        /// The failure word of a dead letter, else `None`.
        dead_letter: Option<Word>,
    },
    /// Kept earlier: the sender gets the first one's answer.
    Duplicate,
    /// Dropped as configured; acknowledged.
    Dropped(Word),
    /// Refused: the word and what exactly.
    Refused(Word, Box<str>),
}
