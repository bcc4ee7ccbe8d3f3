//! The body of a journal record, version 1: one routed event, dead letter or door letter as bytes, and as JSON for people.
//!
//! ```text
//! version u8 | min_reader u8 | kind u8 | envelope version u8 | section … | data section
//! section  = tag u8 (bit 7: skippable) | length varint | bytes
//! ```
//! Numbers are little-endian; a varint is LEB128 of at most 32 bits. Tags are 1–127, 0 is never one. Each known section comes
//! at most once, and longer than known is fine: what a later version appends to one is passed over. All strings stand in one
//! `text` section in the order in which the sections before it give their lengths; only sections of version 1 draw from it,
//! a later one brings its own. Data comes last, so that it can be gathered beside the head ([`encode_head`]).
//!
//! **Versions.** A reader passes over unknown sections that are marked skippable, and refuses a record whose `min_reader` is
//! above [`VERSION`], or that has an unknown section which is not skippable: so a downgrade by one works whenever the newer
//! writer only added skippable sections. Golden bytes of every version ever written are in `schemas/golden/`.
//!
//! No checksum is here: the journal has one around each body. Reading never panics on any bytes, whatever their checksum.
mod cursor;
mod decode;
mod encode;
mod glance;
mod show;

use crate::{Attributes, ByteStr, Death, Door, Event, Headers, Message, Mode, TraceContext, Wants};
use bytes::Bytes;
use std::{fmt, time::SystemTime};

pub use decode::{decode, decode_event};
pub use encode::{Parts, encode_head, encode_head_with_id, encode_letter_head, encode_parts};
pub use glance::{Glance, glance, id_of};
pub use show::{write_dead_letter, write_record};

/// The version of the body that this code writes, and the highest `min_reader` that it can read.
pub const VERSION: u8 = 1;
/// The version that is needed to read what this code writes.
const MIN_READER: u8 = 1;
/// Bytes before the first section.
const HEADER_LEN: usize = 4;
/// Most text of one record: attributes, headers, door, route, key and a death's detail.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Longest detail of a death that is kept: for people, who need its beginning.
pub const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// What a record is. 3 and 4 are kept for id releases and marks of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum RecordKind {
    Event = 1,
    Dead = 2,
    Letter = 5,
}

/// Section tags.
mod tag {
    /// Place of the event: see [`super::encode`].
    pub(super) const PLACE: u8 = 1;
    pub(super) const DOOR: u8 = 2;
    pub(super) const ROUTE: u8 = 3;
    pub(super) const KEY: u8 = 4;
    pub(super) const DEATH: u8 = 5;
    pub(super) const MESSAGE: u8 = 6;
    pub(super) const ATTRIBUTES: u8 = 7;
    pub(super) const HEADERS: u8 = 8;
    pub(super) const TEXT: u8 = 9;
    pub(super) const DATA: u8 = 10;
    /// What a resend of the event is known by: 16 bytes. Skippable, and right behind [`PLACE`] where it is there.
    pub(super) const ID: u8 = 11 | SKIPPABLE;
    /// Set on sections that an older reader may pass over.
    pub(super) const SKIPPABLE: u8 = 0x80;
}

/// What a journal record holds.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "letters are rare, and never held in numbers")]
pub enum Record {
    /// A routed event; a dead letter when `death` is set.
    Event(Event),
    /// Bytes that nobody could read, or that were refused at the door but are kept.
    Letter(DoorLetter),
}

/// A dead letter of the door: the message as it was received. Replayed, it enters at decode again.
#[derive(Clone, Debug)]
pub struct DoorLetter {
    /// Its place in the journal; 0 before it has one.
    pub lsn: u64,
    /// The payload as received.
    pub payload: Bytes,
    /// The payload's content type, as sent.
    pub content_type: Option<ByteStr>,
    /// How the binding took the payload.
    pub mode: Mode,
    /// What the binding had found so far.
    pub attributes: Attributes,
    /// Headers kept by allow-list.
    pub headers: Headers,
    /// The door; its subject is the message's.
    pub door: Door,
    /// When the message was received.
    pub received: SystemTime,
    /// The gateway's own span of this message.
    pub trace: TraceContext,
    /// The `tracestate` that came with the message.
    pub tracestate: Option<ByteStr>,
    /// The dedupe id of the message.
    pub dedupe_id: Option<ByteStr>,
    /// Why it is a dead letter.
    pub death: Death,
}

impl DoorLetter {
    /// The message to decode again. It continues the trace of the first attempt; nobody waits for its answer.
    pub fn into_message(self) -> Message {
        Message {
            payload: self.payload,
            attributes: self.attributes,
            headers: self.headers,
            subject: self.door.subject,
            content_type: self.content_type,
            mode: self.mode,
            trace: Some(self.trace),
            tracestate: self.tracestate,
            dedupe_id: self.dedupe_id,
            wants: Wants { answer: false, ..Wants::default() },
        }
    }
}

/// Why a record's body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It says that it needs a newer reader.
    TooNew {
        /// The version it needs.
        min_reader: u8,
    },
    /// A section that this version does not know, and must not pass over.
    UnknownSection {
        /// Its tag.
        tag: u8,
        /// Its byte offset in the body.
        offset: usize,
    },
    /// The bytes make no sense.
    Corrupt {
        /// The byte offset in the body.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::TooNew { min_reader } => write!(
                f,
                "the record needs a reader of version {min_reader}, this one is version {VERSION}: run the newer Anygate that wrote it"
            ),
            RecordError::UnknownSection { tag, offset } => write!(
                f,
                "the record has a section {tag} at byte {offset} that must be understood and is not: run the newer Anygate that wrote it"
            ),
            RecordError::Corrupt { offset, what } => write!(f, "the record is damaged at byte {offset}: {what}"),
        }
    }
}

impl std::error::Error for RecordError {}
