//! House rules that no compiler checks: file sizes, module docs first, the fixed top level.
use crate::architecture::root;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most lines of a source file, its trailing tests not counted.
const LINES_MAX: usize = 400;

const TOP_LEVEL: [&str; 17] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "gateway",
    "codecs",
    "transports",
    "schemas",
    "config",
    "tests",
    "conformance",
    "deploy",
    "target",
    "anygate-data",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "fuzz"].contains(&name.as_str()) && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn own_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    found.retain(|path| !["tests", "benches", "examples"].iter().any(|part| path.iter().any(|step| step == *part)));
    assert!(found.len() > 100, "the sources were not found");
    found
}

#[test]
fn files_do_one_thing() {
    let mut large = Vec::new();
    for path in own_sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LINES_MAX {
            large.push(format!("{}: {lines}", path.strip_prefix(root()).unwrap().display()));
        }
    }
    assert!(large.is_empty(), "over {LINES_MAX} lines without tests:\n{}", large.join("\n"));
}

#[test]
fn module_docs_come_first() {
    for path in own_sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!") || text.starts_with("#!["),
            "{} does not begin with its module's docs",
            path.display()
        );
    }
}

#[test]
fn the_top_level_is_fixed() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || TOP_LEVEL.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}
