//! `dedupe`: acknowledges repeats without keeping them again.
//!
//! It is one with the append (design rule 10) without being under its lock: an entry is reserved here, filled with the LSN
//! when the batch is kept, and removed when it is not. Who meets a reserved entry looks again. A duplicate gets the answer of
//! the first: it waits for the first one's LSN. Bounded by time and count; the oldest is forgotten first. The table is in
//! memory: after a restart a resend is kept again (backends see the same source and id).
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::{
    clock,
    stack::{Batch, Claim, Item},
};
use schemars::JsonSchema;
use schemas::{Door, ItemVerdict, Refusal, Word};
use serde::{Deserialize, Serialize};
use settings::{Attribute, Period};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const SHARDS: usize = 16;
/// How soon somebody who met a reserved entry looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Acknowledges repeats without keeping them again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeConfig {
    /// The attributes that make two events of one principal the same.
    #[serde(default = "source_and_id")]
    #[schemars(length(min = 1, max = 8))]
    pub by: Vec<Attribute>,
    /// How long an event is remembered.
    #[serde(default = "ten_minutes")]
    pub window: Period,
    /// The most events that are remembered; the oldest is forgotten first.
    #[serde(default = "dedupe_keys")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_keys: u32,
}

fn source_and_id() -> Vec<Attribute> {
    ["source", "id"].iter().filter_map(|name| name.parse().ok()).collect()
}

fn ten_minutes() -> Period {
    Period::secs(600)
}

fn dedupe_keys() -> u32 {
    1_000_000
}

impl Plugin for DedupeConfig {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        let by = self.by.iter().map(|name| name.as_str().to_owned()).collect();
        let keys = usize::try_from(self.max_keys).unwrap_or(usize::MAX);
        Ok(stepped(Dedupe::new(by, self.window.get(), keys)))
    }
}

/// Settles events that were kept before.
#[derive(Clone)]
pub struct Dedupe {
    by: Vec<String>,
    table: Arc<Table>,
}

impl fmt::Debug for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedupe").field("by", &self.by).finish_non_exhaustive()
    }
}

/// Principal and key, hashed with two secret keys to 128 bits: nobody can make two keys meet.
type Key = (u64, u64);

#[derive(Clone, Copy)]
enum Entry {
    Reserved { batch: u64 },
    Kept { lsn: u64, at: Instant },
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    /// Kept entries, oldest first.
    order: VecDeque<(Instant, Key)>,
}

struct Table {
    shards: [Mutex<Shard>; SHARDS],
    hashers: (RandomState, RandomState),
    window: Duration,
    keys_max: usize,
    batches: AtomicU64,
}

enum Met {
    New,
    /// By the same batch: two events of one message are the same.
    Own,
    Reserved,
    Kept(u64),
}

impl Dedupe {
    /// Events of one principal with the same values of `by` are the same for `window`; at most `keys_max` are remembered.
    pub fn new(by: Vec<String>, window: Duration, keys_max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let hashers = (RandomState::new(), RandomState::new());
        let table = Table { shards, hashers, window, keys_max: keys_max.max(SHARDS), batches: AtomicU64::new(0) };
        Dedupe { by, table: Arc::new(table) }
    }

    /// The event's key. An `Idempotency-Key` stands for the whole message: it is the id of a bare event, which has none of its
    /// own to be known by.
    fn key(&self, item: &Item, door: &Door, dedupe_id: Option<&str>) -> Key {
        let hash = |hasher: &RandomState| {
            let mut hasher = hasher.build_hasher();
            let mut part = |text: &str| {
                hasher.write(text.as_bytes());
                hasher.write_u8(0xff);
            };
            part(&door.principal);
            if let Some(id) = dedupe_id {
                part("idempotency-key");
                part(&door.listener);
                part(id);
                part(&item.number.to_string());
                return hasher.finish();
            }
            let view = item.view(door);
            for name in &self.by {
                part(view.get(name).map(|value| value.text).unwrap_or_default());
            }
            hasher.finish()
        };
        (hash(&self.table.hashers.0), hash(&self.table.hashers.1))
    }
}

