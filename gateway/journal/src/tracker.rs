//! How far one lane is: which of its events were handed out and are not done, and which are done ahead of the others.
//!
//! Memory grows with what is *open* (handed out, not done), not with what is done. Only what a cursor can say is kept:
//! `low` (everything of the lane below is done), and ranges of done events above it. Bytes of bodies are kept beside the
//! counts; see `account` for how exact they are.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::format::cursor::{Cursor, MAX_FLIGHT, Range};

/// An event as a reader meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub lsn: u64,
    /// Bytes of its body.
    pub len: u32,
    /// Its sender got a receipt.
    pub owed: bool,
}

/// Handed out and not done.
#[derive(Clone, Copy, Debug)]
struct Open {
    len: u32,
    owed: bool,
    /// Done events that follow before the next open one.
    after: u32,
    /// Their bytes.
    after_bytes: u64,
}

/// Done above the frontier.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    end: u64,
    /// Not met yet.
    events: u32,
    bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The reader has passed everything up to here.
    frontier: u64,
    /// Events of the lane up to the frontier, since the log began.
    passed: u64,
    /// Bytes of their bodies.
    passed_bytes: u64,
    open: BTreeMap<u64, Open>,
    open_bytes: u64,
    /// Of the open ones: those whose sender got no receipt.
    unowed: BTreeSet<u64>,
    unowed_bytes: u64,
    /// Done ranges by their start, and what is in them together.
    ahead: BTreeMap<u64, Ahead>,
    ahead_events: u64,
    ahead_bytes: u64,
}

impl Tracker {
    pub(crate) const fn new() -> Self {
        Self {
            frontier: 0,
            passed: 0,
            passed_bytes: 0,
            open: BTreeMap::new(),
            open_bytes: 0,
            unowed: BTreeSet::new(),
            unowed_bytes: 0,
            ahead: BTreeMap::new(),
            ahead_events: 0,
            ahead_bytes: 0,
        }
    }

    pub(crate) fn restore(cursor: &Cursor) -> Self {
        let mut tracker = Self {
            frontier: cursor.low.saturating_sub(1),
            passed: cursor.passed,
            passed_bytes: cursor.passed_bytes.unwrap_or(0),
            ..Self::new()
        };
        for Range { start, end, events, bytes } in cursor.ranges.iter().copied() {
            tracker.ahead.insert(start, Ahead { end, events, bytes });
            tracker.ahead_events += u64::from(events);
            tracker.ahead_bytes += bytes;
        }
        tracker
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
        self.passed.saturating_sub(self.open.len() as u64) + self.ahead_events
    }

    /// Bytes of their bodies.
    pub(crate) const fn settled_bytes(&self) -> u64 {
        self.passed_bytes.saturating_sub(self.open_bytes) + self.ahead_bytes
    }

    /// Bytes of the open events whose sender got no receipt.
    pub(crate) const fn unowed_bytes(&self) -> u64 {
        self.unowed_bytes
    }

    /// The oldest open event whose sender got no receipt, with its length.
    pub(crate) fn oldest_unowed(&self) -> Option<(u64, u32)> {
        let lsn = *self.unowed.first()?;
        Some((lsn, self.open.get(&lsn)?.len))
    }

    /// Bytes of those that stand before `lsn`.
    pub(crate) fn unowed_before(&self, lsn: u64) -> u64 {
        self.unowed.range(..lsn).filter_map(|lsn| self.open.get(lsn)).map(|open| u64::from(open.len)).sum()
    }

    fn is_ahead(&self, lsn: u64) -> bool {
        self.ahead.range(..=lsn).next_back().is_some_and(|(_, ahead)| ahead.end >= lsn)
    }

    pub(crate) fn is_done(&self, lsn: u64) -> bool {
        if lsn <= self.frontier { !self.open.contains_key(&lsn) } else { self.is_ahead(lsn) }
    }

