//! How fast the journal's ring or a backlog fills, and so when it will be full: an alarm before it is, not only a percentage.
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a sample is kept.
const EVERY: Duration = Duration::from_secs(10);
/// Samples kept: the rate is that of the last five minutes.
const SAMPLES: usize = 31;
/// A rate is not believed before it has been watched for so long.
const WATCHED: Duration = Duration::from_secs(20);
/// Below this time to full people are warned.
pub const SOON: Duration = Duration::from_secs(30 * 60);

/// Samples of how much is used.
#[derive(Debug, Default)]
pub struct Filling(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    samples: VecDeque<(Instant, u64)>,
    warned: bool,
}

/// What a new sample means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It will be full in less than [`SOON`].
    Soon(Duration),
    /// Not any more.
    NoLonger,
}

impl Filling {
    /// Notes how many bytes are used; says so when the outlook has changed. A capacity of 0 is no limit.
    pub fn note(&self, now: Instant, used: u64, capacity: u64) -> Option<Change> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.samples.back().is_some_and(|(at, _)| now.saturating_duration_since(*at) < EVERY) {
            return None;
        }
        state.samples.push_back((now, used));
        if state.samples.len() > SAMPLES {
            state.samples.pop_front();
        }
        let soon = left(&state.samples, capacity).filter(|left| *left < SOON);
        match (soon, state.warned) {
            (Some(left), false) => {
                state.warned = true;
                Some(Change::Soon(left))
            }
            (None, true) => {
                state.warned = false;
                Some(Change::NoLonger)
            }
            (Some(_), true) | (None, false) => None,
        }
    }

    /// When it is full if it goes on like this; `None` when it does not fill.
    pub fn time_to_full(&self, capacity: u64) -> Option<Duration> {
        left(&self.0.lock().unwrap_or_else(PoisonError::into_inner).samples, capacity)
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn left(samples: &VecDeque<(Instant, u64)>, capacity: u64) -> Option<Duration> {
    let ((first, then), (last, now)) = (samples.front()?, samples.back()?);
    let watched = last.saturating_duration_since(*first);
    if watched < WATCHED || now <= then || capacity == 0 {
        return None;
    }
    let seconds = capacity.saturating_sub(*now) as f64 * watched.as_secs_f64() / (now - then) as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_outlook_is_told_once_and_taken_back() {
        let (filling, start) = (Filling::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let capacity = 10_000;
        assert_eq!(filling.note(at(0), 0, capacity), None);
        assert_eq!(filling.note(at(5), 900, capacity), None, "too early for a sample");
        assert_eq!(filling.note(at(10), 100, capacity), None, "not watched for long enough");
        // 10 a second: 9,800 left.
        assert_eq!(filling.note(at(20), 200, capacity), Some(Change::Soon(Duration::from_secs(980))));
        assert_eq!(filling.note(at(30), 300, capacity), None, "once");
        assert_eq!(filling.time_to_full(capacity), Some(Duration::from_secs(970)));
        assert_eq!(filling.note(at(40), 0, capacity), Some(Change::NoLonger));
        assert_eq!(filling.time_to_full(capacity), None);
    }
}