impl Step for Dedupe {
    fn name(&self) -> &'static str {
        "dedupe"
    }

    fn apply(&self, batch: &mut Batch) {
        let number = self.table.batches.fetch_add(1, Ordering::Relaxed);
        let mut reserved = Reserved { table: Arc::clone(&self.table), keys: Vec::new() };
        let mut met_reserved = false;
        let dedupe_id = batch.dedupe_id.clone();
        for (item, door) in batch.alive() {
            let key = self.key(item, door, dedupe_id.as_deref());
            match self.table.reserve(key, number) {
                Met::New => reserved.keys.push((item.number, key)),
                Met::Own => item.fate = Some(ItemVerdict::Duplicate),
                Met::Kept(lsn) => {
                    item.fate = Some(ItemVerdict::Duplicate);
                    item.duplicate_of = lsn;
                }
                Met::Reserved => {
                    met_reserved = true;
                    break;
                }
            }
        }
        if met_reserved {
            drop(reserved);
            let detail = "the first event with this key has no answer yet";
            batch.hold_briefly(Refusal::new(Word::IdInUse, detail).retry_after(LOOK_AGAIN));
            return;
        }
        batch.claims.push(Box::new(reserved));
    }
}

impl Table {
    fn shard(&self, key: Key) -> &Mutex<Shard> {
        let place = usize::try_from(key.0 % SHARDS as u64).unwrap_or(0);
        &self.shards[place]
    }

    fn reserve(&self, key: Key, batch: u64) -> Met {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        match shard.entries.get(&key).copied() {
            Some(Entry::Reserved { batch: other }) if other == batch => return Met::Own,
            Some(Entry::Reserved { .. }) => return Met::Reserved,
            Some(Entry::Kept { lsn, at }) if clock::since(at) < self.window => return Met::Kept(lsn),
            Some(Entry::Kept { .. }) | None => {}
        }
        shard.entries.insert(key, Entry::Reserved { batch });
        Met::New
    }

    fn fill(&self, key: Key, lsn: u64) {
        let now = clock::now();
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        shard.entries.insert(key, Entry::Kept { lsn, at: now });
        shard.order.push_back((now, key));
        let most = self.keys_max / SHARDS;
        while let Some((at, oldest)) = shard.order.front().copied() {
            if shard.order.len() <= most && now.duration_since(at) < self.window {
                break;
            }
            shard.order.pop_front();
            // A newer entry under the same key has its own place in the order.
            if matches!(shard.entries.get(&oldest), Some(Entry::Kept { at: kept, .. }) if *kept == at) {
                shard.entries.remove(&oldest);
            }
        }
    }

    fn remove(&self, key: Key) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(shard.entries.get(&key), Some(Entry::Reserved { .. })) {
            shard.entries.remove(&key);
        }
    }
}

/// The entries that a batch reserved; removed unless the batch is kept.
struct Reserved {
    table: Arc<Table>,
    /// The event's number in its message, and its key.
    keys: Vec<(usize, Key)>,
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("keys", &self.keys.len()).finish()
    }
}

impl Claim for Reserved {
    fn keep(&mut self, lsn: u64, kept: &dyn Fn(usize) -> bool) {
        // An event that was refused beside kept ones must not make its resend a duplicate: its entry is removed.
        for (number, key) in self.keys.drain(..) {
            if kept(number) {
                self.table.fill(key, lsn);
            } else {
                self.table.remove(key);
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (_, key) in &self.keys {
            self.table.remove(*key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(window: Duration, keys: usize) -> Arc<Table> {
        Dedupe::new(Vec::new(), window, keys).table
    }

    #[test]
    fn reserved_filled_removed() {
        let table = table(Duration::from_secs(60), 1000);
        let key = (1, 2);
        assert!(matches!(table.reserve(key, 1), Met::New));
        assert!(matches!(table.reserve(key, 1), Met::Own));
        assert!(matches!(table.reserve(key, 2), Met::Reserved));
        drop(Reserved { table: Arc::clone(&table), keys: vec![(0, key)] });
        assert!(matches!(table.reserve(key, 3), Met::New), "an append that was refused leaves nothing");
        Reserved { table: Arc::clone(&table), keys: vec![(0, key), (1, (3, 4))] }.keep(77, &|number| number == 0);
        assert!(matches!(table.reserve((3, 4), 9), Met::New), "refused beside a kept one");
        assert!(matches!(table.reserve(key, 4), Met::Kept(77)));
    }

    #[test]
    fn forgets_by_time_and_count() {
        let short = table(Duration::ZERO, 1000);
        short.fill((1, 1), 5);
        assert!(matches!(short.reserve((1, 1), 1), Met::New));
        let small = table(Duration::from_secs(60), SHARDS * 2);
        for n in 0..10 {
            small.fill((0, n), n);
        }
        assert!(matches!(small.reserve((0, 9), 1), Met::Kept(9)));
        assert!(matches!(small.reserve((0, 0), 1), Met::New), "the oldest is forgotten first");
    }
}
