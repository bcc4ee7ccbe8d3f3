//! Counters of the journal, and what recovery found.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{LANES, LaneId, Lsn};

/// Buckets of the sync histogram: bucket `i` counts syncs below 2^i µs, the last one the rest.
pub const SYNC_BUCKETS: usize = 24;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub groups: AtomicU64,
    pub events: AtomicU64,
    pub bytes: AtomicU64,
    pub corrupt_groups: AtomicU64,
    pub corrupt_events: AtomicU64,
    pub syncs: [AtomicU64; SYNC_BUCKETS],
    pub sync_micros: AtomicU64,
    pub last_sync_micros: AtomicU64,
    pub cursor_saves: AtomicU64,
    pub recycled: AtomicU64,
    pub ids: AtomicU64,
}

impl Counters {
    pub(crate) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.syncs[bucket.min(SYNC_BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sync_micros.fetch_add(micros, Relaxed);
        self.last_sync_micros.store(micros, Relaxed);
    }
}

/// What the journal has done since it was opened, and how full it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of segments that hold something a lane needs, or that are being written.
    pub used_bytes: u64,
    /// Bytes that the ring may have at most.
    pub capacity_bytes: u64,
    /// Segment files there are.
    pub segments: usize,
    /// Of them ready for use.
    pub spares: usize,
    /// Groups written and synced.
    pub groups: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes in them, with headers and padding.
    pub bytes: u64,
    /// Syncs of groups by duration; bucket `i` counts those below 2^i µs.
    pub syncs: [u64; SYNC_BUCKETS],
    /// Sum of their durations.
    pub sync_micros: u64,
    /// The last one.
    pub last_sync_micros: u64,
    /// Damaged places that a reader stepped over.
    pub corrupt_groups: u64,
    /// Events lost to damage.
    pub corrupt_events: u64,
    /// Cursors written.
    pub cursor_saves: u64,
    /// Segments used again.
    pub recycled: u64,
    /// Dedupe ids written to files of their own.
    pub ids: u64,
    /// Everything up to here is durable.
    pub durable: Lsn,
    /// New events are refused with `Closed::Full`.
    pub full: bool,
}

impl Stats {
    /// The upper bound in µs of the bucket that the quantile `q` (0 to 1) of the syncs is in; 0 without syncs.
    #[must_use]
    pub fn sync_quantile(&self, q: f64) -> u64 {
        let total: u64 = self.syncs.iter().sum();
        let mut seen = 0;
        for (i, n) in self.syncs.iter().enumerate() {
            seen += n;
            #[expect(clippy::cast_precision_loss, reason = "a quantile of a histogram is an estimate")]
            if total > 0 && seen as f64 >= q * total as f64 {
                return 1 << i;
            }
        }
        0
    }
}

/// What waits in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Durable events that are not done, in the ring and in the backlog.
    pub pending: u64,
    /// Bytes of their bodies; see [`crate::Journal::pending_bytes`] for how exact that is.
    pub pending_bytes: u64,
    /// Of those, for lane 0: letters whose senders got no receipt.
    pub unowed_bytes: u64,
    /// The limit that [`crate::Journal::room`] goes by; 0: none.
    pub quota: u64,
    /// Events handed out and not done.
    pub open: u64,
    /// Segments of the backlog.
    pub backlog_segments: u64,
    /// Events in them, done or not.
    pub backlog_events: u64,
    /// Bytes of their files.
    pub backlog_bytes: u64,
    /// Segments copied to the backlog since the journal was opened.
    pub spilled_segments: u64,
    /// Events in them.
    pub spilled_events: u64,
    /// Segments of the backlog that were read, done with and deleted since the journal was opened.
    pub read_back_segments: u64,
    /// Events that should have been the lane's and were lost to damage since the journal was opened.
    pub lost: u64,
    /// No event before this one waits; `None`: none waits at all.
    pub oldest: Option<Lsn>,
}

/// What was found at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last run was closed.
    pub clean: bool,
    /// How often this log was opened, this time included.
    pub starts: u64,
    /// Per lane id: events that are not done.
    pub per_lane: [u64; LANES],
    /// The last group was only partly written.
    pub torn_tail: bool,
    /// Events of it that did not survive (they had not been acknowledged).
    pub torn_events: u64,
    /// Damaged places in the last segment; older segments are checked when they are read.
    pub corrupt_groups: u64,
    /// Events lost in them.
    pub corrupt_events: u64,
    /// The first LSN of this run.
    pub next: Lsn,
}

impl Recovered {
    /// Events of a lane that are not done.
    #[must_use]
    pub fn pending(&self, lane: LaneId) -> u64 {
        self.per_lane[lane.index()]
    }
}
