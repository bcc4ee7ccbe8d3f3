//! A lane's own events, in order.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    Entry, Failed, Failure, LaneId, Lsn, Waiter,
    disk::Disk,
    format::segment::Counts,
    inner::Inner,
    reader::{Reach, Reader, Sink},
    sync::hold,
    tend,
    tracker::{Met, Tracker},
};

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
        self.inner.lane(self.lane.index(), work)
    }

    /// What is settled by this without having been handed out is lost to damage, unless it `was_done`.
    fn lost(&self, was_done: bool, settle: impl FnOnce(&mut Tracker)) {
        self.state(|state| {
            let before = state.tracker.settled();
            settle(&mut state.tracker);
            let lost = state.tracker.settled().saturating_sub(before);
            state.tally.lost += if was_done { 0 } else { lost };
            state.dirty |= lost > 0;
        });
    }

    /// Whether what is missing so far may be what the saved cursor had no room for: done in an earlier run, and not kept.
    fn may_be_forgotten(&self) -> bool {
        self.state(|state| state.forgetful && state.tracker.frontier() < self.inner.recovered.next.0)
    }
}

impl<D: Disk> Sink for OfLane<'_, D> {
    fn seen(&self) -> u64 {
        self.state(|state| state.tracker.frontier())
    }

    fn wants(&self, lanes: u64) -> bool {
        lanes & self.lane.bit() != 0
    }

    fn meet(&mut self, met: Met) -> bool {
        let met = Met { owed: met.owed || self.lane != LaneId::DEAD_LETTERS, ..met };
        // Letters of this run are entered when they are durable.
        if !met.owed && met.lsn < self.inner.recovered.next.0 {
            self.inner.unowed.enter(u64::from(met.len));
        }
        self.state(|state| {
            state.dirty = true;
            state.tracker.meet(met)
        })
    }

    fn lose(&mut self, met: Met) {
        self.lost(false, |tracker| tracker.lose(met));
    }

    fn pass(&mut self, lsn: u64) {
        self.state(|state| state.dirty |= state.tracker.pass(lsn));
    }

    fn enter(&mut self, entered: &Counts, harmed: bool) {
        let lane = self.lane.index();
        self.lost(!harmed && self.may_be_forgotten(), |tracker| {
            tracker.reconcile(entered.events[lane], entered.bytes[lane]);
        });
    }

    fn attempts(&self, lsn: u64) -> u32 {
        self.state(|state| state.exits.get(&lsn).copied().unwrap_or(0))
    }
}

impl<D: Disk> LaneReader<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, lane: LaneId) -> Self {
        let seen = {
            let mut state = hold(&inner.lanes[lane.index()]);
            // Letters of earlier runs are entered again when they are met again.
            inner.unowed.leave(state.tracker.unowed_before(inner.recovered.next.0));
            let cursor = state.cursor();
            state.tracker = Tracker::restore(&cursor);
            state.parked.clear();
            state.tracker.frontier()
        };
        Self { reader: Reader::new(inner, seen, Reach::Lane(lane)), lane, waiter: Waiter::new() }
    }

    /// The lane.
    #[must_use]
    pub const fn id(&self) -> LaneId {
        self.lane
    }

    /// The next durable events of the lane in LSN order, without those that are done: at least one if there is one, then
    /// up to about `max_bytes` of bodies. Empty: nothing new, see [`LaneReader::poll_new`]. Reads files, the lane's backlog
    /// first and then the ring, so it may block for as long as a disk takes.
    ///
    /// An event that ends the process as soon as it is delivered must still be counted (`Entry::attempts`). So the cursor,
    /// which says what is in flight, is saved before the events are handed out: by the first read that hands something out,
    /// by the first 64 after an unclean stop, and whenever one of them was in flight at an unclean stop before. Those that
    /// came back and wait are told by [`LaneReader::parked`].
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read. The next call tries again at the same place. If the cursor cannot
    /// be saved the journal has failed.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let inner = self.reader.inner.clone();
        let entries = self.reader.read(&mut OfLane { inner: &*inner, lane: self.lane }, max_bytes)?;
        if self.is_careful(&entries) {
            self.save()?;
        }
        Ok(entries)
    }

    fn is_careful(&self, entries: &[Entry]) -> bool {
        // Nobody delivers dead letters.
        if entries.is_empty() || self.lane == LaneId::DEAD_LETTERS {
            return false;
        }
        let mut state = hold(&self.reader.inner.lanes[self.lane.index()]);
        state.is_careful(entries.iter().any(|entry| entry.attempts > 0))
    }

    /// Events that were handed out and only wait now: to be tried again, or behind one that is. They are not in flight, so an
    /// unclean exit does not count against them (`Entry::attempts`), once the cursor is saved the next time.
    pub fn parked(&self, lsns: impl IntoIterator<Item = Lsn>) {
        let mut state = hold(&self.reader.inner.lanes[self.lane.index()]);
        for lsn in lsns {
            state.dirty |= state.parked.insert(lsn.0);
        }
    }

    /// Whether events that were in flight at so many unclean exits are in flight or still to come: done and parked ones are not.
    #[must_use]
    pub fn has_suspects(&self, exits: u32) -> bool {
        let state = hold(&self.reader.inner.lanes[self.lane.index()]);
        // Also what is lost with its group or file is done, and no `done` was said for it.
        let is_open = |lsn: &u64| !state.parked.contains(lsn) && !state.tracker.is_done(*lsn);
        state.exits.iter().any(|(lsn, met)| *met >= exits && is_open(lsn))
    }

    /// Events that were parked are in flight again. The cursor is saved before, as by [`LaneReader::read`]: by the first 64
    /// calls with parked ones after an unclean stop, and for those that were in flight at one.
    ///
    /// # Errors
    /// If the cursor cannot be saved the journal has failed.
    pub fn again(&self, lsns: impl IntoIterator<Item = Lsn>) -> io::Result<()> {
        let inner = &self.reader.inner;
        let save = {
            let mut state = hold(&inner.lanes[self.lane.index()]);
            let (mut met, mut suspects) = (false, false);
            for lsn in lsns {
                met |= state.parked.remove(&lsn.0);
                suspects |= state.exits.contains_key(&lsn.0);
            }
            state.dirty |= met;
            met && state.is_careful_again(suspects)
        };
        if save {
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        let inner = &self.reader.inner;
        if let Some(failure) = hold(&inner.ending).failure.clone() {
            // Nothing is written any more.
            return Err(io::Error::other(failure));
        }
        let failed = |e: &io::Error| inner.fail(&Failure::new(format!("save the cursor of lane {}", self.lane), e));
        tend::save_cursor(inner, self.lane).inspect_err(failed).map(drop)
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
