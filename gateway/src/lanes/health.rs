//! What is wrong with a lane, in plain words: since when, why, and what is done about it.
use schemas::Word;
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// What is wrong with a lane.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// The failure word of the last fault.
    pub word: Word,
    /// What exactly, in the backend's own terms.
    pub why: String,
    /// Whether the place itself is wrong: the lane holds until a probe succeeds, and somebody has to act.
    pub destination: bool,
}

/// A lane's health. Changes are logged once.
#[derive(Debug, Default)]
pub struct Health {
    now: Mutex<Option<Trouble>>,
    lasting: Mutex<Option<Trouble>>,
}

impl Health {
    /// What is wrong with deliveries now, if anything.
    pub fn trouble(&self) -> Option<Trouble> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What people should hear of: what is wrong now, else what stays wrong although deliveries succeed.
    pub fn told(&self) -> Option<Trouble> {
        self.trouble().or_else(|| self.lasting.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Says that something of the lane stays where it is, whatever else is delivered: a record that cannot be read. The first
    /// one is told.
    pub fn left_behind(&self, word: Word, why: String) {
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.get_or_insert(Trouble { since: SystemTime::now(), word, why, destination: false });
    }

    /// Says that a delivery failed. Returns `true` when the lane was well before, or the kind of trouble is another.
    pub fn failed(&self, word: Word, why: &str, destination: bool) -> bool {
        let mut trouble = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = trouble.as_ref().is_none_or(|before| before.destination != destination);
        let since = trouble.as_ref().map_or_else(SystemTime::now, |before| before.since);
        *trouble = Some(Trouble { since, word, why: why.to_owned(), destination });
        changed
    }

    /// Says that a delivery or a probe succeeded. Returns what was wrong before.
    pub fn well(&self) -> Option<Trouble> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
