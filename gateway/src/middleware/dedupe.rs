//! `dedupe`: acknowledges repeats without keeping them again.
//!
//! It is one with the append (design rule 10) without being under its lock: an entry of [`Ids`] is reserved here, filled with
//! the LSN when the batch is kept, and removed when it is not. Who meets a reserved entry looks again. A duplicate gets the
//! answer of the first: it waits for the first one's LSN, or for the end of its direct delivery. Where an `id` is among what
//! makes two events the same, other data under it is refused (`id_reused`): it is no resend.
//!
//! `Idempotency-Key` of a bare HTTP event is the same step with the key for an id, on every listener, configured or not.
//! The table outlives reload and restart. Of an event that passes several `dedupe` steps the journal keeps the first one's
//! id, so after a restart only that one knows it.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::{
    ids::{Id, Ids, Met},
    stack::{Batch, Claim, Item},
};
use schemars::JsonSchema;
use schemas::{Door, ItemVerdict, Refusal, Word};
use serde::{Deserialize, Serialize};
use settings::{Attribute, Period};
use std::{fmt, sync::Arc, time::Duration};

/// How long an `Idempotency-Key` is remembered, and how many of them.
const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(600);
const IDEMPOTENCY_KEYS: usize = 1_000_000;

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
    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        let by = self.by.iter().map(|name| name.as_str().to_owned()).collect();
        let keys = usize::try_from(self.max_keys).unwrap_or(usize::MAX);
        Ok(stepped(Dedupe::new(Arc::clone(cx.ids), by, self.window.get(), keys)))
    }

    fn remembers(&self) -> Option<(Duration, u64)> {
        Some((self.window.get(), u64::from(self.max_keys)))
    }
}

/// What makes two events of one principal the same.
#[derive(Clone, Debug)]
enum By {
    /// The values of these attributes.
    Attributes(Vec<String>),
    /// The message's `Idempotency-Key`, on one listener; messages without one pass.
    IdempotencyKey,
}

/// Settles events that were kept before.
#[derive(Clone)]
pub struct Dedupe {
    by: By,
    /// Whether other data under the same id is refused.
    compare: bool,
    window: Duration,
    ids: Arc<Ids>,
}

impl fmt::Debug for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedupe").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Dedupe {
    /// Events of one principal with the same values of `by` are the same for `window`; the table remembers at least `keys`.
    pub fn new(ids: Arc<Ids>, by: Vec<String>, window: Duration, keys: usize) -> Self {
        ids.remember(window, keys);
        let compare = by.iter().any(|name| name == "id");
        Dedupe { by: By::Attributes(by), compare, window, ids }
    }

    /// Bare events of one principal and listener with the same `Idempotency-Key` are the same.
    pub fn idempotency_key(ids: Arc<Ids>) -> Self {
        ids.remember(IDEMPOTENCY_WINDOW, IDEMPOTENCY_KEYS);
        Dedupe { by: By::IdempotencyKey, compare: true, window: IDEMPOTENCY_WINDOW, ids }
    }

    fn id(&self, item: &Item, door: &Door, dedupe_id: &str) -> Id {
        match &self.by {
            By::Attributes(by) => {
                let view = item.view(door);
                let value = |name: &'_ String| view.get(name).map(|value| value.text).unwrap_or_default();
                let pairs = by.iter().flat_map(|name| [name.as_str(), value(name)]);
                self.ids.id(["attributes", &door.principal].into_iter().chain(pairs))
            }
            // The key stands for the whole message; its events are told apart by their place.
            By::IdempotencyKey => {
                let place = item.number.to_string();
                self.ids.id(["idempotency-key", &door.principal, &door.listener, dedupe_id, &place])
            }
        }
    }
}

impl Step for Dedupe {
    fn name(&self) -> &'static str {
        match self.by {
            By::Attributes(_) => "dedupe",
            By::IdempotencyKey => "idempotency_key",
        }
    }

    fn apply(&self, batch: &mut Batch) {
        let dedupe_id = match (&self.by, &batch.dedupe_id) {
            (By::IdempotencyKey, None) => return,
            (By::IdempotencyKey, Some(key)) => key.clone(),
            (By::Attributes(_), _) => schemas::ByteStr::EMPTY,
        };
        let number = self.ids.batch();
        let mut reserved = Reserved { ids: Arc::clone(&self.ids), entries: Vec::new() };
        let mut met_reserved = false;
        for (item, door) in batch.alive() {
            let id = self.id(item, door, &dedupe_id);
            if matches!(self.by, By::IdempotencyKey) {
                name_after(item, id);
            }
            let data = crc32c::crc32c(item.envelope.data());
            match self.ids.reserve(id, data, number, self.window) {
                Met::New => {
                    item.id.get_or_insert_with(|| id.with(data));
                    reserved.entries.push((item.number, id, data));
                }
                Met::Own => item.fate = Some(ItemVerdict::Duplicate),
                Met::Kept { same_data: false, .. } if self.compare => {
                    item.refuse(Word::IdReused, "an event with this id was kept before, with other data");
                }
                Met::Kept { lsn, .. } => {
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
            let detail = "the first event with this id has no answer yet";
            batch.hold_briefly(Refusal::new(Word::IdInUse, detail).retry_after(LOOK_AGAIN));
            return;
        }
        batch.claims.push(Box::new(reserved));
    }
}

/// Gives a bare event an `id` that follows from its key, so that the answer to a resend names the event that was kept.
fn name_after(item: &mut Item, id: Id) {
    let mut attributes = item.envelope.edit();
    let data = item.envelope.data().clone();
    // An id of a UUID's form is legal, and the envelope was.
    if attributes.set("id", &id.to_string(), schemas::Kind::String).is_ok()
        && let Ok(envelope) = attributes.freeze(data)
    {
        item.change(envelope);
    }
}

/// The entries that a batch reserved; removed unless the batch is kept.
struct Reserved {
    ids: Arc<Ids>,
    /// The event's number in its message, its id, and the checksum of its data.
    entries: Vec<(usize, Id, u32)>,
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("entries", &self.entries.len()).finish()
    }
}

impl Claim for Reserved {
    fn keep(&mut self, lsn: u64, kept: &dyn Fn(usize) -> bool) {
        // An event that was refused beside kept ones must not make its resend a duplicate: its entry is removed.
        for (number, id, data) in self.entries.drain(..) {
            if kept(number) {
                self.ids.fill(id, data, lsn);
            } else {
                self.ids.remove(id);
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (_, id, _) in &self.entries {
            self.ids.remove(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let ids = Ids::new([1; 16]);
        let dedupe = Dedupe::new(Arc::clone(&ids), Vec::new(), Duration::from_secs(60), 1000);
        let [first, second] = ["first", "second"].map(|name| ids.id([name]));
        assert_eq!(ids.reserve(first, 0, 1, dedupe.window), Met::New);
        drop(Reserved { ids: Arc::clone(&ids), entries: vec![(0, first, 0)] });
        assert_eq!(ids.reserve(first, 0, 2, dedupe.window), Met::New);
        assert_eq!(ids.reserve(second, 0, 2, dedupe.window), Met::New);
        let mut reserved = Reserved { ids: Arc::clone(&ids), entries: vec![(0, first, 0), (1, second, 0)] };
        reserved.keep(77, &|number| number == 0);
        assert_eq!(ids.reserve(second, 0, 3, dedupe.window), Met::New, "refused beside a kept one");
        assert_eq!(ids.reserve(first, 0, 3, dedupe.window), Met::Kept { lsn: 77, same_data: true });
    }
}
