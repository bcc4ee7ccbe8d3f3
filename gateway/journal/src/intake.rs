//! Where appended events wait for the next group: one buffer under one short mutex.
//!
//! Accepted means appended, so room on the ring is reckoned here: an event is taken only if its group fits behind the group
//! that is being written, or into a segment that is ready. The committer takes the whole buffer at once (natural batching:
//! what arrives during a sync is the next group) and gives back the one that it has written.

use std::task::{Context, Poll, Waker};

use crate::{
    Closed, Encoded,
    format::{
        PAGE64,
        group::{self, HEADER, MAX_EVENTS, Row},
        pages,
    },
    options::ROW,
};

/// Wakers that wait for room before they are shaken out.
const CROWD: usize = 1 << 12;

/// The events of one group.
#[derive(Debug)]
pub(crate) struct Filled {
    pub buf: Vec<u8>,
    pub rows: Vec<Row>,
    pub lanes: Vec<u64>,
    pub first: u64,
    /// It begins a new segment.
    pub fresh: bool,
    /// An event may have a dedupe id.
    pub keyed: bool,
}

impl Filled {
    pub(crate) fn empty() -> Self {
        Self { buf: vec![0; HEADER], rows: Vec::new(), lanes: Vec::new(), first: 0, fresh: false, keyed: false }
    }

    /// Made empty again; a buffer that one burst made large is given back.
    pub(crate) fn clear(&mut self) {
        const CALM: usize = 1 << 20;
        if self.buf.capacity() > CALM && self.buf.len() < CALM / 16 {
            self.buf = Vec::new();
        }
        self.buf.clear();
        self.buf.resize(HEADER, 0);
        self.rows.clear();
        self.lanes.clear();
        self.keyed = false;
    }

    fn on_disk(&self) -> u64 {
        let all = self.lanes.iter().fold(0, |all, lanes| all | lanes);
        let mixed = self.lanes.iter().any(|lanes| *lanes != all);
        group::len(self.rows.len(), self.buf.len() - HEADER, mixed) as u64
    }
}

/// See the module.
pub(crate) struct Intake {
    filled: Filled,
    next: u64,
    limit: usize,
    segment_room: u64,
    /// Bytes left in the active segment behind everything that was taken, and already zeros on the disk.
    tail: u64,
    /// Bytes behind these that are only reserved: a sync there takes longer, so they are used only while no segment is ready.
    raw: u64,
    /// Segments that are ready.
    pub spares: usize,
    /// The helper cannot make another.
    pub exhausted: bool,
    pub closed: Option<Closed>,
    /// The committer sleeps.
    pub idle: bool,
    waiting: Vec<Waker>,
}

impl Intake {
    pub(crate) fn new(next: u64, limit: usize, segment_size: u64, tail: u64, raw: u64) -> Self {
        let segment_room = segment_size - PAGE64;
        Self {
            filled: Filled::empty(),
            next,
            limit,
            segment_room,
            tail,
            raw,
            spares: 0,
            exhausted: false,
            closed: None,
            idle: false,
            waiting: Vec::new(),
        }
    }

