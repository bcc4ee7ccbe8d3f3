//! What a connection is doing, as its supervisor sees it: requests in flight, half a head, or nothing.
//!
//! The stream notes bytes, the service notes requests; both cost a relaxed atomic, and no timer is touched per request.
use super::guard::Fault;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Shared by the stream, the service and the supervisor of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// HTTP/2 frames come at any time, so bytes are no sign of a head there.
    watches_heads: bool,
    in_flight: AtomicU32,
    /// Milliseconds after `began` when the last request ended.
    ended: AtomicU64,
    /// Milliseconds after `began`, plus one, when the first byte of a head came; 0 while there is none.
    head: AtomicU64,
    unread: AtomicBool,
    refused: OnceLock<Fault>,
}

/// Why a connection ends by its supervisor's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked for too long.
    Idle,
    /// A head is not complete in time.
    Head,
}

impl Activity {
    pub(super) fn new(watches_heads: bool) -> Self {
        Activity {
            began: Instant::now(),
            watches_heads,
            in_flight: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            head: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            refused: OnceLock::new(),
        }
    }

    /// Bytes came in.
    pub(super) fn bytes_came(&self) {
        if self.watches_heads && self.in_flight.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// A request's head is complete; it is in flight until the guard is dropped.
    pub(super) fn request(&self) -> InFlight<'_> {
        self.head.store(0, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// The guard refuses the next head that comes; nothing after it is read.
    pub(super) fn refuse(&self, fault: Fault) {
        self.leaves_unread();
        // The first fault ends the connection, so that there is no second.
        let _first = self.refused.set(fault);
    }

    /// Why the last request of the connection is refused.
    pub(super) fn refused(&self) -> Option<Fault> {
        self.refused.get().copied()
    }

    /// The peer is still sending something that nobody will read.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether closing at once could reset the connection before the peer has read the answer.
    pub(super) fn must_linger(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.head.load(Ordering::Relaxed) != 0
    }

    /// When the connection is overdue if nothing happens until then, and why; `None` while a request is in flight.
    pub(super) fn due(&self, header_timeout: Duration, idle_timeout: Duration) -> Option<(Instant, Overdue)> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        if head > 0 {
            return Some((self.at(head - 1) + header_timeout, Overdue::Head));
        }
        Some((self.at(self.ended.load(Ordering::Relaxed)) + idle_timeout, Overdue::Idle))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.began + Duration::from_millis(milliseconds)
    }
}

/// One request in flight.
pub(super) struct InFlight<'a>(&'a Activity);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.ended.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(9);

    #[tokio::test(start_paused = true)]
    async fn heads_idleness_and_requests() {
        let activity = Activity::new(true);
        let began = Instant::now();
        assert_eq!(activity.due(HEADER, IDLE), Some((began + IDLE, Overdue::Idle)));
        tokio::time::advance(Duration::from_secs(2)).await;
        activity.bytes_came();
        let head = began + Duration::from_secs(3);
        assert_eq!(activity.due(HEADER, IDLE), Some((head, Overdue::Head)));
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.bytes_came();
        assert_eq!(activity.due(HEADER, IDLE), Some((head, Overdue::Head)), "more bytes give no more time");
        let request = activity.request();
        assert_eq!(activity.due(HEADER, IDLE), None);
        drop(request);
        assert_eq!(activity.due(HEADER, IDLE), Some((began + Duration::from_secs(3) + IDLE, Overdue::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn http2_bytes_are_no_head() {
        let activity = Activity::new(false);
        activity.bytes_came();
        assert_eq!(activity.due(HEADER, IDLE).unwrap().1, Overdue::Idle);
    }
}
