//! What became of a delivery: done, or one of three kinds of fault (design rule 9).
use schemas::Word;
use std::{borrow::Cow, fmt};

/// What became of one event at one backend. No two of the faults are treated alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend confirmed it.
    Done(Position),
    /// Not now: wait and offer it again (a broker is down, the disk is full). Its strand waits.
    Retry(Why),
    /// This event never (too large for the topic): it becomes a dead letter.
    Record(Why),
    /// The place is wrong (missing topic, no right): the lane holds and alarms; nothing becomes a dead letter.
    Destination(Why),
}

/// Where the backend put an event, for `anygate trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Topic, table or file; shared, not built per event.
    pub place: Cow<'static, str>,
    /// Kafka's partition; -1 where there is none.
    pub partition: i32,
    /// Offset or row; -1 where there is none.
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if self.partition >= 0 {
            write!(f, "[{}]", self.partition)?;
        }
        if self.offset >= 0 {
            write!(f, " offset {}", self.offset)?;
        }
        Ok(())
    }
}

/// Why a delivery did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The failure word: `backend_unavailable`, `too_large`, `timeout`, …
    pub word: Word,
    /// What exactly, in the backend's own terms.
    pub detail: Cow<'static, str>,
    /// From a probe: the place itself is wrong, and somebody has to act; else it is only not to be reached now.
    pub wrong_place: bool,
    /// Of a retry: the backend took nothing of the event, so it cannot have it. Else it may.
    pub untaken: bool,
    /// Of a retry: the event only waited, which says nothing about it; the try does not count as one of its attempts.
    pub waited: bool,
}

impl Why {
    /// A reason with its detail.
    pub fn new(word: Word, detail: impl Into<Cow<'static, str>>) -> Self {
        Why { word, detail: detail.into(), wrong_place: false, untaken: false, waited: false }
    }

    /// The same reason, said of a place that is wrong.
    #[must_use]
    pub fn wrong_place(self) -> Self {
        Why { wrong_place: true, ..self }
    }

    /// The same reason, said of an event of which the backend took nothing.
    #[must_use]
    pub fn untaken(self) -> Self {
        Why { untaken: true, ..self }
    }

    /// The same reason, said of an event that only waited.
    #[must_use]
    pub fn waited(self) -> Self {
        Why { waited: true, ..self }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.detail)
    }
}

/// FNV-1a, 64 bits: a strand's number. Stable over restarts and versions; not for hostile keys that must not collide, which
/// would only make two keys wait for one another.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
