//! Repeats: a line that says what another said within ten seconds is counted instead of written.
//!
//! Bounded: when too many different lines are remembered, the oldest is forgotten, its count written first.
use super::line::Line;
use jiff::Timestamp;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long after a line the same line is counted.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Different lines that are remembered.
pub(super) const LINES_MAX: usize = 256;

struct Seen {
    line: Line,
    since: Instant,
    more: u64,
}

/// The lines of the last seconds.
#[derive(Default)]
pub(super) struct Repeats {
    seen: HashMap<u64, Seen>,
}

impl Repeats {
    /// What is to be written for a new line: nothing, or the line with the counts that are due before it.
    pub(super) fn take(&mut self, line: Line, now: Instant) -> Vec<Line> {
        let key = line.key();
        if let Some(seen) = self.seen.get_mut(&key)
            && now.duration_since(seen.since) < WINDOW
        {
            seen.more += 1;
            return Vec::new();
        }
        let mut out: Vec<Line> = self.seen.remove(&key).and_then(|seen| count(seen, now)).into_iter().collect();
        if self.seen.len() >= LINES_MAX
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, seen)| seen.since).map(|(key, _)| *key)
        {
            out.extend(self.seen.remove(&oldest).and_then(|seen| count(seen, now)));
        }
        self.seen.insert(key, Seen { line: line.clone(), since: now, more: 0 });
        out.push(line);
        out
    }

    /// The counts of lines whose time is over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Line> {
        let over: Vec<u64> = self
            .seen
            .iter()
            .filter(|(_, seen)| now.duration_since(seen.since) >= WINDOW)
            .map(|(key, _)| *key)
            .collect();
        over.into_iter().filter_map(|key| self.seen.remove(&key)).filter_map(|seen| count(seen, now)).collect()
    }

    /// All counts.
    pub(super) fn all(&mut self, now: Instant) -> Vec<Line> {
        self.seen.drain().filter_map(|(_, seen)| count(seen, now)).collect()
    }
}

fn count(seen: Seen, now: Instant) -> Option<Line> {
    let seconds = now.duration_since(seen.since).as_secs_f64().ceil().clamp(1.0, WINDOW.as_secs_f64());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10")]
    let seconds = seconds as u64;
    (seen.more > 0).then(|| Line { more: Some((seen.more, seconds)), time: Timestamp::now(), ..seen.line })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tracing::Level;

    fn line(message: &str) -> Line {
        let (target, message) = ("gateway::lanes".to_owned(), message.to_owned());
        Line { time: Timestamp::now(), level: Level::WARN, target, message, fields: Vec::new(), more: None }
    }

    #[test]
    fn repeats_are_counted_and_the_count_follows() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.take(line("a"), start).len(), 1);
        for n in 1..=14 {
            assert!(repeats.take(line("a"), start + Duration::from_millis(n * 100)).is_empty());
        }
        assert_eq!(repeats.take(line("b"), start).len(), 1);
        assert!(repeats.due(start + Duration::from_secs(9)).is_empty());
        let due = repeats.due(start + WINDOW);
        assert_eq!(
            due.iter().map(|line| (line.message.as_str(), line.more)).collect::<Vec<_>>(),
            [("a", Some((14, 10)))]
        );
        // Said again after the window: a new line.
        assert_eq!(repeats.take(line("a"), start + WINDOW).len(), 1);
    }

    #[test]
    fn a_line_after_the_window_brings_its_count() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        repeats.take(line("a"), start);
        repeats.take(line("a"), start + Duration::from_secs(1));
        let out = repeats.take(line("a"), start + WINDOW);
        assert_eq!(out.iter().map(|line| line.more).collect::<Vec<_>>(), [Some((1, 10)), None]);
    }

    #[test]
    fn memory_is_bounded_and_no_count_is_lost() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        repeats.take(line("first"), start);
        repeats.take(line("first"), start);
        let mut counts = 0;
        for n in 0..LINES_MAX * 2 {
            let out = repeats.take(line(&n.to_string()), start + Duration::from_millis(1));
            counts += out.iter().filter(|line| line.more == Some((1, 1))).count();
        }
        assert_eq!((repeats.seen.len(), counts), (LINES_MAX, 1));
    }

    #[test]
    fn at_the_end_all_counts_are_written() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        repeats.take(line("a"), start);
        repeats.take(line("a"), start);
        assert_eq!(repeats.all(start + Duration::from_secs(3)).first().unwrap().more, Some((1, 3)));
    }
}
