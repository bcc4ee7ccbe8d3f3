//! `extract`: lifts members of JSON data into attributes, so that routes can ask for them.
//!
//! A member that is missing, or an event whose data is not JSON, sets nothing. Strings, booleans and 32-bit integers keep their
//! type; other numbers become text; objects, arrays and null set nothing. This middleware is one of the two that parse the data.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::stack::{Batch, Item};
use schemas::{Kind, envelope::is_json};
use serde_json::Value;
use settings::{Named, Pointer};
use std::sync::Arc;

impl Plugin for Named<Pointer> {
    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        let members = self.iter().map(|(name, pointer)| (name.clone(), pointer.as_str().to_owned())).collect();
        Ok(stepped(Extract { members }))
    }
}

/// Lifts members into attributes.
#[derive(Clone, Debug)]
pub struct Extract {
    /// Attribute and JSON pointer (RFC 6901).
    pub members: Vec<(String, String)>,
}

impl Step for Extract {
    fn name(&self) -> &'static str {
        "extract"
    }

    fn apply(&self, batch: &mut Batch) {
        for (item, _) in batch.alive() {
            if item.envelope.content_type().is_none_or(is_json) {
                self.extract(item);
            }
        }
    }
}

impl Extract {
    fn extract(&self, item: &mut Item) {
        // Depth is bounded by the codec's check and by the parser's own limit.
        let Ok(data) = serde_json::from_slice::<Value>(item.envelope.data()) else { return };
        let mut changed = None;
        for (name, pointer) in &self.members {
            let Some((text, kind)) = data.pointer(pointer).and_then(attribute) else { continue };
            let attributes = changed.get_or_insert_with(|| item.envelope.edit());
            if let Err(fault) = attributes.set(name, &text, kind) {
                item.refuse(fault.word, fault.detail.as_ref());
                return;
            }
        }
        let Some(attributes) = changed else { return };
        match attributes.freeze(item.envelope.data().clone()) {
            Ok(envelope) => item.change(envelope),
            Err(fault) => item.refuse(fault.word, fault.detail.as_ref()),
        }
    }
}

fn attribute(value: &Value) -> Option<(String, Kind)> {
    match value {
        Value::String(text) => Some((text.clone(), Kind::String)),
        Value::Bool(truth) => Some((truth.to_string(), Kind::Boolean)),
        Value::Number(number) => {
            let integer = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            Some((number.to_string(), if integer { Kind::Integer } else { Kind::String }))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
