//! What the journal does for whoever routes to lanes and looks after them: room, quotas, figures, and the ways to empty a lane
//! without its backend.

use std::{io, sync::atomic::Ordering::Relaxed};

use crate::{
    Closed, Encoded, Failed, Failure, Journal, LaneId, LaneStats, Lsn, RecentId, disk::Disk, ids, inner::Tally,
    sync::hold, tend,
};

/// Bytes read at a time when events go from lane to lane.
const STEP: usize = 256 << 10;

/// What was dropped for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Letters.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Why events did not go from one lane to another, or not all.
#[derive(Debug)]
#[non_exhaustive]
pub enum MoveError {
    /// They cannot be read.
    Read(io::Error),
    /// They cannot be appended; `Full` does not come here, it is waited for.
    Closed(Closed),
    /// The journal failed.
    Failed,
}

impl std::fmt::Display for MoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(e) => write!(f, "the lane cannot be read: {e}"),
            Self::Closed(closed) => write!(f, "the events cannot be appended: {closed}"),
            Self::Failed => Failed.fmt(f),
        }
    }
}

impl std::error::Error for MoveError {}

impl<D: Disk> Journal<D> {
    /// Whether `bytes` more may be routed to the lane: its pending bytes and they are within its quota. Two atomic loads; no
    /// lock. It is no reservation, and does not see what is appended and not yet durable: a quota may be exceeded by two
    /// groups and by what is being routed at that moment. For lane 0 it is about letters whose senders get a receipt; for the
    /// others see [`Journal::room_unowed`].
    #[must_use]
    pub fn room(&self, lane: LaneId, bytes: u64) -> bool {
        let aside = if lane == LaneId::DEAD_LETTERS { self.inner.unowed.pending() } else { 0 };
        self.inner.accounts[lane.index()].has_room(bytes, aside)
    }

    /// Whether a dead letter whose sender gets no receipt has room. If not, [`Journal::evict_unowed`] makes some.
    #[must_use]
    pub fn room_unowed(&self, bytes: u64) -> bool {
        self.inner.unowed.has_room(bytes, 0)
    }

    /// Calls the oldest dead letters done whose senders got no receipt, until a letter of `bytes` fits into their quota. Only
    /// letters that the reader of lane 0 has met can go; letters of earlier runs count as owed until it has.
    pub fn evict_unowed(&self, bytes: u64) -> Evicted {
        let mut evicted = Evicted::default();
        while !self.room_unowed(bytes) {
            let oldest = hold(&self.inner.lanes[0]).tracker.oldest_unowed();
            let Some((lsn, len)) = oldest else { break };
            if self.inner.done(0, lsn) {
                evicted.events += 1;
                evicted.bytes += u64::from(len);
            }
        }
        evicted
    }

    /// Sets the quotas of lane 0, in bytes; 0: no limit. Those of other lanes come with [`Journal::set_lanes`].
    pub fn set_letter_quotas(&self, owed: u64, unowed: u64) {
        self.inner.accounts[0].set_quota(owed);
        self.inner.unowed.set_quota(unowed);
    }

    /// Bytes of the bodies of a lane's durable events that are not done. Exact, also after a restart, but for events that
    /// were called done before the lane's reader had met them: those count with the mean size of the lane's events until it has.
    #[must_use]
    pub fn pending_bytes(&self, lane: LaneId) -> u64 {
        self.inner.accounts[lane.index()].pending()
    }

    /// The dedupe ids of the window (`Options::ids_window` and `ids_count`), in LSN order: from the files of sealed segments,
    /// and from the segments that have none. Empty without `Options::key_of`. Reads files, and at most the ring; takes memory
    /// for `ids_count` ids.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read. A damaged file is none: it is told, and the segment is read.
    pub fn recent_ids(&self) -> io::Result<Vec<RecentId>> {
        ids::recent(&self.inner)
    }

    /// What waits in a lane.
    #[must_use]
    pub fn lane_stats(&self, lane: LaneId) -> LaneStats {
        let inner = &*self.inner;
        let account = &inner.accounts[lane.index()];
        let mut stats = {
            let state = hold(&inner.lanes[lane.index()]);
            let (tracker, backlog) = (&state.tracker, &state.backlog);
            // The locks in this order, so that nothing is settled that is not entered.
            let entered = hold(&inner.ring).entered.events[lane.index()];
            LaneStats {
                pending: entered.saturating_sub(tracker.settled()),
                open: tracker.open() as u64,
                backlog_segments: backlog.len() as u64,
                backlog_events: backlog.iter().map(|piece| piece.events).sum(),
                backlog_bytes: backlog.iter().map(|piece| piece.size).sum(),
                spilled_segments: state.tally.spilled_segments,
                spilled_events: state.tally.spilled_events,
                read_back_segments: state.tally.read_back,
                lost: state.tally.lost,
                oldest: Some(Lsn(tracker.low())),
                ..LaneStats::default()
            }
        };
        stats.oldest = stats.oldest.filter(|_| stats.pending > 0);
        stats.pending_bytes = account.pending();
        stats.quota = account.quota();
        if lane == LaneId::DEAD_LETTERS {
            stats.unowed_bytes = inner.unowed.pending();
        }
        stats
    }

