//! The configuration: one YAML file, read with places, checked in one run, handed over as plain types.
//!
//! [`model`] is what the rest of the gateway reads. [`check`] is the one way to it, for `anygate check` and for `anygate run`:
//! what `check` passes, `run` starts. Each fault names its place; see the crate `settings` for how. The structs of plug-ins
//! live with their plug-ins (`config.rs` beside the module) and are listed in [`model::Listener`], [`model::Backend`] and
//! [`middleware::Middleware`].
//!
//! [`reload`] reads it again and says what changed. Deliberately not here: opening sockets, asking brokers (`check --connect`).

pub mod checked;
mod checks;
mod draft;
pub mod init;
pub mod middleware;
pub mod model;
pub mod payload;
pub mod registry;
pub mod reload;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use settings::{Lookup, Source, Tree, codes, environment, export, parse};

pub use checked::Checked;
pub use init::init;
pub use middleware::Middleware;
pub use model::{
    Ack, Admin, Backend, Config, DeadLetters, Journal, Listener, LogFormat, Node, OtlpProtocol, PayloadSchema, Route,
    Telemetry, Unrouted,
};
pub use payload::compile_schema;
use settings::Fault;

/// The newest version of the grammar that this program reads.
pub const VERSION: u32 = 1;

/// The built-in configuration, which is the documented `config/default.yaml`.
pub const DEFAULT: &str = include_str!("../../../config/default.yaml");

/// The name under which faults show the built-in configuration.
pub const DEFAULT_NAME: &str = "the built-in configuration";

/// The JSON Schema (draft-07) that `anygate schema` prints and editors use.
#[must_use]
pub fn schema() -> Json {
    export::for_editors(&export::schema_of::<Config>())
}

/// Checks each file as a configuration of its own. `config` is that of a single file.
#[must_use]
pub fn check(files: &[PathBuf], env: &Lookup<'_>) -> Checked {
    let mut all: Vec<Checked> = files.iter().map(|file| check_file(file, env)).collect();
    if all.len() == 1 {
        return all.remove(0);
    }
    all.into_iter().fold(Checked::default(), Checked::and)
}

/// Checks one file. Relative paths in it start at its folder.
#[must_use]
pub fn check_file(file: &Path, env: &Lookup<'_>) -> Checked {
    read_file(file, env).0
}

/// As [`check_file`], with the tree, if there is one, for whoever finds more faults.
fn read_file(file: &Path, env: &Lookup<'_>) -> (Checked, Option<Tree>) {
    let name = file.display().to_string();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match read(file) {
        Ok(text) => read_text(&name, &text, folder, env),
        Err(problem) => {
            let source = Source::new(name, "");
            let fault = Fault::error(&source, settings::Span::default(), codes::UNREADABLE, "this file cannot be read")
                .label(problem);
            (Checked { config: None, faults: vec![fault], sources: vec![source] }, None)
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if usize::try_from(size).is_ok_and(|size| size > parse::MAX_BYTES) {
        return Err(format!("it has {size} bytes; at most 1 MiB"));
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: byte {}", error.utf8_error().valid_up_to()))
}

/// Checks a text. `name` is what faults call it, `folder` where its relative paths start.
#[must_use]
pub fn check_text(name: &str, text: &str, folder: &Path, env: &Lookup<'_>) -> Checked {
    read_text(name, text, folder, env).0
}

fn read_text(name: &str, text: &str, folder: &Path, env: &Lookup<'_>) -> (Checked, Option<Tree>) {
    let source = Source::new(name, text);
    let (mut tree, mut faults) = match parse::parse(source.clone()) {
        Ok(parsed) => parsed,
        Err(faults) => return (Checked { config: None, faults, sources: vec![source] }, None),
    };
    environment::resolve(&mut tree, env, &mut faults);
    if let Some(fault) = newer(&tree) {
        // A newer grammar: every other fault would be noise.
        return (Checked { config: None, faults: vec![fault], sources: vec![source] }, None);
    }
    settings::check(&mut tree, &export::schema_of::<Config>(), &mut faults);
    checks::run(&tree, folder, env, &mut faults);
    settings::sort(&mut faults);
    let config = if settings::any_error(&faults) { None } else { typed(&tree, folder, &mut faults) };
    (Checked { config, faults, sources: vec![source] }, Some(tree))
}

/// The built-in configuration, checked. Relative paths start at the working directory.
#[must_use]
pub fn check_default(env: &Lookup<'_>) -> Checked {
    check_text(DEFAULT_NAME, DEFAULT, Path::new("."), env)
}

fn newer(tree: &Tree) -> Option<Fault> {
    let node = tree.root.get("version")?;
    let version: u64 = node.text()?.parse().ok()?;
    (version > u64::from(VERSION)).then(|| {
        Fault::error(&tree.source, node.span, codes::VERSION, format!("version {version} is newer than this program"))
            .label(format!("this program reads version {VERSION}"))
            .help(format!("use a newer anygate, or write version: {VERSION} and the keys of that version"))
    })
}

/// The types, once nothing is wrong; each route learns its line.
fn typed(tree: &Tree, folder: &Path, faults: &mut Vec<Fault>) -> Option<Config> {
    let mut config: Config = tree.read(&tree.root, faults)?;
    let lines = tree.root.get("routes").map(settings::Node::items).unwrap_or_default();
    for (route, node) in config.routes.iter_mut().zip(lines) {
        route.line = tree.source.position(node.span.start).line;
    }
    config.folder = folder.to_path_buf();
    config.file.clone_from(&tree.source.name);
    Some(config)
}

#[cfg(test)]
mod tests;
