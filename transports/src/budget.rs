//! The byte budget: payload bytes that may be between a socket and the disk at one time.
//!
//! One global limit, and a share per principal so that one sender cannot take it all (design rule 4). Room is taken
//! before a payload is read and given back when its [`Room`] is dropped: with the message's verdict.
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

/// The budget of the whole process.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    share_limit: usize,
    used: AtomicUsize,
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
            freed: Notify::new(),
            shares: Mutex::new(HashMap::new()),
        })
    }

    /// Bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
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
        let share = Arc::new(Share { budget: Arc::clone(self), used: AtomicUsize::new(0) });
        shares.insert(principal.to_owned(), Arc::downgrade(&share));
        share
    }
}

/// One principal's part of the budget.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    used: AtomicUsize,
}

impl Share {
    /// Takes room, or `None` when the share or the budget has none now. Never waits.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        take(&self.used, self.budget.share_limit, bytes)?;
        if take(&self.budget.used, self.budget.limit, bytes).is_none() {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            return None;
        }
        Some(Room { bytes, share: Some(Arc::clone(self)) })
    }

    /// Takes room, waiting until there is some. Cancel safe: a dropped future took nothing.
    pub async fn take(self: &Arc<Self>, bytes: usize) -> Room {
        loop {
            let freed = self.budget.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(room) = self.try_take(bytes) {
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

/// Reserved bytes; dropping it gives them back.
#[derive(Debug, Default)]
pub struct Room {
    bytes: usize,
    share: Option<Arc<Share>>,
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

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.bytes > bytes {
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
