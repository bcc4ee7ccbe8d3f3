//! Reading: a lane's own events in order ([`LaneReader`]), all events or a lane's without touching its cursor ([`Scan`]).
//!
//! Readers see only what is durable. They verify as they read: a body that does not match its checksum loses one event, a
//! header or table one group; both are counted and told to the hook, and reading goes on behind the damage.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use crate::{
    Body, Entry, Failed, LaneId, Lsn, Notice, Waiter,
    disk::Disk,
    format::group::Group,
    inner::Inner,
    recovery::JUMP,
    ring::Segment,
    sync::hold,
    walk::{Found, Walk},
};

/// What a reader makes of the events that it meets.
trait Sink {
    /// Events up to here are known already.
    fn seen(&self) -> u64;
    /// Whether the groups of these lanes are of interest.
    fn wants(&self, lanes: u64) -> bool;
    /// An event of interest; `true`: hand it out.
    fn meet(&mut self, lsn: u64) -> bool;
    /// An event of interest that cannot be read.
    fn lose(&mut self, lsn: u64);
    /// Everything up to here has been met.
    fn pass(&mut self, lsn: u64);
    /// So many events per lane there were before what comes now.
    fn enter(&mut self, entered: &[u64; crate::LANES]);
    /// In how many unclean exits this event was in flight.
    fn attempts(&self, lsn: u64) -> u32;
}

/// Goes over segments; shared by both readers.
struct Reader<D: Disk> {
    inner: Arc<Inner<D>>,
    walk: Walk,
    /// The group that is being handed out, and the next index in it.
    current: Option<(Found, u32)>,
    /// The reader has been in a segment.
    begun: bool,
    /// Damage up to here has been reported.
    reported: u64,
}

impl<D: Disk> Reader<D> {
    fn new(inner: Arc<Inner<D>>, seen: u64) -> Self {
        let walk = Walk::new(inner.seed, 0, seen);
        Self { inner, walk, current: None, begun: false, reported: seen }
    }

    fn read(&mut self, sink: &mut impl Sink, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut out = Vec::new();
        let mut bytes = 0;
        loop {
            if let Some((found, index)) = self.current.take() {
                match self.hand_out(sink, &found, index, &mut out, &mut bytes, max_bytes) {
                    Some(next) => {
                        self.current = Some((found, next));
                        return Ok(out);
                    }
                    None => {
                        sink.pass(found.header.last());
                        self.walk.leave(&found);
                    }
                }
            }
            if bytes >= max_bytes {
                return Ok(out);
            }
            // Before the segment is looked at: what is durable now is in it then.
            let mark = self.inner.mark.durable();
            let Some(segment) = self.segment(sink) else { return Ok(out) };
            match self.walk.next(&*segment.file, segment.about.end)? {
                Some(found) => {
                    if let Some(offset) = found.damage {
                        self.damaged(&segment, offset, found.header.first);
                    }
                    self.current = Some((found, 0));
                }
                None if segment.sealed => {
                    if let Some(offset) = self.walk.damage() {
                        self.damaged(&segment, offset, segment.about.last + 1);
                    }
                    sink.pass(segment.about.last);
                    if !self.next_segment(sink) {
                        return Ok(out);
                    }
                }
                None => {
                    sink.pass(mark);
                    return Ok(out);
                }
            }
        }
    }

    /// The segment to read from; the next one if it was recycled meanwhile.
    fn segment(&mut self, sink: &mut impl Sink) -> Option<Segment<D::File>> {
        if self.begun
            && let Some(segment) = hold(&self.inner.ring).get(self.walk.segment)
        {
            return Some(segment.clone());
        }
        if !self.next_segment(sink) {
            return None;
        }
        hold(&self.inner.ring).get(self.walk.segment).cloned()
    }

    fn next_segment(&mut self, sink: &mut impl Sink) -> bool {
        let (number, entered, first) = {
            let ring = hold(&self.inner.ring);
            // At the beginning: where the first event that was not seen is.
            let next = if self.begun {
                ring.after(self.walk.segment)
            } else {
                ring.segments.iter().find(|s| s.about.last > self.walk.seen || !s.sealed)
            };
            let Some(next) = next else { return false };
            (next.about.number, next.entered.clone(), next.about.first)
        };
        // Entered from its first event on, and not in the middle: then the header's counts are those before it.
        if self.walk.seen < first
            && let Some(entered) = entered
        {
            sink.pass(first - 1);
            sink.enter(&entered);
        }
        let seen = self.walk.seen;
        self.walk.enter(number);
        // A reader that begins in the middle walks over groups it has seen, so it must not take them for damage.
        self.walk.seen = if self.begun { seen.max(first - 1) } else { first - 1 };
        self.begun = true;
        true
    }

