//! `limit`: refuses events whose data is larger than a size.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::stack::Batch;
use schemars::JsonSchema;
use schemas::Word;
use serde::{Deserialize, Serialize};
use settings::ByteSize;
use std::sync::Arc;

/// Refuses events that are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// The most bytes of data in one event.
    pub size: ByteSize,
}

impl Plugin for LimitConfig {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        Ok(stepped(Limit { size: self.size.as_usize() }))
    }
}

/// Refuses events with more data than this.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Most bytes of data in one event.
    pub size: usize,
}

impl Step for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn apply(&self, batch: &mut Batch) {
        for (item, _) in batch.alive() {
            let size = item.envelope.data().len();
            if size > self.size {
                item.refuse(Word::TooLarge, format!("the data is {size} bytes, the limit is {}", self.size));
            }
        }
    }
}
