//! `rate_limit`: at most so many events a second per key (GCRA, the generic cell rate algorithm).
//!
//! A message that is above the rate is not refused here: the batch says when it would fit, and the listener holds or refuses
//! it. What a batch took is given back when it is not kept. Keys are bounded; a forgotten key starts full again.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::stack::{Batch, Claim, Item};
use schemars::JsonSchema;
use schemas::{Door, Refusal, Word};
use serde::{Deserialize, Serialize};
use settings::Rate;
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

const SHARDS: usize = 16;

/// Refuses or holds events above a rate (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitConfig {
    /// What has a rate of its own.
    pub per: Per,
    /// The rate in the long run.
    pub rate: Rate,
    /// How many may come at once; by default one second of the rate, at least 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u64>,
    /// The most keys that are remembered; the one unused for longest is forgotten first.
    #[serde(default = "rate_keys")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_keys: u32,
}

fn rate_keys() -> u32 {
    100_000
}

/// What has a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each `source`.
    Source,
    /// Each principal.
    Principal,
    /// Each `type`.
    Type,
    /// Each `subject`.
    Subject,
    /// Each listener.
    Listener,
    /// One rate for all.
    All,
}

impl Plugin for RateLimitConfig {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        let per_second = self.rate.count / self.rate.per.as_secs().max(1);
        let burst = self.burst.unwrap_or(per_second.max(1));
        let keys = usize::try_from(self.max_keys).unwrap_or(usize::MAX);
        Ok(stepped(RateLimit::new(self.per, self.rate.count, self.rate.per, burst, keys)))
    }
}

impl Per {
    fn key<'a>(self, item: &'a Item, door: &'a Door) -> &'a str {
        match self {
            Per::Source => item.envelope.source(),
            Per::Principal => &door.principal,
            Per::Type => item.envelope.event_type(),
            Per::Subject => item.envelope.get("subject").map(|value| value.text).unwrap_or_default(),
            Per::Listener => &door.listener,
            Per::All => "",
        }
    }
}

/// Limits the rate of events.
#[derive(Clone)]
pub struct RateLimit {
    per: Per,
    table: Arc<Table>,
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("per", &self.per).finish_non_exhaustive()
    }
}

/// When each key's bucket will be full again, as nanoseconds since the table was made.
struct Table {
    shards: [Mutex<HashMap<String, u64>>; SHARDS],
    hasher: RandomState,
    start: Instant,
    /// Nanoseconds that one event costs.
    cost: u64,
    /// Nanoseconds that a key may be ahead.
    depth: u64,
    keys_max: usize,
}

impl RateLimit {
    /// `events` per `period`, `burst` of them at once, for at most `keys_max` keys.
    pub fn new(per: Per, events: u64, period: Duration, burst: u64, keys_max: usize) -> Self {
        let cost = (nanos(period) / events.max(1)).max(1);
        let shards = std::array::from_fn(|_| Mutex::new(HashMap::new()));
        let depth = cost.saturating_mul(burst.max(1));
        let table = Table {
            shards,
            hasher: RandomState::new(),
            start: Instant::now(),
            cost,
            depth,
            keys_max: keys_max.max(SHARDS),
        };
        RateLimit { per, table: Arc::new(table) }
    }
}

impl Step for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn apply(&self, batch: &mut Batch) {
        let now = nanos(self.table.start.elapsed());
        let mut taken = Taken { table: Arc::clone(&self.table), keys: Vec::new() };
        let mut wait = None;
        for (item, door) in batch.alive() {
            let key = self.per.key(item, door);
            match self.table.take(key, now) {
                Ok(()) => taken.keys.push(key.to_owned()),
                Err(nanos) => {
                    wait = Some((key.to_owned(), Duration::from_nanos(nanos)));
                    break;
                }
            }
        }
        if let Some((key, wait)) = wait {
            // Dropping `taken` gives back what this batch took.
            drop(taken);
            let key: String = key.chars().take(80).collect();
            let detail = format!("above the rate of {:?} {key:?}", self.per);
            batch.hold(Refusal::new(Word::RateLimited, detail).retry_after(wait));
            return;
        }
        batch.claims.push(Box::new(taken));
    }
}

impl Table {
    fn shard(&self, key: &str) -> &Mutex<HashMap<String, u64>> {
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        &self.shards[place]
    }

    /// Takes one event's cost, or says after how many nanoseconds it would fit.
    fn take(&self, key: &str, now: u64) -> Result<(), u64> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.keys_max / SHARDS;
        if shard.len() >= most && !shard.contains_key(key) {
            shard.retain(|_, full_at| *full_at > now);
            if shard.len() >= most
                && let Some(other) = shard.keys().next().cloned()
            {
                shard.remove(&other);
            }
        }
        let full_at = shard.entry(key.to_owned()).or_insert(now);
        let after = (*full_at).max(now).saturating_add(self.cost);
        if after - now > self.depth {
            return Err(after - now - self.depth);
        }
        *full_at = after;
        Ok(())
    }

    fn give_back(&self, key: &str) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = shard.get_mut(key) {
            *full_at = full_at.saturating_sub(self.cost);
        }
    }
}

/// What a batch took; given back unless the batch is kept.
struct Taken {
    table: Arc<Table>,
    keys: Vec<String>,
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("keys", &self.keys.len()).finish()
    }
}

impl Claim for Taken {
    fn keep(&mut self, _: u64, _: &dyn Fn(usize) -> bool) {
        self.keys.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for key in &self.keys {
            self.table.give_back(key);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(events: u64, burst: u64, keys: usize) -> Arc<Table> {
        RateLimit::new(Per::All, events, Duration::from_secs(1), burst, keys).table
    }

    #[test]
    fn burst_then_rate() {
        let table = table(10, 3, 100);
        for _ in 0..3 {
            table.take("a", 0).unwrap();
        }
        let wait = table.take("a", 0).unwrap_err();
        assert_eq!(wait, 100_000_000, "one tenth of a second later");
        table.take("a", wait).unwrap();
        assert!(table.take("a", wait).is_err());
        table.take("b", 0).unwrap();
        table.give_back("a");
        table.take("a", wait).unwrap();
    }

    #[test]
    fn keys_are_bounded() {
        let table = table(10, 1, 32);
        for key in 0..10_000 {
            let _either = table.take(&key.to_string(), 0);
        }
        let keys: usize = table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(keys <= 32, "{keys}");
    }
}
