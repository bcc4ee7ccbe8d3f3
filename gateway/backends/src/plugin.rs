//! From a backend's configuration to the backend: the settings struct is its own constructor.
use crate::{Backend, config::BackendConfig};
use schemas::{AttributeFault, Event, EventView};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a backend is told besides its own configuration.
pub struct BuildContext<'a> {
    /// The backend's name in the config.
    pub name: &'a str,
    /// `node.data_dir`.
    pub data_dir: &'a Path,
    /// The config's folder: relative paths of secrets and certificates start here.
    pub folder: &'a Path,
    /// The largest message that a listener takes, in bytes.
    pub message_max: usize,
    /// The environment, for secrets.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl BuildContext<'_> {
    /// A path of the config, from the config's folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// A backend's configuration, checked.
pub trait Plugin {
    /// The keys of every backend.
    fn common(&self) -> &BackendConfig;

    /// Acquires what the backend needs (a file, a producer); does not wait for a far end to answer.
    ///
    /// # Errors
    /// What could not be acquired, and why.
    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Backend>, String>;

    /// Whether the backend could take the event at all, without building it: for `explain`. The same answer as
    /// [`Backend::accepts`], but for what only the far end knows.
    ///
    /// # Errors
    /// As [`Backend::accepts`].
    fn accepts(&self, event: &EventView<'_>) -> Result<(), AttributeFault> {
        let _ = event;
        Ok(())
    }

    /// What the backend would make of the event, for `explain`: names and values for people. Pure.
    fn preview(&self, event: &Event) -> Vec<(&'static str, String)> {
        let _ = event;
        Vec::new()
    }
}
