//! How many bytes wait in a lane, for whoever routes: two counters that only grow, read without a lock.
//!
//! What is entered counts when its group is durable, so `room` does not see what is appended and not yet written: up to two
//! groups may go beyond a quota, and as many messages as are being routed at that moment. What is settled is exact for events
//! that the lane's reader has met; an event that was called done ahead of the reader counts with the mean size of the lane's
//! events until the reader meets it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::tracker::Tracker;

/// Bytes of bodies of one lane, since the log began.
#[derive(Debug, Default)]
pub(crate) struct Account {
    entered: AtomicU64,
    settled: AtomicU64,
    /// 0: no limit.
    quota: AtomicU64,
}

impl Account {
    pub(crate) fn new(entered: u64, settled: u64, quota: u64) -> Self {
        Self { entered: AtomicU64::new(entered), settled: AtomicU64::new(settled), quota: AtomicU64::new(quota) }
    }

    pub(crate) fn enter(&self, bytes: u64) {
        if bytes > 0 {
            self.entered.fetch_add(bytes, Relaxed);
        }
    }

    pub(crate) fn entered(&self) -> u64 {
        self.entered.load(Relaxed)
    }

    /// Under the lane's lock, after its tracker has changed.
    pub(crate) fn settle(&self, tracker: &Tracker) {
        self.settled.store(tracker.settled_bytes(), Relaxed);
    }

    pub(crate) fn leave(&self, bytes: u64) {
        self.settled.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn pending(&self) -> u64 {
        // Settled first: it may only be too old, and nothing is pending less than it is.
        let settled = self.settled.load(Relaxed);
        self.entered().saturating_sub(settled)
    }

    pub(crate) fn quota(&self) -> u64 {
        self.quota.load(Relaxed)
    }

    pub(crate) fn set_quota(&self, quota: u64) {
        self.quota.store(quota, Relaxed);
    }

    /// A lane that begins.
    pub(crate) fn begin(&self, entered: u64, quota: u64) {
        self.entered.store(entered, Relaxed);
        self.settled.store(entered, Relaxed);
        self.set_quota(quota);
    }

    /// Whether `bytes` more fit, when `aside` of what is pending count elsewhere.
    pub(crate) fn has_room(&self, bytes: u64, aside: u64) -> bool {
        let quota = self.quota();
        quota == 0 || self.pending().saturating_sub(aside).saturating_add(bytes) <= quota
    }
}
