//! Whether a producer stands still: records are under way, brokers answer, every partition has a leader, and no report comes.
//!
//! librdkafka waits for ever (`message.timeout.ms=0`), which is right while brokers are away. Once in a while it also waits
//! when they are back: it has lost a partition's leader, or a request without an answer. A new producer asks anew.
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Doublings of the patience at most: a topic that cannot confirm (too few replicas in sync) looks the same from here, and gets a
/// new producer every 32 minutes then, with the default patience.
const DOUBLINGS: u32 = 4;

/// Looked at with each probe.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// A report came since the last look.
    reported: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first look of this silence.
    since: Option<Instant>,
    /// Producers that were replaced in it.
    replaced: u32,
}

impl Stall {
    /// A broker's answer about a record came, good or bad. Not for what we throw out ourselves.
    pub(crate) fn reported(&self) {
        // Every confirmation comes by here, and most often it says so already.
        if !self.reported.load(Ordering::Relaxed) {
            self.reported.store(true, Ordering::Relaxed);
        }
    }

    /// Brokers have just answered something else, and `waiting` says whether records are under way. How long there was no
    /// report, when that is longer than `patience`, which doubles with each producer that did not help; asked again, a new
    /// silence begins.
    pub(crate) fn look(&self, waiting: bool, patience: Duration, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reported.swap(false, Ordering::Relaxed) {
            *state = State::default();
        }
        if !waiting {
            state.since = None;
            return None;
        }
        let silence = now.saturating_duration_since(*state.since.get_or_insert(now));
        if silence < patience * (1 << state.replaced.min(DOUBLINGS)) {
            return None;
        }
        state.replaced += 1;
        state.since = None;
        Some(silence)
    }

    /// Whether a report came since the last look: whatever that look found is no longer so.
    pub(crate) fn is_over(&self) -> bool {
        self.reported.load(Ordering::Relaxed)
    }

    /// The producer was replaced, or brokers or leaders were away: silence is counted anew.
    pub(crate) fn begin_anew(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn only_silence_while_records_are_under_way() {
        let (stall, start) = (Stall::default(), Instant::now());
        let look = |waiting, seconds| stall.look(waiting, PATIENCE, start + Duration::from_secs(seconds));
        assert_eq!(look(true, 0), None, "the silence begins with the first look");
        assert_eq!(look(true, 29), None);
        stall.reported();
        assert_eq!(look(true, 40), None, "a report came");
        assert_eq!(look(false, 60), None, "nothing is under way");
        assert_eq!(look(true, 200), None, "what came meanwhile has just begun");
        assert_eq!(look(true, 229), None);
        assert_eq!(look(true, 231), Some(Duration::from_secs(31)));
    }

    #[test]
    fn patience_doubles_until_a_report_comes() {
        let (stall, start) = (Stall::default(), Instant::now());
        let look = |seconds| stall.look(true, PATIENCE, start + Duration::from_secs(seconds)).is_some();
        assert!(!look(0) && look(30), "first");
        assert!(!look(31) && !look(90) && look(91), "second: 60 s");
        assert!(!look(92));
        stall.begin_anew();
        assert!(!look(300) && !look(419) && look(420), "brokers were away; third: 120 s");
        assert!(!stall.is_over(), "nothing came since that look");
        stall.reported();
        assert!(stall.is_over(), "a report came after the look: the producer stays");
        assert!(!look(500) && look(530), "a report came: 30 s again");
    }
}
