//! Configuration of the embedded store.

use schemars::JsonSchema;
use serde::Deserialize;
use settings::{ByteSize, Period};

use crate::config::BackendConfig;

/// The embedded store: SQLite, queried by `anygate events`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// How long an event is kept.
    #[serde(default = "keep")]
    pub keep: Period,
    /// The most disk it takes; above it the oldest events go first.
    #[serde(default = "max_size")]
    pub max_size: ByteSize,
    /// The database file; by default `store/NAME.db` in `node.data_dir`. Relative to the configuration's folder.
    #[serde(default)]
    pub path: Option<String>,
    /// The keys of every backend.
    #[serde(flatten)]
    pub common: BackendConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { keep: keep(), max_size: max_size(), path: None, common: BackendConfig::default() }
    }
}

fn keep() -> Period {
    Period::secs(24 * 3600)
}

fn max_size() -> ByteSize {
    ByteSize::gib(1)
}
