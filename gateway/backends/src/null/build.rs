//! The null backend from its configuration.
use super::{Null, config::NullConfig};
use crate::{Backend, BuildContext, Plugin, config::BackendConfig};
use std::sync::Arc;

impl Plugin for NullConfig {
    fn common(&self) -> &BackendConfig {
        &self.common
    }

    fn build(&self, _: &BuildContext<'_>) -> Result<Arc<dyn Backend>, String> {
        Ok(Arc::new(Null))
    }
}
