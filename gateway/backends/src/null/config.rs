//! Configuration of the null backend.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::BackendConfig;

/// Takes every event and forgets it: for benches and for dry runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullConfig {
    /// The keys of every backend.
    #[serde(flatten)]
    pub common: BackendConfig,
}
