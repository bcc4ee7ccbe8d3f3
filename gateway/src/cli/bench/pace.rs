//! When the next message is due, and from when its time counts.
//!
//! Open loop: messages are due at fixed times, whether or not earlier ones were answered, and their time counts from when they
//! were due. So a server that stops for a while is charged for all that had to wait (no coordinated omission).
use std::time::{Duration, Instant};
use tokio::time::sleep_until;

/// What a timer may be late without being counted: tokio's timers tick in milliseconds. Only for a sender that slept until its
/// message was due; one that was busy, because no answer came, is counted in full.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// How long after the end a message that was due before it is still sent.
const GRACE: Duration = Duration::from_millis(20);

/// The times of one connection.
#[derive(Clone, Debug)]
pub struct Pace {
    first: Instant,
    /// Between two messages of this connection; `None` is the closed loop.
    gap: Option<Duration>,
    sent: u32,
    base: Instant,
    end: Instant,
}

impl Pace {
    /// The times of connection `number` of `connections`, for `rate` messages per second of all; `None`: as fast as answers come.
    pub fn new(start: Instant, end: Instant, rate: Option<f64>, number: usize, connections: usize) -> Pace {
        let of = |messages: usize| {
            rate.map(|rate| Duration::from_secs_f64(f64::from(u32::try_from(messages).unwrap_or(u32::MAX)) / rate))
        };
        let first = start + of(number).unwrap_or_default();
        Pace { first, gap: of(connections), sent: 0, base: first, end }
    }

    /// When the next message is due. In the closed loop it always is.
    pub fn due(&self) -> Instant {
        match self.gap {
            Some(gap) => self.base + gap * self.sent,
            None => self.first,
        }
    }

    /// Whether no message is due any more. What was due just before the end is still sent.
    pub fn is_over(&self) -> bool {
        let grace = if self.gap.is_some() { GRACE } else { Duration::ZERO };
        Instant::now() >= self.end + grace || self.due() >= self.end
    }

    /// Waits until the next message is due. Returns from when its time counts.
    pub async fn wait(&mut self) -> Instant {
        let due = self.due();
        if Instant::now() >= due {
            return self.take(false);
        }
        sleep_until(due.into()).await;
        self.take(true)
    }

    /// Takes the next message, if it is due.
    pub fn take_due(&mut self, slept: bool) -> Option<Instant> {
        (Instant::now() >= self.due() && !self.is_over()).then(|| self.take(slept))
    }

    fn take(&mut self, slept: bool) -> Instant {
        let (due, now) = (self.due(), Instant::now());
        let Some(gap) = self.gap else { return now };
        self.sent += 1;
        if self.sent == u32::MAX {
            (self.base, self.sent) = (self.base + gap * self.sent, 0);
        }
        if slept && now.saturating_duration_since(due) < TIMER_SLACK { now } else { due }
    }

    /// Messages that were due and not sent when the time was over.
    pub fn behind(&self) -> u64 {
        let Some(gap) = self.gap.filter(|gap| !gap.is_zero()) else { return 0 };
        let left = self.end.saturating_duration_since(self.due());
        u64::try_from(left.as_nanos().div_ceil(gap.as_nanos())).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_the_rate_evenly() {
        let start = Instant::now();
        let end = start + Duration::from_secs(10);
        let mut second = Pace::new(start, end, Some(100.0), 1, 4);
        assert_eq!(second.due(), start + Duration::from_millis(10));
        assert_eq!(second.behind(), 250, "1,000 messages are due in 10 s, a quarter of them here");
        second.take(false);
        assert_eq!(second.due(), start + Duration::from_millis(50));
        assert_eq!(second.behind(), 249);
    }

    #[test]
    fn time_counts_from_when_it_was_due() {
        let start = Instant::now().checked_sub(Duration::from_millis(500)).expect("the machine runs longer than that");
        let mut pace = Pace::new(start, start + Duration::from_secs(5), Some(1000.0), 0, 1);
        assert_eq!(pace.take_due(false), Some(start), "half a second late, and counted");
        assert_eq!(pace.take_due(true), Some(start + Duration::from_millis(1)), "no slack for so much");
        let mut closed = Pace::new(start, start + Duration::from_secs(5), None, 0, 1);
        assert!(closed.take_due(false).is_some_and(|from| from.elapsed() < Duration::from_millis(100)));
        assert_eq!(closed.behind(), 0);
    }
}
