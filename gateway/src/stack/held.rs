//! Streams whose head is held: what `status` names, because what stands behind a held head waits with it (design rule 6).
//!
//! One entry per held message, and at most one message per ordered stream is held, so there are no more than connections. Only
//! messages that wait come here: the fast path knows nothing of it.
use super::Batch;
use crate::state::Shared;
use schemas::{ByteStr, Refusal, Word};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// A stream whose head waits.
#[derive(Clone, Debug)]
pub struct HeldStream {
    /// The listener.
    pub listener: ByteStr,
    /// Who sends; empty when nobody was asked.
    pub principal: String,
    /// The MQTT client id; empty when there is none.
    pub client: ByteStr,
    /// The other end.
    pub peer: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// What it waits for.
    pub word: Word,
    /// In words.
    pub why: String,
}

/// All of them, in the order in which they began to wait.
#[derive(Debug, Default)]
pub struct Held(Mutex<(u64, BTreeMap<u64, HeldStream>)>);

/// A place among them, left when it is dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Held {
    /// Those that have waited longest, at most `most` of them, and how many there are.
    pub fn longest(&self, most: usize) -> (Vec<HeldStream>, usize) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (held.1.values().take(most).cloned().collect(), held.1.len())
    }
}

impl Place {
    /// The head of this batch's stream waits.
    pub(super) fn take(shared: &Arc<Shared>, batch: &Batch, refusal: &Refusal) -> Place {
        let origin = &batch.origin;
        let stream = HeldStream {
            listener: origin.listener.clone(),
            principal: origin.principal.name.to_string(),
            client: origin.client.clone(),
            peer: origin.peer,
            since: SystemTime::now(),
            word: refusal.word,
            why: refusal.detail.to_string(),
        };
        let mut held = shared.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = held.0;
        held.0 += 1;
        held.1.insert(number, stream);
        drop(held);
        Place { shared: Arc::clone(shared), number }
    }

    /// It waits for something else now.
    pub(super) fn waits_for(&self, refusal: &Refusal) {
        let mut held = self.shared.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = held.1.get_mut(&self.number).filter(|stream| stream.word != refusal.word) {
            stream.word = refusal.word;
            stream.why = refusal.detail.to_string();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.held.0.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}
