//! The ids of events that were kept: what `dedupe` and `Idempotency-Key` ask.
//!
//! One table for the process; it outlives a reload, and after a restart it is filled again from the journal, so that a resend
//! after *unknown* costs nothing even then. An entry is reserved before the append, filled with the LSN after it, and removed
//! when nothing was kept (design rule 10); none of it is under the append's lock. Bounded by time and count, of which the
//! largest that any user asked for counts; the oldest is forgotten first: about 100 bytes an entry.
//!
//! Ids are hashed with a secret of the data directory to 96 bits: nobody can make two ids meet. It deliberately does not
//! keep what an event held: of its data a checksum of 32 bits is kept, to tell a resend from another event under the same id.
use crate::clock;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

const SHARDS: usize = 16;

/// Milliseconds by which the table's clock is ahead of the process' start, so that what was kept before has a time, too.
const BEFORE_START: u64 = 1 << 40;

/// The hash of an id: of what makes two events the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    high: u64,
    low: u32,
}

/// An [`Id`] with the checksum of the event's data, as the journal keeps it beside the event.
pub type Key = [u8; 16];

/// As a UUID of version 8 (RFC 9562, section 5.8: of our own making).
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.high, u64::from(self.low));
        let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
        write!(f, "{a:08x}-{b:04x}-8{c:03x}-{:04x}-{low:08x}{:04x}", 0x8000 | high >> 12 & 0xf, 0)
    }
}

impl Id {
    fn of(text: u128) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = text.to_le_bytes();
        Id { high: u64::from_le_bytes([a, b, c, d, e, f, g, h]), low: u32::from_le_bytes([i, j, k, l]) }
    }

    /// The bytes that the journal keeps.
    pub fn with(self, data: u32) -> Key {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.high.to_le_bytes());
        key[8..12].copy_from_slice(&self.low.to_le_bytes());
        key[12..].copy_from_slice(&data.to_le_bytes());
        key
    }

    fn split(key: Key) -> (Self, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = key;
        let id = Id { high: u64::from_le_bytes([a, b, c, d, e, f, g, h]), low: u32::from_le_bytes([i, j, k, l]) };
        (id, u32::from_le_bytes([m, n, o, p]))
    }
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing: it is reserved now.
    New,
    /// The same batch has reserved it: two events of one message are the same.
    Own,
    /// Another batch has reserved it, and what becomes of that is open.
    Reserved,
    /// An event with this id was kept.
    Kept {
        /// Its LSN; 0 when it was delivered without the journal.
        lsn: u64,
        /// Whether its data had the same checksum.
        same_data: bool,
    },
}

#[derive(Clone, Copy)]
enum Entry {
    Reserved { batch: u64 },
    Kept { lsn: u64, data: u32, at: u64 },
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Id, Entry>,
    /// Kept entries, oldest first.
    order: VecDeque<(u64, Id)>,
}

/// The table.
pub struct Ids {
    shards: [Mutex<Shard>; SHARDS],
    secret: [u8; 16],
    start: Instant,
    /// Milliseconds.
    window: AtomicU64,
    most: AtomicUsize,
    batches: AtomicU64,
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

impl Ids {
    /// An empty table. `secret` must stay the same for a data directory.
    pub fn new(secret: [u8; 16]) -> Arc<Self> {
        Arc::new(Ids {
            shards: std::array::from_fn(|_| Mutex::default()),
            secret,
            start: clock::now(),
            window: AtomicU64::new(0),
            most: AtomicUsize::new(SHARDS),
            batches: AtomicU64::new(0),
        })
    }

    /// Somebody asks for ids as old as `window`, and for `most` of them.
    pub fn remember(&self, window: Duration, most: usize) {
        self.window.fetch_max(millis(window), Ordering::Relaxed);
        self.most.fetch_max(most, Ordering::Relaxed);
    }

    /// The hash of what makes two events the same. Parts do not run into each other.
    pub fn id<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> Id {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        Id::of(hasher.finish128().as_u128())
    }

