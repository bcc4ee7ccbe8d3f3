//! Configuration that every backend has: retry, order, what happens to an event that cannot be delivered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{Attribute, ByteSize, Name, Period, PeriodRange};

/// The keys that stand in every backend, beside those of its kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct BackendConfig {
    /// How a delivery that may succeed later is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// The attribute whose equal values are delivered in the order of their acknowledgement; by default what the record's key
    /// comes from.
    #[serde(default)]
    pub order: Option<Attribute>,
    /// What becomes of an event that this backend never takes.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The disk that its undelivered events may take.
    #[serde(default)]
    pub backlog: Backlog,
    /// False: events go on without this backend while its backlog is full; each is counted as dropped for it. True (the
    /// default): they are held or refused, so that nothing is missing at any backend.
    #[serde(default = "required")]
    pub required: bool,
    /// The name that this backend had before: its undelivered events are its own from then on. May stay in the file.
    #[serde(default)]
    pub renamed_from: Option<Name>,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            order: None,
            on_failure: OnFailure::default(),
            backlog: Backlog::default(),
            required: required(),
            renamed_from: None,
        }
    }
}

fn required() -> bool {
    true
}

/// The disk that a backend's undelivered events may take, beyond the journal's ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backlog {
    /// Above it, events that lead to this backend are held or refused (`storage_full`); others go on. All quotas and the journal
    /// together must fit on the file system of `node.data_dir`. By default 1GiB, or less where the file system is smaller.
    pub max_size: Option<ByteSize>,
}

/// How a delivery that may succeed later is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The most attempts; then `on_failure`. Not given: without end, which loses nothing.
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// The first and the longest wait between attempts; it doubles, with full jitter.
    pub backoff: PeriodRange,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: None, backoff: PeriodRange { low: Period::millis(200), high: Period::secs(30) } }
    }
}

/// What becomes of an event that a backend never takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is kept as a dead letter.
    #[default]
    DeadLetter,
    /// It is dropped and counted.
    Drop,
}
