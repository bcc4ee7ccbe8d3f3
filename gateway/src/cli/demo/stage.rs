//! Where the demo plays: a folder of its own, the built-in config, and the gateway started on it.
use super::DemoFault;
use crate::{config, random, runtime::Gateway};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const CONFIG: &str = include_str!("demo.yaml");
const SCHEMA: &str = include_str!("reading.schema.json");
/// The config's name in the folder.
const CONFIG_FILE: &str = "anygate.yaml";
const DATA: &str = "data";

/// The demo's folder; removed when it is dropped, unless it was asked for.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// Makes the folder: `keep`, or one in the system's folder for temporary files that only its owner may read.
    ///
    /// # Errors
    /// It cannot be made, or it was there before and is not empty.
    pub fn make(keep: Option<&Path>) -> Result<Folder, DemoFault> {
        let path = match keep {
            Some(path) => path.to_path_buf(),
            None => std::env::temp_dir().join(format!("anygate-demo-{:016x}", random::u64())),
        };
        let fault = |error: std::io::Error| DemoFault::Folder(path.clone(), error.to_string());
        fs::DirBuilder::new().recursive(keep.is_some()).mode(0o700).create(&path).map_err(fault)?;
        if fs::read_dir(&path).map_err(fault)?.next().is_some() {
            return Err(DemoFault::Folder(path, "it is not empty; the demo wants a folder of its own".to_owned()));
        }
        let folder = Folder { keep: keep.is_some(), path };
        let fault = |error: std::io::Error| DemoFault::Folder(folder.path.clone(), error.to_string());
        fs::write(folder.path.join(CONFIG_FILE), CONFIG).map_err(fault)?;
        fs::write(folder.path.join("reading.schema.json"), SCHEMA).map_err(fault)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// The file of an embedded store.
    pub fn store(&self, backend: &str) -> PathBuf {
        self.path.join(DATA).join("store").join(format!("{backend}.db"))
    }

    /// Starts the gateway in this folder. It opens loopback sockets only.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn start(&self) -> Result<Gateway, DemoFault> {
        let data = self.path.join(DATA).display().to_string();
        let env = move |name: &str| match name {
            "DEMO_DATA" => Some(data.clone()),
            // Any free port, so that a demo never meets another program.
            "DEMO_ADMIN" | "DEMO_HTTP" | "DEMO_MQTT" => Some("127.0.0.1:0".to_owned()),
            _ => None,
        };
        let checked = config::check_text("demo.yaml", CONFIG, &self.path, &env);
        let text = checked.render(false);
        let config = checked.config.ok_or(DemoFault::Config(text))?;
        Gateway::start(&config, &env).map_err(|error| DemoFault::Start(error.to_string()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing more can be done about it; the system empties its own folder sooner or later.
            let _removed = fs::remove_dir_all(&self.path);
        }
    }
}

/// The address of the listener of a kind.
///
/// # Errors
/// The demo's config has none.
pub fn address(gateway: &Gateway, kind: &str) -> Result<SocketAddr, DemoFault> {
    let found = gateway.listeners.iter().find(|listener| listener.kind == kind);
    found.map(|listener| listener.address).ok_or_else(|| DemoFault::Config(format!("no {kind} listener")))
}