    fn damaged(&mut self, segment: &Segment<D::File>, offset: u64, next: u64) {
        let from = (self.walk.seen + 1).max(segment.about.first);
        let lost = if from < segment.resume && next > segment.resume {
            // Between recovery's copy of a group and the first own one lies the jump of an unclean start.
            (next - segment.resume) + segment.resume.saturating_sub(JUMP).saturating_sub(from)
        } else {
            next.saturating_sub(from)
        };
        if next <= self.reported {
            return;
        }
        self.reported = next;
        self.inner.counters.corrupt_groups.fetch_add(1, Relaxed);
        self.inner.counters.corrupt_events.fetch_add(lost, Relaxed);
        self.inner.notice(&Notice::CorruptGroup { segment: segment.about.number, offset, events: lost });
    }

    /// Hands out events of a group from `index` on; the index to go on at, or `None` when it is through.
    fn hand_out(
        &self,
        sink: &mut impl Sink,
        found: &Found,
        index: u32,
        out: &mut Vec<Entry>,
        bytes: &mut usize,
        max_bytes: usize,
    ) -> Option<u32> {
        let seen = sink.seen();
        if !sink.wants(found.header.lanes) || found.header.last() <= seen {
            return None;
        }
        let (group, chunk, start) = self.walk.group(found)?;
        for index in index..found.header.count {
            let lsn = found.header.first + u64::from(index);
            let at = index as usize;
            let Some(row) = group.row(at).filter(|row| !row.is_hole()) else { continue };
            let lanes = group.lanes(at);
            if lsn <= seen || !sink.wants(lanes) {
                continue;
            }
            if *bytes >= max_bytes && !out.is_empty() {
                return Some(index);
            }
            if !self.body_is_good(&group, row, found, lsn) {
                sink.lose(lsn);
                continue;
            }
            if !sink.meet(lsn) {
                continue;
            }
            let from = start + row.offset as usize;
            *bytes += row.len as usize;
            out.push(Entry {
                lsn: Lsn(lsn),
                lanes,
                attempts: sink.attempts(lsn),
                body: Body::new(chunk.clone(), from..from + row.len as usize),
            });
        }
        None
    }

    fn body_is_good(&self, group: &Group<'_>, row: crate::format::group::Row, found: &Found, lsn: u64) -> bool {
        let good = group.body(row).is_some();
        if !good {
            self.inner.counters.corrupt_events.fetch_add(1, Relaxed);
            self.inner.notice(&Notice::CorruptEvent { segment: found.header.segment, lsn: Lsn(lsn) });
        }
        good
    }
}

/// A lane's reader: durable events that are not done, each handed out once. One per lane at a time: a new one takes
/// over at the low mark, and what the old one had handed out and nobody called done is handed out again.
pub struct LaneReader<D: Disk> {
    reader: Reader<D>,
    lane: LaneId,
    waiter: Waiter,
}

struct OfLane<'a, D: Disk> {
    inner: &'a Inner<D>,
    lane: LaneId,
}

impl<D: Disk> OfLane<'_, D> {
    fn state<T>(&self, work: impl FnOnce(&mut crate::inner::LaneState<D::File>) -> T) -> T {
        work(&mut hold(&self.inner.lanes[self.lane.index()]))
    }
}

impl<D: Disk> Sink for OfLane<'_, D> {
    fn seen(&self) -> u64 {
        self.state(|state| state.tracker.frontier())
    }

    fn wants(&self, lanes: u64) -> bool {
        lanes & self.lane.bit() != 0
    }

    fn meet(&mut self, lsn: u64) -> bool {
        self.state(|state| {
            state.dirty = true;
            state.tracker.meet(lsn)
        })
    }

    fn lose(&mut self, lsn: u64) {
        self.state(|state| {
            state.dirty = true;
            state.tracker.lose(lsn);
        });
    }

    fn pass(&mut self, lsn: u64) {
        self.state(|state| state.dirty |= state.tracker.pass(lsn));
    }

    fn enter(&mut self, entered: &[u64; crate::LANES]) {
        self.state(|state| state.tracker.reconcile(entered[self.lane.index()]));
    }

    fn attempts(&self, lsn: u64) -> u32 {
        self.state(|state| state.exits.get(&lsn).copied().unwrap_or(0))
    }
}

