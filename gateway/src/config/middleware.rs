//! The registry of middleware: one line per kind, as for listeners and backends in [`super::registry`].

use schemars::JsonSchema;
use serde::Deserialize;
use settings::{Named, Pointer, Template};

use crate::middleware::{
    Plugin, dedupe::DedupeConfig, filter::FilterConfig, limit::LimitConfig, rate_limit::RateLimitConfig,
    validate::ValidateConfig,
};

super::registry::registry! {
    /// One step of a pipeline.
    #[schemars(extend("x-later" = {
        "map": "map comes with a later release",
        "sample": "sample comes with a later release",
        "enrich": "enrich comes with a later release",
        "upcast": "upcasting comes with a later release"
    }))]
    Middleware: Plugin,
    /// Refuses events that are too large.
    "limit" => Limit(LimitConfig),
    /// Refuses or holds events above a rate.
    "rate_limit" => RateLimit(RateLimitConfig),
    /// Acknowledges repeats without keeping them again.
    "dedupe" => Dedupe(DedupeConfig),
    /// Refuses events whose data does not fit a schema.
    "validate" => Validate(ValidateConfig),
    /// Lifts members of JSON data into attributes: attribute → JSON pointer. A member that is missing sets nothing.
    "extract" => Extract(#[schemars(extend("propertyNames" = {"format": "attribute"}))] Named<Pointer>),
    /// Sets attributes: attribute → text with `{name}` for other attributes. A missing one refuses the event.
    "set" => Set(#[schemars(extend("propertyNames" = {"format": "attribute"}))] Named<Template>),
    /// Drops events, counted, unless they match.
    "filter" => Filter(FilterConfig),
}
