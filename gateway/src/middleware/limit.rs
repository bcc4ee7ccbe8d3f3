//! `limit`: refuses events whose data is larger than a size.
use super::Step;
use crate::stack::Batch;
use schemas::Word;

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