    /// The LSN that comes next.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled.rows.is_empty()
    }

    /// Whether `entries` events of `bytes` bytes in all could be taken now.
    pub(crate) fn check(&self, entries: usize, bytes: usize) -> Result<(), Closed> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let alone = HEADER.saturating_add(bytes).saturating_add(entries.saturating_mul(ROW));
        if alone > self.limit || entries > MAX_EVENTS {
            return Err(Closed::TooLarge);
        }
        let rows = self.filled.rows.len();
        let together = self.filled.buf.len() + bytes + (rows + entries) * ROW;
        if rows + entries > MAX_EVENTS || together > self.limit {
            return Err(Closed::Busy);
        }
        if pages(together) as u64 > self.tail + self.raw && self.spares == 0 {
            return Err(if self.exhausted { Closed::Full } else { Closed::Busy });
        }
        Ok(())
    }

    /// Copies the events of one message; the last LSN.
    pub(crate) fn append(&mut self, entries: &[Encoded<'_>]) -> Result<u64, Closed> {
        let bytes = entries.iter().map(Encoded::len).fold(0, usize::saturating_add);
        self.check(entries.len(), bytes)?;
        let filled = &mut self.filled;
        if filled.rows.is_empty() {
            filled.first = self.next;
        }
        for entry in entries {
            // Both fit: `check` holds the group below the limit, and that below 2 GiB.
            let offset = u32::try_from(filled.buf.len()).map_err(|_| Closed::TooLarge)?;
            let len = u32::try_from(entry.len()).map_err(|_| Closed::TooLarge)?;
            filled.buf.extend_from_slice(entry.head);
            filled.buf.extend_from_slice(entry.payload);
            filled.rows.push(Row { offset, size: len | entry.unowed, crc: entry.crc });
            filled.lanes.push(entry.lanes);
            filled.keyed |= entry.keyed;
        }
        self.next += entries.len() as u64;
        Ok(self.next - 1)
    }

    /// Gives the committer what there is and takes its empty buffer; `None` if there is nothing.
    pub(crate) fn take(&mut self, empty: &mut Option<Filled>) -> Option<(Filled, Vec<Waker>)> {
        if self.is_empty() {
            return None;
        }
        let mut filled = std::mem::replace(&mut self.filled, empty.take().unwrap_or_else(Filled::empty));
        let len = filled.on_disk();
        if len > self.tail && self.spares == 0 {
            // All that is left is one room from here on.
            self.tail += std::mem::take(&mut self.raw);
        }
        filled.fresh = len > self.tail;
        if filled.fresh {
            self.spares -= 1;
            (self.tail, self.raw) = (self.segment_room, 0);
        }
        self.tail -= len;
        Some((filled, self.wakers()))
    }

    /// Somebody waits for room, or soon will: the next segment is wanted in a hurry.
    pub(crate) fn is_pressed(&self) -> bool {
        self.spares == 0 && (self.tail < self.segment_room / 8 || !self.waiting.is_empty())
    }

    /// Those who wait for room, to be woken outside the lock.
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    /// Ready when a message of that size could be taken now; whoever else may take the room first.
    pub(crate) fn poll_room(
        &mut self,
        cx: &Context<'_>,
        entries: usize,
        bytes: usize,
    ) -> (Poll<Result<(), Closed>>, Vec<Waker>) {
        match self.check(entries, bytes) {
            Ok(()) => (Poll::Ready(Ok(())), Vec::new()),
            Err(closed @ (Closed::TooLarge | Closed::Failed | Closed::Stopping)) => {
                (Poll::Ready(Err(closed)), Vec::new())
            }
            Err(Closed::Full | Closed::Busy) => {
                let shaken = if self.waiting.len() >= CROWD { self.wakers() } else { Vec::new() };
                if !self.waiting.last().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    self.waiting.push(cx.waker().clone());
                }
                (Poll::Pending, shaken)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn take(intake: &mut Intake, pages: u64) -> bool {
        let body = vec![1; usize::try_from(pages * PAGE64).unwrap() - 2048];
        intake.append(&[Encoded::new(&body, 1)]).unwrap();
        intake.take(&mut None).unwrap().0.fresh
    }

    #[test]
    fn what_is_only_reserved_is_used_while_no_segment_is_ready() {
        let new = |spares| {
            let mut intake = Intake::new(1, 1 << 20, 64 * PAGE64, 4 * PAGE64, 59 * PAGE64);
            intake.spares = spares;
            intake
        };
        let mut alone = new(0);
        assert!((0..15).all(|_| !take(&mut alone, 4)), "all of the segment: four pages of zeros, the rest reserved");
        assert_eq!(alone.check(1, 4 * 4096), Err(Closed::Busy), "63 pages, and not one more");
        let mut followed = new(1);
        assert!(!take(&mut followed, 4));
        assert!(take(&mut followed, 4), "the next segment has its zeros");
        assert!((0..14).all(|_| !take(&mut followed, 4)), "and is used to its end");
        assert_eq!(followed.check(1, 4 * 4096), Err(Closed::Busy));
    }
}
