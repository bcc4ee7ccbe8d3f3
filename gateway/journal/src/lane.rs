//! A lane's own events, in order.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    Entry, Failed, LaneId, Lsn, Waiter,
    disk::Disk,
    inner::Inner,
    reader::{Reader, Sink},
    sync::hold,
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
