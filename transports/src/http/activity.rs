//! What a connection is doing, as its supervisor sees it: requests in flight, half a head, answers that nobody reads, or
//! nothing.
//!
//! The stream notes bytes, the service notes requests; both cost a relaxed atomic, and no timer is touched per request.
use super::guard::Fault;
use std::{
    sync::{
        Arc, OnceLock,
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
    /// Part of a head is kept in front of the server.
    half_head: AtomicBool,
    /// Milliseconds after `began`, plus one, since when the peer takes no bytes; 0 while it does.
    stuck: AtomicU64,
    /// HTTP/2 answers that wait for the peer's window, and, as `stuck`, when the last of them went out or the first came.
    unsent: AtomicU32,
    unsent_since: AtomicU64,
    unread: AtomicBool,
    old: AtomicBool,
    refused: OnceLock<Fault>,
}

/// Why a connection ends by its supervisor's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked for too long.
    Idle,
    /// A head is not complete in time.
    Head,
    /// The peer does not read its answers.
    Write,
    /// The connection has reached its age.
    Old,
}

/// How long a connection may be in one state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

impl Activity {
    pub(super) fn new(watches_heads: bool) -> Self {
        Activity {
            began: Instant::now(),
            watches_heads,
            in_flight: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            head: AtomicU64::new(0),
            half_head: AtomicBool::new(false),
            stuck: AtomicU64::new(0),
            unsent: AtomicU32::new(0),
            unsent_since: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            old: AtomicBool::new(false),
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

    /// Whether part of a head is kept in front of the server, where it does not see it.
    pub(super) fn holds_half_head(&self, holds: bool) {
        self.half_head.store(holds, Ordering::Relaxed);
    }

    /// The peer takes no more bytes for now.
    pub(super) fn writing_sticks(&self) {
        if self.stuck.load(Ordering::Relaxed) == 0 {
            self.stuck.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// The peer took bytes.
    pub(super) fn writing_moves(&self) {
        if self.stuck.load(Ordering::Relaxed) != 0 {
            self.stuck.store(0, Ordering::Relaxed);
        }
    }

    /// The next answer is the last one.
    pub(super) fn grow_old(&self) {
        self.old.store(true, Ordering::Relaxed);
    }

    /// Whether the connection has reached its age.
    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    /// Whether this connection speaks HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        self.watches_heads
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

    /// The connection has to end: if a part of a head has come, the answer to it is the last one, and true is given.
    pub(super) fn ends_with_next(&self) -> bool {
        let began = self.half_head.load(Ordering::Relaxed) || self.head.load(Ordering::Relaxed) != 0;
        let awaited = began && self.in_flight.load(Ordering::Relaxed) == 0;
        if awaited {
            self.grow_old();
        }
        awaited
    }

    /// The peer is still sending something that nobody will read.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether closing at once could reset the connection before the peer has read the answer.
    pub(super) fn must_linger(&self) -> bool {
        let half = self.half_head.load(Ordering::Relaxed) || self.head.load(Ordering::Relaxed) != 0;
        half || self.unread.load(Ordering::Relaxed)
    }

    /// When the connection is overdue if nothing happens until then, and why; `None` while nobody but us is asked.
    pub(super) fn due(&self, patience: Patience) -> Option<(Instant, Overdue)> {
        let stuck = [&self.stuck, &self.unsent_since].map(|since| since.load(Ordering::Relaxed));
        let stuck = stuck.into_iter().filter(|since| *since > 0).min();
        let writing = stuck.map(|since| (self.at(since - 1) + patience.write, Overdue::Write));
        let asking = self.due_to_ask(patience);
        [writing, asking].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn due_to_ask(&self, patience: Patience) -> Option<(Instant, Overdue)> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let head = self.head.load(Ordering::Relaxed);
        let ended = self.ended.load(Ordering::Relaxed);
        if head > 0 || self.half_head.load(Ordering::Relaxed) {
            // Half a head that came behind a request has its time from that request's end on.
            return Some((self.at(head.saturating_sub(1).max(ended)) + patience.header, Overdue::Head));
        }
        Some((self.at(ended) + patience.idle, Overdue::Idle))
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

/// An HTTP/2 answer that has not gone out.
pub(super) struct Unsent(Arc<Activity>);

impl Unsent {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        if activity.unsent.fetch_add(1, Ordering::Relaxed) == 0 {
            activity.unsent_since.store(activity.now() + 1, Ordering::Relaxed);
        }
        Unsent(activity)
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let last = self.0.unsent.fetch_sub(1, Ordering::Relaxed) == 1;
        self.0.unsent_since.store(if last { 0 } else { self.0.now() + 1 }, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(9);
    const WRITE: Duration = Duration::from_secs(4);
    const PATIENCE: Patience = Patience { header: HEADER, idle: IDLE, write: WRITE };

    #[tokio::test(start_paused = true)]
    async fn heads_idleness_and_requests() {
        let activity = Activity::new(true);
        let began = Instant::now();
        assert_eq!(activity.due(PATIENCE), Some((began + IDLE, Overdue::Idle)));
        tokio::time::advance(Duration::from_secs(2)).await;
        activity.bytes_came();
        let head = began + Duration::from_secs(3);
        assert_eq!(activity.due(PATIENCE), Some((head, Overdue::Head)));
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.bytes_came();
        assert_eq!(activity.due(PATIENCE), Some((head, Overdue::Head)), "more bytes give no more time");
        let request = activity.request();
        assert_eq!(activity.due(PATIENCE), None);
        drop(request);
        assert_eq!(activity.due(PATIENCE), Some((began + Duration::from_secs(3) + IDLE, Overdue::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_behind_a_request_has_its_time_from_there() {
        let activity = Activity::new(true);
        let began = Instant::now();
        activity.bytes_came();
        let request = activity.request();
        activity.holds_half_head(true);
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(request);
        assert_eq!(activity.due(PATIENCE), Some((began + Duration::from_secs(5) + HEADER, Overdue::Head)));
        assert!(activity.must_linger());
        activity.holds_half_head(false);
        assert_eq!(activity.due(PATIENCE).unwrap().1, Overdue::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_overdue_even_with_requests_in_flight() {
        let activity = Arc::new(Activity::new(true));
        let began = Instant::now();
        let _request = activity.request();
        activity.writing_sticks();
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.writing_sticks();
        assert_eq!(activity.due(PATIENCE), Some((began + WRITE, Overdue::Write)), "sticking goes on");
        activity.writing_moves();
        assert_eq!(activity.due(PATIENCE), None);
        let (one, two) = (Unsent::new(Arc::clone(&activity)), Unsent::new(Arc::clone(&activity)));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(one);
        let moved = began + Duration::from_secs(2);
        assert_eq!(activity.due(PATIENCE), Some((moved + WRITE, Overdue::Write)), "one of them went out");
        drop(two);
        assert_eq!(activity.due(PATIENCE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_bytes_are_no_head() {
        let activity = Activity::new(false);
        activity.bytes_came();
        assert_eq!(activity.due(PATIENCE).unwrap().1, Overdue::Idle);
    }
}