    /// The reader met an event of the lane; `true`: hand it out.
    pub(crate) fn meet(&mut self, met: Met) -> bool {
        let Met { lsn, len, owed } = met;
        if lsn <= self.frontier {
            return false;
        }
        // What is done before it follows an open event before it.
        self.pass(lsn - 1);
        self.passed += 1;
        self.passed_bytes += u64::from(len);
        let done = self.is_ahead(lsn);
        self.frontier = lsn;
        if done {
            // Counted in `passed` from now on.
            if let Some(start) = self.ahead.range(..=lsn).next_back().map(|(start, _)| *start) {
                self.take_ahead(start, 1, u64::from(len));
            }
            self.follow(1, u64::from(len));
        } else {
            self.open.insert(lsn, Open { len, owed, after: 0, after_bytes: 0 });
            self.open_bytes += u64::from(len);
            if !owed {
                self.unowed.insert(lsn);
                self.unowed_bytes += u64::from(len);
            }
        }
        self.trim();
        !done
    }

    /// The reader met an event that nobody can read: it counts as done.
    pub(crate) fn lose(&mut self, met: Met) {
        if self.meet(met) {
            self.done(met.lsn);
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

    /// All the lane's events up to the frontier are `passed`, with so many bytes, says a segment header: what is missing is
    /// gone for good (recycled when it was done, or damaged).
    pub(crate) fn reconcile(&mut self, passed: u64, bytes: u64) {
        let missing = u32::try_from(passed.saturating_sub(self.passed)).unwrap_or(u32::MAX);
        let missing_bytes = bytes.saturating_sub(self.passed_bytes);
        self.passed = passed;
        self.passed_bytes = bytes;
        self.follow(missing, missing_bytes);
        // A done range may begin before the frontier and end behind it: its part before it is among what was missing.
        if let Some(start) =
            self.ahead.first_key_value().map(|(start, _)| *start).filter(|start| *start <= self.frontier)
        {
            self.take_ahead(start, missing, missing_bytes);
        }
    }

    /// Takes events out of the done range at `start` that are counted in `passed` now, as many as are in it.
    fn take_ahead(&mut self, start: u64, events: u32, bytes: u64) {
        let Some(ahead) = self.ahead.get_mut(&start) else { return };
        let (events, bytes) = (events.min(ahead.events), bytes.min(ahead.bytes));
        ahead.events -= events;
        ahead.bytes -= bytes;
        self.ahead_events -= u64::from(events);
        self.ahead_bytes -= bytes;
    }

    /// Everything up to `last` is done, and that are `passed` events with so many bytes.
    pub(crate) fn settle_all(&mut self, last: u64, passed: u64, bytes: u64) {
        *self = Self { frontier: last.max(self.frontier), passed, passed_bytes: bytes, ..Self::new() };
    }

    /// `count` done events follow the last open one.
    fn follow(&mut self, count: u32, bytes: u64) {
        if let Some((_, open)) = self.open.iter_mut().next_back() {
            open.after = open.after.saturating_add(count);
            open.after_bytes = open.after_bytes.saturating_add(bytes);
        }
    }

    /// Done ranges that the frontier has passed are done events below it. Those that were not met are in no segment any more.
    fn trim(&mut self) {
        while let Some((start, gone)) = self.ahead.first_key_value().map(|(start, gone)| (*start, *gone)) {
            if gone.end > self.frontier {
                break;
            }
            self.ahead.remove(&start);
            self.ahead_events -= u64::from(gone.events);
            self.ahead_bytes -= gone.bytes;
            // All were met: bytes that are left were reckoned.
            if gone.events > 0 {
                self.passed += u64::from(gone.events);
                self.passed_bytes += gone.bytes;
                self.follow(gone.events, gone.bytes);
            }
        }
    }

    /// Marks an event of the lane done; `false` if it was so before.
    pub(crate) fn done(&mut self, lsn: u64) -> bool {
        if let Some(gone) = self.open.remove(&lsn) {
            self.open_bytes -= u64::from(gone.len);
            if !gone.owed && self.unowed.remove(&lsn) {
                self.unowed_bytes -= u64::from(gone.len);
            }
            if let Some((_, before)) = self.open.range_mut(..lsn).next_back() {
                before.after = before.after.saturating_add(gone.after).saturating_add(1);
                before.after_bytes =
                    before.after_bytes.saturating_add(gone.after_bytes).saturating_add(u64::from(gone.len));
            }
            return true;
        }
        if lsn <= self.frontier || self.is_ahead(lsn) {
            return false;
        }
        // Its length is not known before the reader meets it.
        let mean = self.passed_bytes / self.passed.max(1);
        self.ahead_events += 1;
        self.ahead_bytes += mean;
        if let Some((_, before)) = self.ahead.range_mut(..lsn).next_back()
            && before.end + 1 == lsn
        {
            let events = before.events.saturating_add(1);
            *before = Ahead { end: lsn, events, bytes: before.bytes + mean };
        } else {
            self.ahead.insert(lsn, Ahead { end: lsn, events: 1, bytes: mean });
        }
        true
    }

    /// Whether nothing of the lane within `first..=last` is needed any more.
    pub(crate) fn is_past(&self, first: u64, last: u64) -> bool {
        self.frontier >= last && self.open.range(first..=last).next().is_none()
    }

    /// What a cursor would say now; `flight` carries the exits of those in flight, which the parked are not.
    pub(crate) fn snapshot(&self, exits: &BTreeMap<u64, u32>, parked: &BTreeSet<u64>) -> Cursor {
        let behind: u64 = self.open.values().map(|open| u64::from(open.after) + 1).sum();
        let behind_bytes: u64 = self.open.values().map(|open| open.after_bytes + u64::from(open.len)).sum();
        let mut ranges = Vec::new();
        let mut opens = self.open.iter().peekable();
        while let Some((lsn, open)) = opens.next() {
            let end = opens.peek().map_or(self.frontier, |(next, _)| **next - 1);
            if open.after > 0 {
                ranges.push(Range { start: lsn + 1, end, events: open.after, bytes: open.after_bytes });
            }
        }
        ranges.extend(self.ahead.iter().map(|(start, ahead)| Range {
            start: (*start).max(self.frontier + 1),
            end: ahead.end,
            events: ahead.events,
            bytes: ahead.bytes,
        }));
        Cursor {
            generation: 0,
            low: self.low(),
            passed: self.passed.saturating_sub(behind),
            ranges,
            flight: self.flight(exits, parked),
            state: Vec::new(),
            passed_bytes: Some(self.passed_bytes.saturating_sub(behind_bytes)),
        }
    }

    /// Those in flight, as many as a cursor has room for: first those that were so at most unclean exits, then the newest,
    /// because a process that dies of an event does so soon after it was handed out.
    fn flight(&self, exits: &BTreeMap<u64, u32>, parked: &BTreeSet<u64>) -> Vec<(u64, u32)> {
        let flying = self.open.keys().filter(|lsn| !parked.contains(lsn));
        let mut flight: Vec<_> = flying.map(|lsn| (*lsn, exits.get(lsn).copied().unwrap_or(0))).collect();
        if flight.len() > MAX_FLIGHT {
            flight.sort_unstable_by_key(|(lsn, exits)| Reverse((*exits, *lsn)));
            flight.truncate(MAX_FLIGHT);
            flight.sort_unstable();
        }
        flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(lsn: u64) -> Met {
        Met { lsn, len: 7, owed: !lsn.is_multiple_of(20) }
    }

    fn restored(tracker: &Tracker) -> Tracker {
        Tracker::restore(&tracker.snapshot(&BTreeMap::new(), &BTreeSet::new()))
    }

    /// Events 10, 20, … 60 of the lane; done out of order, saved and read again at every step.
    #[test]
    fn what_is_done_stays_done_and_what_is_open_comes_again() {
        let mut tracker = Tracker::new();
        for lsn in [10, 20, 30, 40] {
            assert!(tracker.meet(met(lsn)));
        }
        assert!(tracker.done(30) && tracker.done(20) && !tracker.done(30));
        assert!(tracker.done(60), "ahead of the reader");
        assert_eq!((tracker.low(), tracker.open(), tracker.settled()), (10, 2, 3));
        let mut again = restored(&tracker);
        assert_eq!(again.settled(), 3);
        let handed: Vec<u64> = [10, 20, 30, 40, 50, 60].into_iter().filter(|lsn| again.meet(met(*lsn))).collect();
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
        tracker.meet(met(10));
        tracker.reconcile(5, 35);
        assert_eq!(tracker.settled(), 4);
        tracker.done(10);
        assert_eq!((tracker.settled(), tracker.low()), (5, 11));
    }
}
