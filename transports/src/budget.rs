//! The byte budget: payload bytes that may be between a socket and the disk at one time.
//!
//! One global limit, and a share per principal so that one sender cannot take it all (design rule 4). Room is taken
//! before a payload is read and given back when its [`Room`] is dropped: with the message's verdict.
//!
//! Messages that are held, because what they wait for may come, may have a quarter of the budget at most, over all listeners: one
//! half of that for the heads that wait, the other for what was read behind them. When the others have theirs, streams whose
//! head is held read no further ([`Room::line_up`]), and streams that are well go on. A principal whose heads have a
//! [`SHARE_PARTS`]th of their half, or that has any while that half is used up, reads no new message on listeners that hold
//! ([`Share::try_read`]): stuck heads stop other streams of their own principal, never those of principals without any.
//! Those may come above the half, each by what it read before its first message was held.
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// Default of the global budget.
pub const BUDGET_DEFAULT: usize = 256 * 1024 * 1024;
/// A principal may hold this part of the budget: one in `SHARE_PARTS`.
pub const SHARE_PARTS: usize = 4;

/// Held messages may have this part of the budget: one in `HELD_PARTS`, half of it for heads, half for what is behind them.
pub const HELD_PARTS: usize = 4;

/// The budget of the whole process.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    share_limit: usize,
    used: AtomicUsize,
    /// Of that: messages that wait at the head of their streams, and those that were read behind them.
    heads: AtomicUsize,
    behind: AtomicUsize,
    freed: Notify,
    shares: Mutex<HashMap<String, Weak<Share>>>,
}

impl Budget {
    /// A budget of `limit` bytes, of which one principal may hold a [`SHARE_PARTS`]th.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget {
            limit,
            share_limit: (limit / SHARE_PARTS).max(1),
            used: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            behind: AtomicUsize::new(0),
            freed: Notify::new(),
            shares: Mutex::new(HashMap::new()),
        })
    }

    /// Bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes of held messages: heads of their streams, and those behind them.
    pub fn held(&self) -> (usize, usize) {
        (self.heads.load(Ordering::Relaxed), self.behind.load(Ordering::Relaxed))
    }

    /// What each of the two may be.
    fn held_limit(&self) -> usize {
        self.limit / HELD_PARTS / 2
    }

    /// What one principal's heads may be before it reads nothing new.
    fn heads_part(&self) -> usize {
        (self.held_limit() / SHARE_PARTS).max(1)
    }

    fn counter(&self, held: Held) -> Option<&AtomicUsize> {
        match held {
            Held::No => None,
            Held::Head => Some(&self.heads),
            Held::Behind => Some(&self.behind),
        }
    }

    /// The global limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The share of a principal, shared by all its streams.
    pub fn share(self: &Arc<Self>, principal: &str) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(principal).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share { budget: Arc::clone(self), used: AtomicUsize::new(0), heads: AtomicUsize::new(0) });
        shares.insert(principal.to_owned(), Arc::downgrade(&share));
        share
    }
}

/// One principal's part of the budget.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    used: AtomicUsize,
    /// Of that: messages that wait at the head of their streams.
    heads: AtomicUsize,
}

impl Share {
    /// Takes room, or `None` when the share or the budget has none now. Never waits.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        take(&self.used, self.budget.share_limit, bytes)?;
        if take(&self.budget.used, self.budget.limit, bytes).is_none() {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            return None;
        }
        Some(Room { bytes, share: Some(Arc::clone(self)), held: Held::No })
    }

    /// As [`Share::try_take`], for a listener that holds what finds no room: none while this principal's held heads have their
    /// part, or while all heads have theirs and some are this principal's.
    pub fn try_read(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let (own, all) = (self.heads.load(Ordering::Relaxed), self.budget.heads.load(Ordering::Relaxed));
        let stuck = own >= self.budget.heads_part() || (own > 0 && all >= self.budget.held_limit());
        if stuck { None } else { self.try_take(bytes) }
    }

    /// Whether a message of `bytes` could line up behind a held one now, see [`Room::line_up`].
    pub fn fits_behind(&self, bytes: usize) -> bool {
        let behind = self.budget.behind.load(Ordering::Relaxed);
        behind.saturating_add(bytes) <= self.budget.held_limit()
    }

    /// Takes room as [`Share::try_read`] does, waiting until there is some. Cancel safe: a dropped future took nothing.
    pub async fn take(self: &Arc<Self>, bytes: usize) -> Room {
        loop {
            let freed = self.budget.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(room) = self.try_read(bytes) {
                return room;
            }
            freed.await;
        }
    }

    /// Whether this many bytes can ever be granted.
    pub fn can_ever_take(&self, bytes: usize) -> bool {
        bytes <= self.budget.share_limit
    }
}

