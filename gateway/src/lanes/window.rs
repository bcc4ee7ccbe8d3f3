//! The direct window of a lane: events that were never journaled and whose senders wait, between the door and the lane's loop.
//!
//! It is bounded in events and in bytes, by itself and not by the budget that all listeners share: a backend that answers slowly
//! fills its own window and refuses what is for it, and nothing else. The bounds hold from the door to the verdict.
use super::Direct;
use schemas::{Refusal, Word};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Most direct events that wait in one lane, from the door to their verdict.
pub const DIRECT_EVENTS_MAX: usize = 8192;
/// Most bytes of them: 16 MiB.
pub const DIRECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    sender: mpsc::Sender<Direct>,
    receiver: Mutex<Option<mpsc::Receiver<Direct>>>,
    bytes: AtomicUsize,
    events: AtomicUsize,
}

impl Default for Window {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(DIRECT_EVENTS_MAX);
        let receiver = Mutex::new(Some(receiver));
        Window { sender, receiver, bytes: AtomicUsize::new(0), events: AtomicUsize::new(0) }
    }
}

impl Window {
    /// Events that wait.
    pub(super) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    /// Whether `bytes` more fit. It reserves nothing: several senders that ask at once may go over by a message each, which
    /// the budget bounds.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.events() < DIRECT_EVENTS_MAX && self.bytes.load(Ordering::Relaxed) + bytes <= DIRECT_BYTES_MAX
    }

    /// Puts an event into the window, or gives it back when nobody takes it.
    pub(super) fn send(&self, direct: Direct) -> Result<(), Box<Direct>> {
        self.bytes.fetch_add(direct.event.envelope.size(), Ordering::Relaxed);
        self.events.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(direct).map_err(|error| {
            let (mpsc::error::TrySendError::Full(direct) | mpsc::error::TrySendError::Closed(direct)) = error;
            self.left(&direct);
            Box::new(direct)
        })
    }

    /// An event left the window, whatever became of it.
    pub(super) fn left(&self, direct: &Direct) {
        self.bytes.fetch_sub(direct.event.envelope.size(), Ordering::Relaxed);
        self.events.fetch_sub(1, Ordering::Relaxed);
    }

    /// The receiving end, for the one who runs the lane.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Direct>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a sender is told whose event finds the window full.
pub(super) fn full(backend: &str) -> Refusal {
    let detail = format!("the direct window of backend {backend} is full: it confirms more slowly than events come");
    Refusal::new(Word::Overloaded, detail).retry_after(Duration::from_secs(1))
}
