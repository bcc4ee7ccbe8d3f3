//! Goes over segments of the ring and of backlogs for all kinds of reader. They see only what is durable, and verify as they
//! read: a body that does not match its checksum loses one event, a header or table one group; both are counted and told to
//! the hook, and reading goes on behind the damage.
//!
//! The count of a lane's events is set right where it is known: at the begin of each segment, and behind damage as soon as the
//! reader is at the end of what is durable. What is lost does not wait any longer then.
//!
//! A lane's backlog and the ring are one stream: the next segment is the one with the lowest LSNs that are not passed yet. A
//! segment that is in both places is read from the backlog, unless the reader is in the ring's already.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Body, Entry, LaneId, Lsn, Notice, backlog,
    damage::Spot,
    disk::Disk,
    format::{
        group::{Group, Row},
        piece::Piece,
        segment::Counts,
    },
    inner::Inner,
    recovery::JUMP,
    ring::Segment,
    sync::hold,
    tracker::Met,
    walk::{Found, Walk},
};

/// What a reader makes of the events that it meets.
pub(crate) trait Sink {
    /// Events up to here are known already.
    fn seen(&self) -> u64;
    /// Whether the groups of these lanes are of interest.
    fn wants(&self, lanes: u64) -> bool;
    /// An event of interest; `true`: hand it out.
    fn meet(&mut self, met: Met) -> bool;
    /// An event of interest that cannot be read.
    fn lose(&mut self, met: Met);
    /// Everything up to here has been met.
    fn pass(&mut self, lsn: u64);
    /// So much each lane had before what comes now; `harmed`: the reader met damage since it was last told that.
    fn enter(&mut self, entered: &Counts, harmed: bool);
    /// In how many unclean exits this event was in flight.
    fn attempts(&self, lsn: u64) -> u32;
}

/// Where a reader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The backlog of a lane, and the ring.
    Lane(LaneId),
    /// The backlog of a lane only.
    Backlog(LaneId),
    Ring,
    /// One segment of the ring.
    Segment(u64),
}

/// Where it is.
enum Place<F> {
    Nowhere,
    /// In the segment of the ring with the walk's number.
    Ring,
    /// In a segment of a backlog.
    Backlog(Segment<F>, Piece),
}

