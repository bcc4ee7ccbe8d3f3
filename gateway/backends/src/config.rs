//! Configuration that every backend has: retry, order, what happens to an event that cannot be delivered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{Attribute, Period, PeriodRange};

/// The keys that stand in every backend, beside those of its kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
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
