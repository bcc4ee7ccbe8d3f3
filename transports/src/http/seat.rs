//! What one ordered stream of a connection works with: its intake, its wait for durability and its timer.
//!
//! An HTTP/1 connection has one seat and uses it for one request after the other. Streams of an HTTP/2 connection take a free
//! seat or a new one; order between streams is not promised.
use super::{auth, problem::Problem};
use crate::{DurableWait, Gate, Intake, Origin};
use http::HeaderValue;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Free seats that a connection keeps for its next streams.
const FREE_SEATS_MAX: usize = 4;

/// See the module's documentation.
pub(super) struct Seat {
    pub(super) intake: Intake,
    pub(super) waits: Box<dyn DurableWait>,
    pub(super) timer: Timer,
    /// The `Authorization` header that was checked last, if any was: the same bytes are not checked again.
    shown: Option<Option<Box<[u8]>>>,
    /// The generation of the configuration that it was checked against.
    generation: u64,
}

impl Seat {
    fn new(gate: &Arc<dyn Gate>, origin: Origin, hold: Duration) -> Self {
        let intake = Intake::new(Arc::clone(gate), origin, hold);
        Seat { waits: intake.durable_wait(), intake, timer: Timer::new(), shown: None, generation: 0 }
    }

    /// Finds out who sends, unless the same header said so before on this seat.
    ///
    /// # Errors
    /// `unauthenticated`, or `malformed` credentials as the same word.
    pub(super) fn authenticate(&mut self, header: Option<&HeaderValue>) -> Result<(), Problem> {
        let bytes = header.map(HeaderValue::as_bytes);
        let generation = self.intake.gate().generation();
        if self.generation == generation && self.shown.as_ref().is_some_and(|shown| shown.as_deref() == bytes) {
            return Ok(());
        }
        self.shown = None;
        self.generation = generation;
        auth::check(&mut self.intake, bytes)?;
        self.shown = Some(bytes.map(Box::from));
        Ok(())
    }
}

/// The seats of one connection.
pub(super) struct Seats {
    gate: Arc<dyn Gate>,
    origin: Origin,
    hold: Duration,
    free: Mutex<Vec<Seat>>,
}

impl Seats {
    pub(super) fn new(gate: Arc<dyn Gate>, origin: Origin, hold: Duration) -> Self {
        // HTTP/1 never needs more than one.
        Seats { gate, origin, hold, free: Mutex::new(Vec::with_capacity(1)) }
    }

    /// A free seat, or a new one.
    pub(super) fn take(&self) -> Seat {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Seat::new(&self.gate, self.origin.clone(), self.hold))
    }

    /// Gives a seat back. One whose request was cancelled is lost instead.
    pub(super) fn give_back(&self, seat: Seat) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < FREE_SEATS_MAX {
            free.push(seat);
        }
    }
}

/// One timer for all waits of a seat. It stays armed for an earlier time and moves on when it rings too early, so that a
/// request that is answered in time never touches the runtime's timer wheel.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    fn new() -> Self {
        Timer(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// Ready at `deadline`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        loop {
            if self.0.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn the_timer_rings_at_the_deadline_asked_for() {
        let mut timer = Timer::new();
        for wait in [5, 1, 30, 2] {
            let deadline = Instant::now() + Duration::from_secs(wait);
            poll_fn(|cx| timer.poll(cx, deadline)).await;
            let late = Instant::now() - deadline;
            assert!(late < Duration::from_millis(5), "{wait} s: {late:?} late");
        }
    }
}
