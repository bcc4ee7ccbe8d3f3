//! `validate`: refuses events whose data does not fit a JSON Schema. The error names the JSON pointer.
use super::{BuildContext, Middleware, Plugin, Step, stepped};
use crate::{config::compile_schema, stack::Batch};
use jsonschema::Validator;
use schemars::JsonSchema;
use schemas::Word;
use serde::{Deserialize, Serialize};
use settings::Name;
use std::{fmt, sync::Arc};

/// Most characters of a value or message that go into the detail.
const DETAIL_MAX: usize = 300;

/// Refuses events whose data does not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateConfig {
    /// The name of an entry of the top-level `schemas`.
    pub schema: Name,
}

impl Plugin for ValidateConfig {
    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String> {
        let name = self.schema.as_str();
        let schema = cx.config.schemas.get(name).ok_or_else(|| format!("no schema named {name:?}"))?;
        // The same function that `check` compiles it with.
        let validator =
            compile_schema(&cx.config.folder.join(&schema.file)).map_err(|what| format!("schema {name:?}: {what}"))?;
        Ok(stepped(Validate { name: name.to_owned(), schema: Arc::new(validator) }))
    }
}

/// Checks data against a schema.
#[derive(Clone)]
pub struct Validate {
    /// The schema's name in the config.
    pub name: String,
    /// The compiled schema.
    pub schema: Arc<Validator>,
}

impl fmt::Debug for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Step for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn apply(&self, batch: &mut Batch) {
        for (item, _) in batch.alive() {
            if let Err(detail) = self.check(item.envelope.data()) {
                item.refuse(Word::SchemaInvalid, detail);
            }
        }
    }
}

impl Validate {
    /// Checks one payload.
    ///
    /// # Errors
    /// The pointer and what is wrong there.
    pub fn check(&self, data: &[u8]) -> Result<(), String> {
        // The parser stops at 128 levels, before the schema's own recursion could grow deep.
        let value: serde_json::Value = serde_json::from_slice(data)
            .map_err(|error| format!("schema {}: the data is not JSON: {error}", self.name))?;
        let Some(error) = self.schema.iter_errors(&value).next() else { return Ok(()) };
        let pointer = error.instance_path().to_string();
        let place = if pointer.is_empty() { "/" } else { &pointer };
        let mut detail: String = format!("{place}: {error} (schema {})", self.name).chars().take(DETAIL_MAX).collect();
        if detail.chars().count() == DETAIL_MAX {
            detail.push('…');
        }
        Err(detail)
    }
}
