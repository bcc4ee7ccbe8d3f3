//! Why a connection ends, and the clocks that can end it.
use super::{
    answer::Answer,
    fault::{Fault, code},
};
use schemas::Word;
use tokio::time::Instant;

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed its side.
    Closed,
    /// The stream failed.
    Broken,
    /// The client sent DISCONNECT; `will` says whether its will is to be sent (MQTT 5, 0x04 and above).
    Left {
        /// Whether the will is to be sent.
        will: bool,
    },
    /// The client broke a rule.
    Fault(Fault),
    /// The message at the head of the line got no PUBACK.
    Refused(Answer),
    /// Another connection has the client identifier now.
    TakenOver,
    /// The gateway is stopping.
    Stopping,
    /// The connection has reached its age.
    Old,
    /// No verdict in time: the outcome is unknown, so nothing is said.
    AnswerLate,
    /// The client does not read.
    Stuck,
}

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// The client is silent.
    KeepAlive,
    /// The head of the line of answers has no verdict.
    Answer,
    /// A message is held.
    Hold,
    /// The client does not read.
    Write,
    /// The connection is closing.
    Drain,
}

impl Clock {
    /// The end that it means.
    pub fn end(self, closing: Option<&(End, Instant)>) -> End {
        match self {
            Clock::KeepAlive => {
                End::Fault(Fault::new(code::KEEP_ALIVE, "nothing came within one and a half times the keep alive"))
            }
            Clock::Answer => End::AnswerLate,
            Clock::Hold => {
                let reason = format!("{}: the message was held as long as allowed", Word::Overloaded);
                End::Refused(Answer::Disconnect(code::QUOTA, reason))
            }
            Clock::Write => End::Stuck,
            Clock::Drain => closing.map_or(End::Stuck, |(end, _)| end.clone()),
        }
    }
}
