//! Reading without a lane: for lists, traces and single events.

use std::{collections::VecDeque, io, sync::Arc};

use crate::{
    Entry, LANES, LaneId, Lsn,
    disk::Disk,
    format::segment::Counts,
    inner::{Inner, LaneState},
    reader::{Reach, Reader, Sink},
    sync::hold,
    tracker::Met,
};

/// Read at once from each place, when there are several.
const STEP: usize = 64 << 10;

/// Reads what is retained in the ring and in backlogs, from the oldest on, whether done or not, and touches no cursor. A
/// backlog has only what its lane had open when it was written.
pub struct Scan<D: Disk> {
    places: Vec<Place<D>>,
    seen: u64,
}

/// The ring, or a lane's backlog, with what was read ahead.
struct Place<D: Disk> {
    reader: Reader<D>,
    looking: Looking,
    ahead: VecDeque<Entry>,
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

    fn meet(&mut self, met: Met) -> bool {
        let lsn = met.lsn;
        let fresh = lsn > self.seen;
        self.seen = self.seen.max(lsn);
        fresh
    }

    fn lose(&mut self, met: Met) {
        self.meet(met);
    }

    fn pass(&mut self, _lsn: u64) {}

    fn enter(&mut self, _entered: &Counts, _harmed: bool) {}

    fn attempts(&self, _lsn: u64) -> u32 {
        0
    }
}

impl<D: Disk> Place<D> {
    fn new(inner: Arc<Inner<D>>, reach: Reach, lanes: u64, seen: u64) -> Self {
        let looking = Looking { lanes, seen };
        Self { reader: Reader::new(inner, seen, reach), looking, ahead: VecDeque::new() }
    }

    /// The LSN that comes next.
    fn next(&mut self) -> io::Result<Option<Lsn>> {
        if self.ahead.is_empty() {
            self.ahead = self.reader.read(&mut self.looking, STEP)?.into();
        }
        Ok(self.ahead.front().map(|entry| entry.lsn))
    }
}

impl<D: Disk> Scan<D> {
    pub(crate) fn new(inner: &Arc<Inner<D>>, lane: Option<LaneId>, from: Lsn) -> Self {
        let seen = from.0.saturating_sub(1);
        let place = |reach, lanes| Place::new(inner.clone(), reach, lanes, seen);
        let places = match lane {
            Some(lane) => vec![place(Reach::Lane(lane), lane.bit())],
            None => {
                let behind = (0..LANES).filter(|lane| !hold(&inner.lanes[*lane]).backlog.is_empty());
                let behind = behind.filter_map(|lane| LaneId::new(u8::try_from(lane).ok()?));
                let backlogs = behind.map(|lane| place(Reach::Backlog(lane), lane.bit())).collect::<Vec<_>>();
                backlogs.into_iter().chain([place(Reach::Ring, u64::MAX)]).collect()
            }
        };
        Self { places, seen }
    }

    /// One event, from the ring or else from a backlog that has it.
    pub(crate) fn one(inner: &Arc<Inner<D>>, lsn: Lsn) -> io::Result<Option<Entry>> {
        let look = |reach, lanes| -> io::Result<Option<Entry>> {
            let mut place = Place::new(inner.clone(), reach, lanes, lsn.0.saturating_sub(1));
            Ok(place.reader.read(&mut place.looking, 1)?.into_iter().next().filter(|entry| entry.lsn == lsn))
        };
        if hold(&inner.ring).holding(lsn.0).is_some() {
            return look(Reach::Ring, u64::MAX);
        }
        for lane in (0..LANES).filter_map(|lane| LaneId::new(u8::try_from(lane).ok()?)) {
            let has = |state: &LaneState<D::File>| {
                let at = state.backlog.partition_point(|piece| piece.last < lsn.0);
                state.backlog.get(at).is_some_and(|piece| piece.first <= lsn.0)
            };
            if has(&hold(&inner.lanes[lane.index()]))
                && let Some(entry) = look(Reach::Backlog(lane), lane.bit())?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The next events in LSN order, as [`crate::LaneReader::read`]; empty at the end of what is durable.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        if let [only] = &mut self.places[..] {
            return only.reader.read(&mut only.looking, max_bytes);
        }
        let (mut out, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes || out.is_empty() {
            let mut next: Option<(Lsn, usize)> = None;
            for (at, place) in self.places.iter_mut().enumerate() {
                if let Some(lsn) = place.next()?
                    && next.is_none_or(|(least, _)| lsn < least)
                {
                    next = Some((lsn, at));
                }
            }
            let Some(entry) = next.and_then(|(_, at)| self.places[at].ahead.pop_front()) else { break };
            // An event of several lanes stands in several places.
            if entry.lsn.0 > self.seen {
                self.seen = entry.lsn.0;
                bytes += entry.body.len();
                out.push(entry);
            }
        }
        Ok(out)
    }
}