/// See the module.
pub(crate) struct Reader<D: Disk> {
    pub inner: Arc<Inner<D>>,
    walk: Walk,
    /// The group that is being handed out, and the next index in it.
    pub current: Option<(Found, u32)>,
    reach: Reach,
    place: Place<D::File>,
    /// Everything up to here has been walked over.
    at: u64,
    /// Events in the groups that were found in this segment.
    counted: u64,
    /// Damage up to here has been reported.
    reported: u64,
    /// There was damage since the counts were last set right.
    harmed: bool,
    quiet: bool,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, seen: u64, reach: Reach) -> Self {
        let walk = Walk::new(inner.seed, 0, seen);
        Self {
            inner,
            walk,
            current: None,
            reach,
            place: Place::Nowhere,
            at: seen,
            counted: 0,
            reported: seen,
            harmed: false,
            quiet: false,
        }
    }

    /// Tells and counts no damage: another reader does.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The next events of interest; empty: no more for now.
    ///
    /// # Errors
    /// The operating system's. The next call goes on at the same place.
    pub(crate) fn read(&mut self, sink: &mut impl Sink, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut out = Vec::new();
        match self.gather(sink, max_bytes, &mut out) {
            Err(e) if out.is_empty() => Err(e),
            // What was met is handed out now or never. The next call meets the error again.
            Ok(()) | Err(_) => Ok(out),
        }
    }

    fn gather(&mut self, sink: &mut impl Sink, max_bytes: usize, out: &mut Vec<Entry>) -> io::Result<()> {
        let mut bytes = 0;
        loop {
            if let Some((found, index)) = self.current.take() {
                match self.hand_out(sink, &found, index, out, &mut bytes, max_bytes) {
                    Some(next) => {
                        self.current = Some((found, next));
                        return Ok(());
                    }
                    None => {
                        sink.pass(found.header.last());
                        self.walk.leave(&found);
                        self.at = self.at.max(found.header.last());
                    }
                }
            }
            if bytes >= max_bytes {
                return Ok(());
            }
            // Before the segment is looked at: what is durable now is in it then.
            let mark = self.inner.mark.durable();
            let Some(segment) = self.segment(sink)? else { return Ok(()) };
            match self.walk.next(&*segment.file, segment.about.end, |lanes| sink.wants(lanes))? {
                Some(found) => {
                    if let Some(offset) = found.damage {
                        self.damaged(&segment, offset, found.header.first);
                    }
                    self.counted += u64::from(found.header.count);
                    self.current = Some((found, 0));
                }
                None if segment.sealed => {
                    self.ends(&segment);
                    sink.pass(segment.about.last);
                    self.at = self.at.max(segment.about.last);
                    if !self.next_segment(sink)? {
                        return Ok(());
                    }
                }
                None => {
                    self.at_tip(sink, &segment);
                    sink.pass(mark);
                    return Ok(());
                }
            }
        }
    }

    /// The segment to read from; the next one if it was recycled meanwhile. One without a wanted event is at its end at once.
    fn segment(&mut self, sink: &mut impl Sink) -> io::Result<Option<Segment<D::File>>> {
        let is_there = match &self.place {
            Place::Nowhere => false,
            Place::Ring => hold(&self.inner.ring).get(self.walk.segment).is_some(),
            Place::Backlog(..) => true,
        };
        if !is_there && !self.next_segment(sink)? {
            return Ok(None);
        }
        if let Place::Backlog(segment, _) = &self.place {
            return Ok(Some(segment.clone()));
        }
        let (segment, latest) = {
            let ring = hold(&self.inner.ring);
            let Some(segment) = ring.get(self.walk.segment) else { return Ok(None) };
            (segment.clone(), if let Reach::Lane(lane) = self.reach { ring.latest[lane.index()] } else { u64::MAX })
        };
        if latest <= self.at || !sink.wants(segment.about.lanes) {
            self.walk.skip_to(segment.about.end, segment.about.last);
            self.at = self.at.max(segment.about.last);
        }
        Ok(Some(segment))
    }

    /// Goes to the segment with the lowest LSNs that are not passed yet; `false` if there is none.
    fn next_segment(&mut self, sink: &mut impl Sink) -> io::Result<bool> {
        // The backlog first: what is copied meanwhile is in the ring, too.
        let mut ahead = self.in_backlog();
        let ring = self.in_ring();
        let first = ring.as_ref().map_or(u64::MAX, |(_, first, _)| *first);
        while let Some((lane, piece)) = ahead.filter(|(_, piece)| piece.first <= first) {
            if let Some(segment) = backlog::open(&self.inner, lane, &piece)? {
                self.enter(sink, piece.number, piece.first, segment.entered.as_deref());
                self.place = Place::Backlog(segment, piece);
                return Ok(true);
            }
            self.harmed |= backlog::lost(&self.inner, lane, &piece);
            ahead = self.in_backlog();
        }
        let Some((number, first, entered)) = ring else { return Ok(false) };
        self.enter(sink, number, first, entered.as_deref());
        self.place = Place::Ring;
        Ok(true)
    }

    fn in_ring(&self) -> Option<(u64, u64, Option<Box<Counts>>)> {
        let ring = hold(&self.inner.ring);
        let next = match self.reach {
            Reach::Backlog(_) => None,
            Reach::Segment(number) => ring.get(number).filter(|_| matches!(self.place, Place::Nowhere)),
            Reach::Lane(_) | Reach::Ring => ring.segments.iter().find(|s| s.about.last > self.at || !s.sealed),
        }?;
        Some((next.about.number, next.about.first, next.entered.clone()))
    }

    fn in_backlog(&self) -> Option<(LaneId, Piece)> {
        let lane = match self.reach {
            Reach::Lane(lane) | Reach::Backlog(lane) => lane,
            Reach::Ring | Reach::Segment(_) => return None,
        };
        let state = hold(&self.inner.lanes[lane.index()]);
        let at = state.backlog.partition_point(|piece| piece.last <= self.at);
        state.backlog.get(at).map(|piece| (lane, *piece))
    }

    fn enter(&mut self, sink: &mut impl Sink, number: u64, first: u64, entered: Option<&Counts>) {
        // Entered from its first event on, and not in the middle: then the header's counts are those before it.
        if self.at < first
            && let Some(entered) = entered
        {
            sink.pass(first - 1);
            sink.enter(entered, self.harmed);
            self.harmed = false;
        }
        self.walk.enter(number);
        // A reader that begins in the middle walks over groups it has seen, so it must not take them for damage.
        self.walk.seen = first - 1;
        self.counted = 0;
    }

    /// Everything that is durable was met, or is lost: now the counts say how much that is.
    fn at_tip(&mut self, sink: &mut impl Sink, segment: &Segment<D::File>) {
        if let Some(offset) = self.walk.damage() {
            self.damaged(segment, offset, segment.about.last + 1);
        }
        if !self.harmed {
            return;
        }
        let entered = {
            let ring = hold(&self.inner.ring);
            // Otherwise there is more by now, and this is tried again behind it.
            let same = |now: &&Segment<D::File>| !now.sealed && now.about.end == segment.about.end;
            ring.get(segment.about.number).filter(same).map(|_| ring.entered.clone())
        };
        if let Some(entered) = entered {
            sink.pass(segment.about.last);
            sink.enter(&entered, true);
            self.at = self.at.max(segment.about.last);
            self.harmed = false;
        }
    }

    /// Damage at the end of a segment, and what a backlog's should have and has not.
    fn ends(&mut self, segment: &Segment<D::File>) {
        let damage = self.walk.damage();
        if let Place::Backlog(_, piece) = &self.place {
            let lost = piece.events.saturating_sub(self.counted);
            self.harmed |= lost > 0;
            if lost > 0 && piece.last > self.reported {
                self.reported = piece.last;
                self.report(piece.number, damage.unwrap_or(segment.about.end), lost);
            }
        } else if let Some(offset) = damage {
            self.damaged(segment, offset, segment.about.last + 1);
        }
    }

    fn damaged(&mut self, segment: &Segment<D::File>, offset: u64, next: u64) {
        if matches!(self.place, Place::Backlog(..)) {
            // Its LSNs have gaps; what is missing is known at its end.
            return;
        }
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
        self.harmed = true;
        self.report(segment.about.number, offset, lost);
    }

    fn report(&self, segment: u64, offset: u64, events: u64) {
        if self.quiet {
            return;
        }
        let spot = Spot::Groups { backlog: self.backlog(), segment, offset };
        let (fresh, is_new) = hold(&self.inner.damage).note(spot, events);
        if !is_new && fresh == 0 {
            return;
        }
        self.inner.counters.corrupt_groups.fetch_add(u64::from(is_new), Relaxed);
        self.inner.counters.corrupt_events.fetch_add(fresh, Relaxed);
        self.inner.notice(&Notice::CorruptGroup { segment, offset, events: fresh });
    }

    /// The index of the lane whose backlog it is in.
    fn backlog(&self) -> Option<usize> {
        match (&self.place, self.reach) {
            (Place::Backlog(..), Reach::Lane(lane) | Reach::Backlog(lane)) => Some(lane.index()),
            _ => None,
        }
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
            let at = index as usize;
            let lsn = group.lsn(at);
            let Some(row) = group.row(at).filter(|row| !row.is_hole()) else { continue };
            let lanes = group.lanes(at);
            if lsn <= seen || !sink.wants(lanes) {
                continue;
            }
            if *bytes >= max_bytes && !out.is_empty() {
                return Some(index);
            }
            let met = Met { lsn, len: row.len(), owed: row.is_owed() };
            if !self.body_is_good(&group, row, found, lsn) {
                sink.lose(met);
                continue;
            }
            if !sink.meet(met) {
                continue;
            }
            let from = start + row.offset as usize;
            *bytes += row.len() as usize;
            out.push(Entry {
                lsn: Lsn(lsn),
                lanes,
                attempts: sink.attempts(lsn),
                owed: row.is_owed(),
                body: Body::new(chunk.clone(), from..from + row.len() as usize),
            });
        }
        None
    }

    fn body_is_good(&self, group: &Group<'_>, row: Row, found: &Found, lsn: u64) -> bool {
        let good = group.body(row).is_some();
        let spot = || Spot::Event { backlog: self.backlog(), lsn: Lsn(lsn) };
        if !good && !self.quiet && hold(&self.inner.damage).note(spot(), 1).1 {
            self.inner.counters.corrupt_events.fetch_add(1, Relaxed);
            self.inner.notice(&Notice::CorruptEvent { segment: found.header.segment, lsn: Lsn(lsn) });
        }
        good
    }
}
