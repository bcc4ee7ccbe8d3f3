//! How far one lane is: which of its events were handed out and are not done, and which are done ahead of the others.
//!
//! Memory grows with what is *open* (handed out, not done), not with what is done. Only what a cursor can say is kept:
//! `low` (everything of the lane below is done), and ranges of done events above it.

use std::collections::BTreeMap;

use crate::format::cursor::{Cursor, Range};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The reader has passed everything up to here.
    frontier: u64,
    /// Events of the lane up to the frontier, since the log began.
    passed: u64,
    /// Handed out and not done, each with how many done events follow before the next open one.
    open: BTreeMap<u64, u32>,
    /// Done above the frontier: start → (end, events).
    ahead: BTreeMap<u64, (u64, u32)>,
}

impl Tracker {
    pub(crate) const fn new() -> Self {
        Self { frontier: 0, passed: 0, open: BTreeMap::new(), ahead: BTreeMap::new() }
    }

    pub(crate) fn restore(cursor: &Cursor) -> Self {
        let mut ahead = BTreeMap::new();
        for Range { start, end, events } in &cursor.ranges {
            ahead.insert(*start, (*end, *events));
        }
        Self { frontier: cursor.low.saturating_sub(1), passed: cursor.passed, open: BTreeMap::new(), ahead }
    }

    /// Everything below is done.
    pub(crate) fn low(&self) -> u64 {
        self.open.first_key_value().map_or(self.frontier + 1, |(lsn, _)| *lsn)
    }

