//! The CloudEvents JSON event format 1.0.2, both ways, and the check of bare JSON payloads.
//!
//! Promises: no JSON tree; JSON data is kept as the bytes that came (a slice of the payload); nothing recursive, so no depth
//! of nesting can exhaust the stack; one pass over the text. A broken JSON text is a fault of the whole message with its
//! byte offset; a text that is fine but no CloudEvent is a fault of that event only.
//!
//! Depth is counted over the whole text, so data inside an event has one level less than the limit, in a batch two.
//! Deliberately absent: Avro and Protobuf, other encodings than UTF-8, and number semantics (numbers stay text).
mod read;
mod scan;
mod write;

pub use read::{Draft, Item, looks_structured, read_batch, read_event};
pub use scan::{JsonFault, is_valid_json};
pub use write::{write_event, write_event_line, write_string};

/// The media type of one event in this format.
pub const EVENT_TYPE: &str = "application/cloudevents+json";
/// The media type of a batch of events in this format.
pub const BATCH_TYPE: &str = "application/cloudevents-batch+json";
