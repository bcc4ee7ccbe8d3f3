//! Configuration of the null backend.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::BackendConfig;

/// Takes every event and forgets it: for benches and for dry runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {
    "backlog": "backlogs per backend come with a later release; until then a full journal holds or refuses",
    "required": "backends that events may go on without come with backlogs",
    "renamed_from": "renaming a backend that has events comes with backlogs"
}))]
pub struct NullConfig {
    /// The keys of every backend.
    #[serde(flatten)]
    pub common: BackendConfig,
}
