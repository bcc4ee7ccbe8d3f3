//! Where the embedded stores of a config are: for `trace`, and for `anygate events`, which reads them without a gateway.
use crate::config::{Backend, model::Config};
use std::path::{Path, PathBuf};

/// The `store` backends with their files, in the config's order. The same places as the backend itself uses.
pub fn paths(config: &Config) -> Vec<(String, PathBuf)> {
    let of = |(name, backend): &(String, Backend)| {
        let Backend::Store(store) = backend else { return None };
        let path = match &store.path {
            Some(path) => config.folder.join(path),
            None => Path::new(&config.node.data_dir).join("store").join(format!("{name}.db")),
        };
        Some((name.clone(), path))
    };
    config.backends.iter().filter_map(of).collect()
}