    /// Events of a lane that its reader found lost to damage since the last call: they do not wait any more. For who counts.
    pub fn take_lost(&self, lane: LaneId) -> u64 {
        let mut state = hold(&self.inner.lanes[lane.index()]);
        let Tally { lost, lost_taken, .. } = &mut state.tally;
        *lost - std::mem::replace(lost_taken, *lost)
    }

    /// Whether a backlog has found no room on the disk, and none was found since.
    #[must_use]
    pub fn backlog_is_full(&self) -> bool {
        self.inner.backlog_wants.load(Relaxed) > 0
    }

    /// Calls everything done that waits in a lane now; how many events. Saved when it returns, and the backlog is deleted. A
    /// reader of the lane goes on behind it.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn discard(&self, lane: LaneId) -> Result<u64, Failed> {
        let index = lane.index();
        let discarded = self.inner.lane(index, |state| {
            let (last, entered, bytes) = {
                let ring = hold(&self.inner.ring);
                // At least what a reader has been told to be durable.
                let last = ring.segments.back().map_or(0, |segment| segment.about.last);
                (last, ring.entered.events[index], ring.entered.bytes[index])
            };
            let pending = entered.saturating_sub(state.tracker.settled());
            state.tracker.settle_all(last, entered, bytes);
            state.exits.clear();
            state.parked.clear();
            state.dirty = true;
            pending
        });
        if index == 0 {
            self.inner.unowed.leave(self.inner.unowed.pending());
        }
        self.saved(lane)?;
        self.inner.ring_bell();
        Ok(discarded)
    }

    /// Hands everything that waits in lane `from` now to lane `to`: each event is appended again for it, with a new LSN, and
    /// done in `from` when that is durable. `rewrite` may give an event's body another form; `None`: it goes as it is. How many
    /// events went. After a crash in between some may be in both lanes, none is in neither. Nobody else may read `from`
    /// meanwhile. Blocks until it is done; waits while the ring is full.
    ///
    /// # Errors
    /// See [`MoveError`]: what has gone by then has gone.
    pub fn move_lane(
        &self,
        from: LaneId,
        to: LaneId,
        mut rewrite: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<u64, MoveError> {
        let mut reader = self.lane(from);
        let last = self.durable();
        let mut moved = 0;
        loop {
            let entries = reader.read(STEP).map_err(MoveError::Read)?;
            let mut gone = Vec::with_capacity(entries.len());
            for entry in entries.iter().filter(|entry| entry.lsn <= last) {
                let body = rewrite(&entry.body);
                let mut encoded = Encoded::new(body.as_deref().unwrap_or(&entry.body), to.bit());
                if !entry.owed {
                    encoded = encoded.unowed();
                }
                self.append_waiting(encoded)?;
                gone.push(entry.lsn);
            }
            self.sync_stepping()?;
            for lsn in &gone {
                moved += u64::from(reader.done(*lsn));
            }
            if gone.is_empty() {
                break;
            }
        }
        self.saved(from).map_err(|_: Failed| MoveError::Failed)?;
        Ok(moved)
    }

    fn append_waiting(&self, encoded: Encoded<'_>) -> Result<(), MoveError> {
        loop {
            match self.append(&[encoded]) {
                Ok(_) => return Ok(()),
                Err(Closed::Full | Closed::Busy) => self.sync_stepping()?,
                Err(closed @ (Closed::TooLarge | Closed::Failed | Closed::Stopping)) => {
                    return Err(MoveError::Closed(closed));
                }
            }
        }
    }

    /// Until everything appended is durable and the helper had its turn, also without threads.
    fn sync_stepping(&self) -> Result<(), MoveError> {
        if self.inner.options.threads {
            self.inner.ring_bell();
            self.sync().map_err(|_: Failed| MoveError::Failed)?;
            std::thread::yield_now();
            return Ok(());
        }
        while self.commit_step().map_err(|_: Failed| MoveError::Failed)? {}
        self.tend_step(true).map_err(|_: Failed| MoveError::Failed)
    }

    fn saved(&self, lane: LaneId) -> Result<(), Failed> {
        tend::save_cursor(&self.inner, lane).map(drop).map_err(|e| {
            self.inner.fail(&Failure::new(format!("save the cursor of lane {lane}"), &e));
            Failed
        })
    }
}