    /// A number for a batch that is going to reserve ids.
    pub fn batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed)
    }

    /// Looks an id up that is at most `window` old, and reserves it when nothing is known.
    pub fn reserve(&self, id: Id, data: u32, batch: u64, window: Duration) -> Met {
        let mut shard = self.shard(id);
        match shard.entries.get(&id).copied() {
            Some(Entry::Reserved { batch: other }) if other == batch => return Met::Own,
            Some(Entry::Reserved { .. }) => return Met::Reserved,
            Some(Entry::Kept { lsn, data: before, at }) if self.now().saturating_sub(at) < millis(window) => {
                return Met::Kept { lsn, same_data: before == data };
            }
            Some(Entry::Kept { .. }) | None => {}
        }
        shard.entries.insert(id, Entry::Reserved { batch });
        Met::New
    }

    /// The event was kept.
    pub fn fill(&self, id: Id, data: u32, lsn: u64) {
        self.keep(id, data, lsn, self.now());
    }

    /// An event that was kept before this process began, at `received`. Called in the order of the LSNs.
    pub fn restore(&self, key: Key, lsn: u64, received: SystemTime) {
        let (id, data) = Id::split(key);
        let age = millis(received.elapsed().unwrap_or_default());
        self.keep(id, data, lsn, self.now().saturating_sub(age));
    }

    /// The event was not kept.
    pub fn remove(&self, id: Id) {
        let mut shard = self.shard(id);
        if matches!(shard.entries.get(&id), Some(Entry::Reserved { .. })) {
            shard.entries.remove(&id);
        }
    }

    fn keep(&self, id: Id, data: u32, lsn: u64, at: u64) {
        let (now, window) = (self.now(), self.window.load(Ordering::Relaxed));
        let most = self.most.load(Ordering::Relaxed).div_ceil(SHARDS);
        let mut shard = self.shard(id);
        shard.entries.insert(id, Entry::Kept { lsn, data, at });
        shard.order.push_back((at, id));
        while let Some((at, oldest)) = shard.order.front().copied() {
            if shard.order.len() <= most && now.saturating_sub(at) < window {
                break;
            }
            shard.order.pop_front();
            // A newer entry under the same id has its own place in the order.
            if matches!(shard.entries.get(&oldest), Some(Entry::Kept { at: kept, .. }) if *kept == at) {
                shard.entries.remove(&oldest);
            }
        }
    }

    fn shard(&self, id: Id) -> std::sync::MutexGuard<'_, Shard> {
        let place = usize::try_from(id.high % SHARDS as u64).unwrap_or(0);
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        BEFORE_START + millis(clock::since(self.start))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn table(window: Duration, most: usize) -> Arc<Ids> {
        let ids = Ids::new([7; 16]);
        ids.remember(window, most);
        ids
    }

    #[test]
    fn reserved_filled_removed() {
        let ids = table(MINUTE, 1000);
        let id = ids.id(["a", "b"]);
        assert_ne!(id, ids.id(["ab", ""]), "parts do not run into each other");
        assert_eq!(ids.reserve(id, 1, 1, MINUTE), Met::New);
        assert_eq!(ids.reserve(id, 1, 1, MINUTE), Met::Own);
        assert_eq!(ids.reserve(id, 1, 2, MINUTE), Met::Reserved);
        ids.remove(id);
        assert_eq!(ids.reserve(id, 1, 3, MINUTE), Met::New, "an append that was refused leaves nothing");
        ids.fill(id, 1, 77);
        assert_eq!(ids.reserve(id, 1, 4, MINUTE), Met::Kept { lsn: 77, same_data: true });
        assert_eq!(ids.reserve(id, 2, 5, MINUTE), Met::Kept { lsn: 77, same_data: false });
        ids.remove(id);
        assert_eq!(ids.reserve(id, 1, 6, MINUTE), Met::Kept { lsn: 77, same_data: true }, "what was kept stays");
    }

    #[test]
    fn forgets_by_time_and_count() {
        let short = table(Duration::ZERO, 1000);
        let id = short.id(["x"]);
        short.fill(id, 0, 5);
        assert_eq!(short.reserve(id, 0, 1, Duration::ZERO), Met::New);
        let small = table(MINUTE, SHARDS * 2);
        let id = |n| Id { high: 0, low: n };
        for n in 0..10 {
            small.fill(id(n), 0, u64::from(n));
        }
        assert!(matches!(small.reserve(id(9), 0, 1, MINUTE), Met::Kept { lsn: 9, .. }));
        assert_eq!(small.reserve(id(0), 0, 1, MINUTE), Met::New, "the oldest is forgotten first");
    }

    #[test]
    fn a_restart_keeps_the_age() {
        let (before, ids) = (table(MINUTE, 1000), table(MINUTE, 1000));
        let [young, old] = ["young", "old"].map(|name| before.id([name]));
        let now = SystemTime::now();
        ids.restore(old.with(9), 10, now.checked_sub(2 * MINUTE).unwrap_or(now));
        ids.restore(young.with(9), 11, now.checked_sub(MINUTE / 2).unwrap_or(now));
        assert_eq!(ids.reserve(young, 9, 1, MINUTE), Met::Kept { lsn: 11, same_data: true });
        assert_eq!(ids.reserve(old, 9, 1, MINUTE), Met::New);
    }
}
