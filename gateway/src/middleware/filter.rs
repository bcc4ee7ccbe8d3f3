//! `filter`: drops events, as configured and counted, unless a CESQL predicate is true. An error is not.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::{router::view::Seen, stack::Batch};
use cesql::Expression;
use schemars::JsonSchema;
use schemas::Word;
use serde::Deserialize;
use settings::Predicate;
use std::sync::Arc;

/// Drops events, counted, unless they match.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// The events to keep: CloudEvents SQL over their attributes.
    pub keep: Predicate,
}

impl Plugin for FilterConfig {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        Ok(stepped(Filter { keep: Arc::clone(self.keep.expression()) }))
    }
}

/// Keeps the events for which the predicate is true.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The predicate.
    pub keep: Arc<Expression>,
}

impl Step for Filter {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn apply(&self, batch: &mut Batch) {
        for (item, door) in batch.alive() {
            if !self.keep.matches(&Seen(item.view(door))).unwrap_or(false) {
                item.drop_as(Word::Filtered);
            }
        }
    }
}
