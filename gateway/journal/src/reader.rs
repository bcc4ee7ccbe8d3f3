//! Goes over the segments for both kinds of reader. They see only what is durable, and verify as they read: a body that
//! does not match its checksum loses one event, a header or table one group; both are counted and told to the hook, and
//! reading goes on behind the damage.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Body, Entry, Lsn, Notice,
    disk::Disk,
    format::group::Group,
    inner::Inner,
    recovery::JUMP,
    ring::Segment,
    sync::hold,
    walk::{Found, Walk},
};

/// What a reader makes of the events that it meets.
pub(crate) trait Sink {
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
pub(crate) struct Reader<D: Disk> {
    pub inner: Arc<Inner<D>>,
    walk: Walk,
    /// The group that is being handed out, and the next index in it.
    pub current: Option<(Found, u32)>,
    /// The reader has been in a segment.
    begun: bool,
    /// Damage up to here has been reported.
    reported: u64,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, seen: u64) -> Self {
        let walk = Walk::new(inner.seed, 0, seen);
        Self { inner, walk, current: None, begun: false, reported: seen }
    }

    pub(crate) fn read(&mut self, sink: &mut impl Sink, max_bytes: usize) -> io::Result<Vec<Entry>> {
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
