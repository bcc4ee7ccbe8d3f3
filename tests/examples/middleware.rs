//! `require`: refuses events that lack an attribute.
use gateway::{
    middleware::{BuildContext, Middleware, Plugin, Step, stepped},
    stack::Batch,
};
use schemars::JsonSchema;
use schemas::Word;
use serde::Deserialize;
use settings::Attribute;
use std::sync::Arc;

/// Refuses events that lack an attribute.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequireConfig {
    /// The attribute that every event must have.
    pub attribute: Attribute,
}

impl Plugin for RequireConfig {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        Ok(stepped(Require { attribute: self.attribute.clone() }))
    }
}

/// The step.
#[derive(Clone, Debug)]
pub struct Require {
    attribute: Attribute,
}

impl Step for Require {
    fn name(&self) -> &'static str {
        "require"
    }

    fn apply(&self, batch: &mut Batch) {
        let name = self.attribute.as_str();
        for (item, door) in batch.alive() {
            if item.view(door).get(name).is_none() {
                item.refuse(Word::MissingAttribute, format!("the attribute {name} is required here"));
            }
        }
    }
}