fn take(used: &AtomicUsize, limit: usize, bytes: usize) -> Option<()> {
    used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| now.checked_add(bytes).filter(|after| *after <= limit))
        .ok()
        .map(|_| ())
}

/// Whether a message waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    No,
    Head,
    Behind,
}

/// Reserved bytes; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Room {
    bytes: usize,
    share: Option<Arc<Share>>,
    held: Held,
}

impl Room {
    /// Adds `bytes`, or says `false` when there is no room now. Never waits.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let Some(share) = &self.share else { return true };
        let Some(mut more) = share.try_take(bytes) else { return false };
        self.bytes += bytes;
        more.bytes = 0;
        true
    }

    /// The message waits at the head of its stream: its bytes count as held, whatever that makes of their part.
    pub fn hold(&mut self) {
        self.count(Held::Head);
    }

    /// The message was read behind a held one; `false` when those have their part, and then it counts as before.
    pub fn line_up(&mut self) -> bool {
        let Some(share) = self.share.as_ref().filter(|_| self.held != Held::Behind) else { return true };
        let budget = &share.budget;
        if take(&budget.behind, budget.held_limit(), self.bytes).is_none() {
            return false;
        }
        self.go();
        self.held = Held::Behind;
        true
    }

    /// The message goes on.
    pub fn go(&mut self) {
        self.count(Held::No);
    }

    fn count(&mut self, held: Held) {
        let before = std::mem::replace(&mut self.held, held);
        let Some(share) = self.share.as_ref().filter(|_| before != held) else { return };
        let budget = &share.budget;
        if let Some(counter) = budget.counter(held) {
            counter.fetch_add(self.bytes, Ordering::AcqRel);
        }
        if held == Held::Head {
            share.heads.fetch_add(self.bytes, Ordering::AcqRel);
        }
        let Some(counter) = budget.counter(before) else { return };
        let all = counter.fetch_sub(self.bytes, Ordering::AcqRel);
        if before != Held::Head {
            return;
        }
        let own = share.heads.fetch_sub(self.bytes, Ordering::AcqRel);
        let fell = |had: usize, limit: usize| had >= limit && had - self.bytes < limit;
        let last = own == self.bytes && all >= budget.held_limit();
        // Only what lets somebody read wakes those who wait.
        if last || fell(own, budget.heads_part()) || fell(all, budget.held_limit()) {
            budget.freed.notify_waiters();
        }
    }

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.bytes > bytes {
            self.go();
            give_back(self.share.as_ref(), self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.go();
            give_back(self.share.as_ref(), self.bytes);
        }
    }
}