    pub(crate) const fn frontier(&self) -> u64 {
        self.frontier
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Events of the lane that are done, since the log began.
    pub(crate) fn settled(&self) -> u64 {
        let ahead: u64 = self.ahead.values().map(|(_, events)| u64::from(*events)).sum();
        self.passed.saturating_sub(self.open.len() as u64) + ahead
    }

    fn is_ahead(&self, lsn: u64) -> bool {
        self.ahead.range(..=lsn).next_back().is_some_and(|(_, (end, _))| *end >= lsn)
    }

    pub(crate) fn is_done(&self, lsn: u64) -> bool {
        if lsn <= self.frontier { !self.open.contains_key(&lsn) } else { self.is_ahead(lsn) }
    }

    /// The reader met an event of the lane; `true`: hand it out.
    pub(crate) fn meet(&mut self, lsn: u64) -> bool {
        if lsn <= self.frontier {
            return false;
        }
        self.passed += 1;
        let done = self.is_ahead(lsn);
        self.frontier = lsn;
        if done {
            // Counted in `passed` from now on.
            if let Some((_, (_, events))) = self.ahead.range_mut(..=lsn).next_back() {
                *events = events.saturating_sub(1);
            }
            self.follow(1);
        } else {
            self.open.insert(lsn, 0);
        }
        self.trim();
        !done
    }

    /// The reader met an event that nobody can read: it counts as done.
    pub(crate) fn lose(&mut self, lsn: u64) {
        if self.meet(lsn) {
            self.done(lsn);
        }
    }

    /// The reader has passed everything up to `lsn`.
    pub(crate) fn pass(&mut self, lsn: u64) -> bool {
        let moved = lsn > self.frontier;
        if moved {
            self.frontier = lsn;
            self.trim();
        }
        moved
    }

    /// All the lane's events up to the frontier are `passed`, says a segment header: what is missing is gone for good
    /// (recycled when it was done, or damaged).
    pub(crate) fn reconcile(&mut self, passed: u64) {
        if let Some(missing) = passed.checked_sub(self.passed).filter(|missing| *missing > 0) {
            self.passed = passed;
            self.follow(u32::try_from(missing).unwrap_or(u32::MAX));
        }
    }

    /// `count` done events follow the last open one.
    fn follow(&mut self, count: u32) {
        if let Some((_, after)) = self.open.iter_mut().next_back() {
            *after = after.saturating_add(count);
        }
    }

    fn trim(&mut self) {
        while let Some((start, (end, _))) = self.ahead.first_key_value().map(|(start, rest)| (*start, *rest)) {
            if end > self.frontier {
                break;
            }
            self.ahead.remove(&start);
        }
    }

    /// Marks an event of the lane done; `false` if it was so before.
    pub(crate) fn done(&mut self, lsn: u64) -> bool {
        if let Some(after) = self.open.remove(&lsn) {
            if let Some((_, before)) = self.open.range_mut(..lsn).next_back() {
                *before = before.saturating_add(after).saturating_add(1);
            }
            return true;
        }
        if lsn <= self.frontier || self.is_ahead(lsn) {
            return false;
        }
        if let Some((_, (end, events))) = self.ahead.range_mut(..lsn).next_back()
            && *end + 1 == lsn
        {
            (*end, *events) = (lsn, events.saturating_add(1));
        } else {
            self.ahead.insert(lsn, (lsn, 1));
        }
        true
    }

    /// Whether nothing of the lane within `first..=last` is needed any more.
    pub(crate) fn is_past(&self, first: u64, last: u64) -> bool {
        self.frontier >= last && self.open.range(first..=last).next().is_none()
    }

    /// What a cursor would say now; `flight` carries the exits of those in flight.
    pub(crate) fn snapshot(&self, exits: &BTreeMap<u64, u32>) -> Cursor {
        let behind: u64 = self.open.values().map(|after| u64::from(*after) + 1).sum();
        let mut ranges = Vec::new();
        let mut opens = self.open.iter().peekable();
        while let Some((lsn, after)) = opens.next() {
            let end = opens.peek().map_or(self.frontier, |(next, _)| **next - 1);
            if *after > 0 {
                ranges.push(Range { start: lsn + 1, end, events: *after });
            }
        }
        ranges.extend(self.ahead.iter().map(|(start, (end, events))| Range {
            start: (*start).max(self.frontier + 1),
            end: *end,
            events: *events,
        }));
        let flight = self.open.keys().map(|lsn| (*lsn, exits.get(lsn).copied().unwrap_or(0))).collect();
        Cursor {
            generation: 0,
            low: self.low(),
            passed: self.passed.saturating_sub(behind),
            ranges,
            flight,
            state: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(tracker: &Tracker) -> Tracker {
        Tracker::restore(&tracker.snapshot(&BTreeMap::new()))
    }

    /// Events 10, 20, … 60 of the lane; done out of order, saved and read again at every step.
    #[test]
    fn what_is_done_stays_done_and_what_is_open_comes_again() {
        let mut tracker = Tracker::new();
        for lsn in [10, 20, 30, 40] {
            assert!(tracker.meet(lsn));
        }
        assert!(tracker.done(30) && tracker.done(20) && !tracker.done(30));
        assert!(tracker.done(60), "ahead of the reader");
        assert_eq!((tracker.low(), tracker.open(), tracker.settled()), (10, 2, 3));
        let mut again = restored(&tracker);
        assert_eq!(again.settled(), 3);
        let handed: Vec<u64> = [10, 20, 30, 40, 50, 60].into_iter().filter(|lsn| again.meet(*lsn)).collect();
        assert_eq!(handed, [10, 40, 50]);
        assert_eq!(again.settled(), 3);
        for lsn in handed {
            assert!(again.done(lsn) && again.is_done(lsn));
        }
        assert_eq!((again.low(), again.open(), again.settled()), (61, 0, 6));
        assert_eq!(restored(&again).settled(), 6);
        assert!(again.is_past(1, 60) && !again.is_past(1, 61));
    }

    #[test]
    fn a_header_settles_what_is_gone() {
        let mut tracker = Tracker::new();
        tracker.meet(10);
        tracker.reconcile(5);
        assert_eq!(tracker.settled(), 4);
        tracker.done(10);
        assert_eq!((tracker.settled(), tracker.low()), (5, 11));
    }
}
