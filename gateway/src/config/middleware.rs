//! Configuration of the built-in middleware: one-key maps in a pipeline's list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{Attribute, ByteSize, Name, Named, Period, Pointer, Predicate, Rate, Template};

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = {
    "map": "map comes with a later release",
    "sample": "sample comes with a later release",
    "enrich": "enrich comes with a later release",
    "upcast": "upcasting comes with a later release"
}))]
pub enum Middleware {
    /// Refuses events that are too large.
    Limit(Limit),
    /// Refuses or holds events above a rate.
    RateLimit(RateLimit),
    /// Acknowledges repeats without keeping them again.
    Dedupe(Dedupe),
    /// Refuses events whose data does not fit a schema.
    Validate(Validate),
    /// Lifts members of JSON data into attributes: attribute → JSON pointer. A member that is missing sets nothing.
    Extract(#[schemars(extend("propertyNames" = {"format": "attribute"}))] Named<Pointer>),
    /// Sets attributes: attribute → text with `{name}` for other attributes. A missing one refuses the event.
    Set(#[schemars(extend("propertyNames" = {"format": "attribute"}))] Named<Template>),
    /// Drops events, counted, unless they match.
    Filter(Filter),
}

impl Middleware {
    /// The word of its kind, as in the file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Middleware::Limit(_) => "limit",
            Middleware::RateLimit(_) => "rate_limit",
            Middleware::Dedupe(_) => "dedupe",
            Middleware::Validate(_) => "validate",
            Middleware::Extract(_) => "extract",
            Middleware::Set(_) => "set",
            Middleware::Filter(_) => "filter",
        }
    }
}

/// Refuses events that are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The most bytes of data in one event.
    pub size: ByteSize,
}

/// Refuses or holds events above a rate (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
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

/// Acknowledges repeats without keeping them again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedupe {
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

/// Refuses events whose data does not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// The name of an entry of the top-level `schemas`.
    pub schema: Name,
}

/// Drops events, counted, unless they match.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The events to keep: CloudEvents SQL over their attributes.
    pub keep: Predicate,
}