fn give_back(share: Option<&Arc<Share>>, bytes: usize) {
    if let Some(share) = share {
        share.used.fetch_sub(bytes, Ordering::AcqRel);
        let before = share.budget.used.fetch_sub(bytes, Ordering::AcqRel);
        // Somebody can be waiting only while the budget or a share is nearly used up.
        if before > share.budget.limit / 2 || share.used.load(Ordering::Relaxed) + bytes > share.budget.share_limit / 2
        {
            share.budget.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_share_is_a_quarter_and_comes_back() {
        let budget = Budget::new(400);
        let ann = budget.share("ann");
        let bob = budget.share("bob");
        let room = ann.try_take(100).unwrap();
        assert!(ann.try_take(1).is_none(), "the share is used up");
        let mut other = bob.try_take(60).unwrap();
        assert!(other.try_grow(40));
        assert!(!other.try_grow(1));
        assert_eq!(budget.used(), 200);
        drop(room);
        drop(other);
        assert_eq!(budget.used(), 0);
        assert!(Arc::ptr_eq(&ann, &budget.share("ann")));
    }

    #[tokio::test]
    async fn held_messages_have_a_quarter_and_streams_that_are_well_go_on() {
        let budget = Budget::new(8000);
        let share = budget.share("ann");
        let mut behind: Vec<Room> = (0..10).map(|_| share.try_take(100).unwrap()).collect();
        assert!(behind.iter_mut().all(Room::line_up), "an eighth");
        assert!(behind[0].line_up(), "it is there already");
        let mut more = share.try_take(100).unwrap();
        assert!(!more.line_up());
        assert_eq!(budget.held(), (0, 1000));
        assert!(share.try_read(1).is_some(), "other streams are read");
        more.hold();
        behind[0].hold();
        assert_eq!(budget.held(), (200, 900), "a head that was behind another one");
        let mut head = budget.share("bob").try_take(800).unwrap();
        head.hold();
        assert!(share.try_read(1).is_none() && share.try_take(1).is_some(), "listeners that hold read nothing new");
        let waiting = tokio::spawn({
            let share = Arc::clone(&share);
            async move { share.take(1).await.bytes() }
        });
        tokio::task::yield_now().await;
        head.go();
        let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert_eq!(waited.expect("woken").unwrap(), 1);
        drop((behind, more, head));
        assert_eq!((budget.held(), budget.used()), ((0, 0), 0));
    }

    #[tokio::test]
    async fn held_heads_stop_their_own_principal_only() {
        // 1,000 for all heads, and 250 for those of one principal.
        let budget = Budget::new(8000);
        let (ann, bob, eve) = (budget.share("ann"), budget.share("bob"), budget.share("eve"));
        let hold = |share: &Arc<Share>, bytes| {
            let mut room = share.try_take(bytes).unwrap();
            room.hold();
            room
        };
        let mut stuck = hold(&ann, 150);
        assert!(ann.try_read(1).is_some());
        let mut more = hold(&ann, 100);
        assert!(ann.try_read(1).is_none() && bob.try_read(1).is_some(), "ann has her part, bob has none");
        let waiting = |share: &Arc<Share>| {
            let share = Arc::clone(share);
            tokio::spawn(async move { share.take(1).await.bytes() })
        };
        let woken = async |waiting: tokio::task::JoinHandle<usize>| {
            tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken").unwrap()
        };
        let reads = waiting(&ann);
        tokio::task::yield_now().await;
        more.go();
        assert_eq!(woken(reads).await, 1, "below her part");
        let rooms: Vec<Room> = ["a", "b", "c", "d"].iter().map(|name| hold(&budget.share(name), 240)).collect();
        assert_eq!(budget.held().0, 1110);
        assert!(ann.try_read(1).is_none() && budget.share("a").try_read(1).is_none(), "all heads have their half");
        assert!(eve.try_read(1).is_some(), "she holds none");
        let large = hold(&budget.share("f"), 500);
        let gus = budget.share("gus");
        let (mut one, other) = (hold(&gus, 100), hold(&gus, 100));
        let mut freed = std::pin::pin!(budget.freed.notified());
        freed.as_mut().enable();
        one.go();
        assert!(!freed.as_mut().enable(), "that lets nobody read, and wakes nobody");
        drop((one, other));
        let reads = waiting(&ann);
        tokio::task::yield_now().await;
        stuck.go();
        assert_eq!(woken(reads).await, 1, "she holds none any more");
        drop((rooms, large, stuck, more));
        assert_eq!((budget.held(), budget.used()), ((0, 0), 0));
        assert!(ann.try_read(1).is_some() && budget.share("a").try_read(1).is_some());
    }

    #[test]
    fn what_fits_behind_is_known_before() {
        let budget = Budget::new(8000);
        let ann = budget.share("ann");
        let mut room = ann.try_take(600).unwrap();
        assert!(room.line_up() && ann.fits_behind(400) && !ann.fits_behind(401));
    }

    #[tokio::test]
    async fn a_waiter_gets_freed_room() {
        let budget = Budget::new(400);
        let share = budget.share("");
        let room = share.try_take(100).unwrap();
        let waiting = tokio::spawn({
            let share = Arc::clone(&share);
            async move { share.take(50).await.bytes() }
        });
        tokio::task::yield_now().await;
        drop(room);
        assert_eq!(waiting.await.unwrap(), 50);
    }
}
