//! The words of Anygate and the wire forms of its envelope.
//!
//! A [`Message`] is what a transport received; the codec makes [`Envelope`]s of it; routing makes [`Event`]s of those; a
//! [`Verdict`] goes back to the sender. Every failure has one [`Word`]. The wire forms are here too: the CloudEvents JSON
//! format, the HTTP, MQTT 5 and Kafka bindings, and the body of a journal record.
//!
//! This crate knows no runtime, no socket, no clock and no file: values in, values out.

pub mod attributes;
pub mod binding;
pub mod envelope;
pub mod event;
pub mod headers;
pub mod json;
pub mod limits;
pub mod message;
pub mod record;
pub mod text;
pub mod trace;
pub mod verdict;
pub mod word;

pub use attributes::{AttributeFault, Attributes, Kind};
pub use envelope::{Envelope, Value};
pub use event::{Death, Door, Event, EventView, order_key};
pub use headers::Headers;
pub use message::{AckLevel, Message, Mode, Wants};
pub use record::{DoorLetter, Record, RecordError};
pub use text::ByteStr;
pub use trace::TraceContext;
pub use verdict::{ItemReceipt, ItemVerdict, Items, Receipt, Refusal, Unknown, Verdict};
pub use word::{WORDS, Word};
