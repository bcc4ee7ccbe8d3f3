//! A config that is read again while its gateway runs: the same check as ever, then what a running gateway cannot change, and
//! what is different.
use super::{Checked, DEFAULT, DEFAULT_NAME, Route, model::Config};
use serde::{Deserialize, Serialize};
use settings::{Fault, Lookup, Named, Step, Tree, codes};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a gateway has its config from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The built-in default.
    BuiltIn,
}

/// A config that was read again.
#[derive(Debug)]
pub struct Reread {
    /// What the check found.
    pub checked: Checked,
    /// Where things stand in it; `None` when it is no YAML.
    pub tree: Option<Tree>,
}

impl Origin {
    /// Reads and checks it, in the one way that `check` and `run` do.
    #[must_use]
    pub fn read(&self, env: &Lookup<'_>) -> Reread {
        let (checked, tree) = match self {
            Origin::File(file) => super::read_file(file, env),
            Origin::BuiltIn => super::read_text(DEFAULT_NAME, DEFAULT, Path::new("."), env),
        };
        Reread { checked, tree }
    }
}

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The section: `listeners`, `routes`.
    pub section: String,
    /// The name in it; empty when the section has no names.
    pub name: String,
    /// `added`, `removed`, `changed`, `renamed` or `moved`.
    pub change: String,
    /// More, in words; empty when there is no more to say.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change.as_str() {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        write!(f, "{sign} {}", self.section)?;
        if !self.name.is_empty() {
            write!(f, ".{}", self.name)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

fn differs(section: &str, name: &str, change: &str, detail: impl Into<String>) -> Difference {
    Difference { section: section.into(), name: name.into(), change: change.into(), detail: detail.into() }
}

/// An error at a key of the new config; at the nearest key above it when it is not there.
#[must_use]
pub fn fault_at(tree: &Tree, path: &[Step], code: &'static str, message: impl Into<String>) -> Fault {
    let there = tree.get(path).is_some();
    let span = if there { tree.key_span(path) } else { above(tree, path) };
    Fault::error(&tree.source, span, code, message)
}

/// The key of the nearest node above a path that is not there; the first key of the file when nothing is.
fn above(tree: &Tree, path: &[Step]) -> settings::Span {
    let mut at = path;
    while let Some((_, shorter)) = at.split_last() {
        at = shorter;
        if !at.is_empty() && tree.get(at).is_some() {
            return tree.key_span(at);
        }
    }
    tree.root.entries().first().map(|entry| entry.key_span).unwrap_or_default()
}

/// What a running gateway cannot change: each key that differs is a fault that says that a restart is needed.
#[must_use]
pub fn cannot_change(before: &Config, after: &Config, tree: &Tree) -> Vec<Fault> {
    let keys: [(&str, &str, bool); 9] = [
        ("node", "data_dir", before.node.data_dir != after.node.data_dir),
        ("node", "room", before.node.room != after.node.room),
        ("admin", "listen", before.admin.listen != after.admin.listen),
        ("admin", "token", before.admin.token != after.admin.token),
        ("telemetry", "otlp", before.telemetry.otlp != after.telemetry.otlp),
        ("telemetry", "protocol", before.telemetry.protocol != after.telemetry.protocol),
        ("telemetry", "logs", before.telemetry.logs != after.telemetry.logs),
        ("journal", "segment_size", before.journal.segment_size != after.journal.segment_size),
        ("journal", "segments", before.journal.segments != after.journal.segments),
    ];
    let fault = |(section, key, _): (&str, &str, bool)| {
        let path = [Step::from(section), Step::from(key)];
        fault_at(tree, &path, codes::RESTART, format!("{section}.{key} cannot change while the gateway runs"))
            .label("it was another one when the gateway started")
            .help("restart the gateway, or put it back")
    };
    keys.into_iter().filter(|(_, _, differs)| *differs).map(fault).collect()
}

/// What is different, section by section.
#[must_use]
pub fn difference(before: &Config, after: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    named("auth", &before.auth, &after.auth, &mut found);
    named("schemas", &before.schemas, &after.schemas, &mut found);
    named("listeners", &before.listeners, &after.listeners, &mut found);
    named("pipelines", &before.pipelines, &after.pipelines, &mut found);
    routes(&before.routes, &after.routes, &mut found);
    named("backends", &before.backends, &after.backends, &mut found);
    for (section, differ) in [
        ("node", before.node != after.node),
        ("telemetry", before.telemetry != after.telemetry),
        ("unrouted", before.unrouted != after.unrouted),
        ("dead_letters", before.dead_letters != after.dead_letters),
    ] {
        if differ {
            found.push(differs(section, "", "changed", ""));
        }
    }
    found
}

fn named<T: PartialEq>(section: &str, before: &Named<T>, after: &Named<T>, found: &mut Vec<Difference>) {
    for (name, value) in after {
        match before.get(name) {
            None => found.push(differs(section, name, "added", "")),
            Some(old) if old != value => found.push(differs(section, name, "changed", "")),
            Some(_) => {}
        }
    }
    found.extend(
        before
            .iter()
            .filter(|(name, _)| after.get(name).is_none())
            .map(|(name, _)| differs(section, name, "removed", "")),
    );
}

fn routes(before: &[Route], after: &[Route], found: &mut Vec<Difference>) {
    let place = |routes: &[Route], name: &str| routes.iter().position(|route| route.name.as_str() == name);
    for route in after {
        let name = route.name.as_str();
        match place(before, name).and_then(|place| before.get(place)) {
            None => found.push(differs("routes", name, "added", "")),
            // The line in the file is no part of what a route does.
            Some(old) if Route { line: route.line, ..old.clone() } != *route => {
                found.push(differs("routes", name, "changed", ""));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|route| place(after, route.name.as_str()).is_none());
    found.extend(gone.map(|route| differs("routes", route.name.as_str(), "removed", "")));
    // The first match wins, so order is meaning.
    let common = |routes: &[Route], others: &[Route]| -> Vec<String> {
        let names = routes.iter().map(|route| route.name.as_str());
        names.filter(|name| place(others, name).is_some()).map(str::to_owned).collect()
    };
    if common(before, after) != common(after, before) {
        found.push(differs("routes", "", "moved", "the order is another one"));
    }
}
