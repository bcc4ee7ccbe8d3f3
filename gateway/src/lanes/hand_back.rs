//! The end of a loop whose lane goes on with another instance of its backend, or goes away.
//!
//! It reads no more and tries nothing again, but what is under way may still be confirmed: what is confirmed is not delivered
//! twice. What waits for another try, and what was not confirmed in time, is not done, and so the next reader of the lane finds it.
use super::run::Runner;
use crate::clock;
use std::time::Duration;
use transports::net::Shutdown;

/// How long outcomes of what is under way are waited for.
pub const HAND_BACK: Duration = Duration::from_secs(20);

impl Runner {
    /// On this signal it hands back and ends.
    #[must_use]
    pub fn hands_back_on(mut self, signal: Shutdown) -> Self {
        self.hand_back = Some(signal);
        self
    }

    /// It was asked to: senders of direct events find the window closed, and those in it are served.
    pub(super) fn hand_back(&mut self) {
        self.leaving = Some(clock::now() + HAND_BACK);
        self.directs.close();
    }

    /// Whether nothing is left to wait for, or the time is over.
    pub(super) fn has_handed_back(&self) -> bool {
        let Some(until) = self.leaving else { return false };
        let direct = self.directs.is_taken();
        let all = self.flights.is_empty() && self.letters.is_empty() && self.unsynced.is_empty() && direct;
        if !all && until <= clock::now() {
            tracing::warn!(
                backend = %self.lane.name,
                events = self.under_way.0,
                "the backend did not confirm in time; what was under way is delivered again"
            );
        }
        all || until <= clock::now()
    }
}

/// Ready when the signal fires; never without one.
pub(super) async fn asked(signal: &mut Option<Shutdown>) {
    match signal {
        Some(signal) => signal.fired().await,
        None => std::future::pending().await,
    }
}
