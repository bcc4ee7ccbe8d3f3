//! The pace of a lane: whether it may take more, and when it looks again without being woken.
use super::run::Runner;
use crate::clock;
use std::time::Duration;

/// Most bytes of events under way to one backend.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Most events under way to one backend.
const WINDOW_EVENTS: usize = 20_000;
/// After this time without a confirmation the far end is probed, and what the probe says is said.
const SLOW: Duration = Duration::from_secs(5);
/// How often deadlines and dead letters that found no room are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Runner {
    /// Whether the backend may be given more.
    pub(super) fn has_window(&self) -> bool {
        self.under_way.0 < WINDOW_EVENTS && self.under_way.1 < WINDOW_BYTES
    }

    /// Whether stored events may be given to the backend: the lane is not held, does not end, and has no suspect under way.
    pub(super) fn may_retry(&self) -> bool {
        let held = self.lane.health.trouble().is_some_and(|trouble| trouble.destination);
        !held && self.leaving.is_none() && self.may_add()
    }

    /// Whether events may come from the journal.
    pub(super) fn can_read(&self) -> bool {
        self.known && self.may_retry() && self.has_window() && self.strands.has_room() && self.letters.is_empty()
    }

    /// Whether the oldest delivery under way waits for its confirmation for too long: a producer that retries by itself would
    /// wait for ever, and nobody would know.
    pub(super) fn is_slow(&self) -> bool {
        self.began.first_key_value().is_some_and(|(_, began)| clock::since(began.at) > SLOW)
    }

    /// How long the loop may sleep when nothing wakes it.
    pub(super) fn next_tick(&self) -> Duration {
        let now = clock::now();
        if let Some(rest) = self.rest {
            return rest.saturating_duration_since(now);
        }
        let open = !self.unsynced.is_empty() || !self.letters.is_empty() || !self.directs.is_empty();
        let look = if open { LOOK_EVERY } else { Duration::from_secs(1) };
        // What may not leave yet is not due: it is looked at when what it waits for has come.
        let strands = self.strands.next_due().filter(|_| self.may_retry());
        let due = strands.into_iter().chain(self.probe_due).chain(self.directs.pause()).min();
        due.map_or(look, |due| due.saturating_duration_since(now).min(look)).max(Duration::from_millis(1))
    }
}
