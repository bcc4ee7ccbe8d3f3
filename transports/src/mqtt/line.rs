//! The line of messages of one connection: what was read but not handed over, and how each message will be answered.
use crate::Room;
use schemas::{Message, Refusal};
use std::num::NonZeroU16;

/// The packet that answers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// QoS 0.
    Nothing,
    /// QoS 1.
    Puback(NonZeroU16),
    /// QoS 2: the first part of its handshake.
    Pubrec(NonZeroU16),
    /// A QoS 2 message that came once more: its PUBREC again, if the first one was a receipt.
    PubrecAgain(NonZeroU16),
}

/// How a message is answered when its verdict is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The packet.
    pub reply: Reply,
    /// Whether a refusal is about the topic's name (0x90) and not about what the failure word says.
    pub topic: bool,
}

/// A message in the line, read but not handed over.
pub struct Next {
    /// How it will be answered.
    pub due: Due,
    /// The message with its room, or why it is refused already.
    pub work: Result<(Message, Room), Refusal>,
    /// Its size, for the limit on what waits.
    pub bytes: usize,
}
