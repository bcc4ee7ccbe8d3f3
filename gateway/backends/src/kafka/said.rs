//! The last log lines of librdkafka, kept for the moment when somebody needs them.
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most lines that are kept.
const LINES: usize = 32;
/// Most characters of a line.
const CHARACTERS: usize = 300;

/// The last [`LINES`] lines, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<VecDeque<(Instant, String)>>);

impl Said {
    pub(crate) fn note(&self, what: &str, text: &str) {
        let line = what.chars().chain(": ".chars()).chain(text.chars()).take(CHARACTERS).collect();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back((Instant::now(), line));
    }

    /// All lines and how long ago they were said; they are not told again.
    pub(crate) fn take(&self) -> Vec<(Duration, String)> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        lines.into_iter().map(|(at, line)| (at.elapsed(), line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_told_once() {
        let said = Said::default();
        for n in 0..LINES + 3 {
            said.note("FAIL", &format!("{n} {}", "é".repeat(CHARACTERS)));
        }
        let lines = said.take();
        assert_eq!(lines.len(), LINES);
        assert!(lines[0].1.starts_with("FAIL: 3 é"), "{}", lines[0].1);
        assert!(lines.iter().all(|(_, line)| line.chars().count() == CHARACTERS));
        assert!(said.take().is_empty());
    }
}
