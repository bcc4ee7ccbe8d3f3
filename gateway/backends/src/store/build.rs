//! The store from its configuration.
use super::{Store, StoreSettings, config::StoreConfig};
use crate::{Backend, BuildContext, Plugin, config::BackendConfig};
use std::sync::Arc;

impl Plugin for StoreConfig {
    fn common(&self) -> &BackendConfig {
        &self.common
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Backend>, String> {
        let path = match &self.path {
            Some(path) => cx.path(path),
            None => cx.data_dir.join("store").join(format!("{}.db", cx.name)),
        };
        let settings =
            StoreSettings { keep: self.keep.get(), max_size: self.max_size.bytes(), ..StoreSettings::new(&path) };
        let store = Store::start(settings)
            .map_err(|error| format!("the store {} cannot be opened: {error}", path.display()))?;
        Ok(Arc::new(store))
    }
}
