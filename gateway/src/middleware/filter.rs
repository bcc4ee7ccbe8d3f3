//! `filter`: drops events, as configured and counted, unless a CESQL predicate is true. An error is not.
use super::Step;
use crate::{router::view::Seen, stack::Batch};
use cesql::Expression;
use schemas::Word;
use std::sync::Arc;

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
