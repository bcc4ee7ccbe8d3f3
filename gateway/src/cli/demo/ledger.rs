//! What the senders wrote down themselves: every message, and how it was answered. The gateway has no part in it.
use super::world::{Parcel, Protocol};
use schemas::TraceContext;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// How a message was answered, as its sender saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes: HTTP says at which level; a PUBACK means the route's, which is `durable` in the demo.
    Acked {
        /// The ack level.
        level: String,
        /// Why it was kept as a dead letter, when the answer says so.
        dead_letter: Option<String>,
    },
    /// No, with the failure word and the detail.
    Refused {
        /// The failure word.
        word: String,
        /// What exactly.
        detail: String,
    },
    /// The gateway said that it does not know.
    Unknown,
    /// No answer came.
    Lost(String),
}

/// One message in the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How it was sent.
    pub protocol: Protocol,
    /// Its trace.
    pub trace: Option<TraceContext>,
    /// How many events it held.
    pub events: u32,
    /// The topic or path.
    pub to: String,
    /// How it was answered.
    pub answer: Answer,
    /// When it was sent.
    pub at: SystemTime,
    /// From then to the answer read; a connection that had to be opened is in it.
    pub after: Duration,
}

/// All entries; shared by the senders. Bounded by the demo's rate and its longest time.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Entry>>);

impl Ledger {
    /// Writes down an answer and returns the entry.
    pub fn note(&self, protocol: Protocol, parcel: &Parcel, answer: Answer, after: Duration) -> Entry {
        let entry = Entry {
            protocol,
            trace: parcel.trace,
            events: parcel.events,
            to: parcel.to.clone(),
            answer,
            at: SystemTime::now() - after,
            after,
        };
        self.entries().push(entry.clone());
        entry
    }

    /// What is written so far.
    pub fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds it up, for one protocol.
    pub fn sums(&self, protocol: Protocol) -> Sums {
        let mut sums = Sums::default();
        for entry in self.entries().iter().filter(|entry| entry.protocol == protocol) {
            sums.add(entry);
        }
        sums
    }
}

/// The sums of one protocol, or of all. Events, unless it says messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages sent.
    pub messages: u64,
    /// Events sent.
    pub sent: u64,
    /// Events acknowledged, by level.
    pub acked: BTreeMap<String, u64>,
    /// Events refused, by failure word.
    pub refused: BTreeMap<String, u64>,
    /// Events of which the gateway does not know.
    pub unknown: u64,
    /// Events without an answer.
    pub lost: u64,
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        let events = u64::from(entry.events);
        self.messages += 1;
        self.sent += events;
        match &entry.answer {
            Answer::Acked { level, .. } => *self.acked.entry(level.clone()).or_default() += events,
            Answer::Refused { word, .. } => *self.refused.entry(word.clone()).or_default() += events,
            Answer::Unknown => self.unknown += events,
            Answer::Lost(_) => self.lost += events,
        }
    }

    /// Adds another protocol's.
    pub fn merge(&mut self, other: &Sums) {
        self.messages += other.messages;
        self.sent += other.sent;
        self.unknown += other.unknown;
        self.lost += other.lost;
        for (level, events) in &other.acked {
            *self.acked.entry(level.clone()).or_default() += events;
        }
        for (word, events) in &other.refused {
            *self.refused.entry(word.clone()).or_default() += events;
        }
    }

    /// Events acknowledged at any level.
    pub fn acked_all(&self) -> u64 {
        self.acked.values().sum()
    }

    /// Events refused with any word.
    pub fn refused_all(&self) -> u64 {
        self.refused.values().sum()
    }
}