impl<D: Disk> LaneReader<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, lane: LaneId) -> Self {
        let seen = {
            let mut state = hold(&inner.lanes[lane.index()]);
            let cursor = state.cursor();
            state.tracker = crate::tracker::Tracker::restore(&cursor);
            state.tracker.frontier()
        };
        Self { reader: Reader::new(inner, seen), lane, waiter: Waiter::new() }
    }

    /// The lane.
    #[must_use]
    pub const fn id(&self) -> LaneId {
        self.lane
    }

    /// The next durable events of the lane in LSN order, without those that are done: at least one if there is one, then
    /// up to about `max_bytes` of bodies. Empty: nothing new, see [`LaneReader::poll_new`]. Reads files, so it may block
    /// for as long as a disk takes.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read. The next call tries again at the same place.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let inner = self.reader.inner.clone();
        self.reader.read(&mut OfLane { inner: &*inner, lane: self.lane }, max_bytes)
    }

    /// Ready when [`LaneReader::read`] may give more.
    ///
    /// # Errors
    /// There will never be more: the journal failed or was closed.
    pub fn poll_new(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if self.reader.current.is_some() {
            return Poll::Ready(Ok(()));
        }
        let frontier = hold(&self.reader.inner.lanes[self.lane.index()]).tracker.frontier();
        self.reader.inner.mark.poll(cx, frontier + 1, &mut self.waiter)
    }

    /// Marks an event done, in any order; `false` if it was so before.
    pub fn done(&self, lsn: Lsn) -> bool {
        self.reader.inner.done(self.lane.index(), lsn.0)
    }

    /// Durable events of the lane that are not done.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.reader.inner.pending(self.lane.index())
    }

    /// Events handed out and not done.
    #[must_use]
    pub fn open(&self) -> usize {
        hold(&self.reader.inner.lanes[self.lane.index()]).tracker.open()
    }

    /// Everything of the lane below is done.
    #[must_use]
    pub fn low(&self) -> Lsn {
        Lsn(hold(&self.reader.inner.lanes[self.lane.index()]).tracker.low())
    }

    /// The backend's own bytes, saved with the cursor; at most 16 KiB are kept.
    pub fn set_state(&self, state: Vec<u8>) {
        let mut lane = hold(&self.reader.inner.lanes[self.lane.index()]);
        lane.state = state;
        lane.dirty = true;
    }

    /// What [`LaneReader::set_state`] set, also in an earlier run.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        hold(&self.reader.inner.lanes[self.lane.index()]).state.clone()
    }
}

/// Reads what is retained, from the oldest on, whether done or not, and touches no cursor.
pub struct Scan<D: Disk> {
    reader: Reader<D>,
    lanes: u64,
    seen: u64,
}

struct Looking {
    lanes: u64,
    seen: u64,
}

impl Sink for Looking {
    fn seen(&self) -> u64 {
        self.seen
    }

    fn wants(&self, lanes: u64) -> bool {
        lanes & self.lanes != 0
    }

    fn meet(&mut self, lsn: u64) -> bool {
        let fresh = lsn > self.seen;
        self.seen = self.seen.max(lsn);
        fresh
    }

    fn lose(&mut self, lsn: u64) {
        self.meet(lsn);
    }

    fn pass(&mut self, _lsn: u64) {}

    fn enter(&mut self, _entered: &[u64; crate::LANES]) {}

    fn attempts(&self, _lsn: u64) -> u32 {
        0
    }
}

impl<D: Disk> Scan<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, lane: Option<LaneId>, from: Lsn) -> Self {
        let seen = from.0.saturating_sub(1);
        Self { reader: Reader::new(inner, seen), lanes: lane.map_or(u64::MAX, LaneId::bit), seen }
    }

    /// The next events, as [`LaneReader::read`]; empty at the end of what is durable.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut looking = Looking { lanes: self.lanes, seen: self.seen };
        let entries = self.reader.read(&mut looking, max_bytes)?;
        self.seen = looking.seen;
        Ok(entries)
    }
}
