//! The edges between crates point one way only (ARCHITECTURE.md): `schemas ← codecs, transports, backends ← conformance ←
//! gateway ← tests`; `cesql` and `journal` stand alone; `settings` stands on `cesql` only.
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Crate, its folder, and the crates of this workspace that it may depend on.
const EDGES: [(&str, &str, &[&str]); 10] = [
    ("cesql", "schemas/cesql", &[]),
    ("journal", "gateway/journal", &[]),
    ("schemas", "schemas", &[]),
    ("settings", "schemas/settings", &["cesql"]),
    ("codecs", "codecs", &["schemas"]),
    ("transports", "transports", &["schemas", "settings"]),
    ("backends", "gateway/backends", &["schemas", "settings"]),
    ("conformance", "conformance", &["schemas", "codecs", "transports", "backends", "settings"]),
    (
        "gateway",
        "gateway",
        &["schemas", "cesql", "settings", "codecs", "transports", "journal", "backends", "conformance"],
    ),
    (
        "tests",
        "tests",
        &["schemas", "settings", "gateway", "journal", "cesql", "codecs", "transports", "backends", "conformance"],
    ),
];

/// What a crate promises not to know.
const ABSENT: [(&str, &[&str]); 5] = [
    ("schemas", &["tokio", "hyper", "rdkafka"]),
    ("codecs", &["tokio", "hyper", "rdkafka"]),
    ("journal", &["tokio", "bytes", "serde"]),
    ("settings", &["tokio"]),
    ("transports", &["rdkafka", "rusqlite"]),
];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The names in `[dependencies]` of a crate; those for tests only do not count.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("build-");
            continue;
        }
        if inside
            && let Some(name) =
                line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))
        {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn edges_point_one_way() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, ..)| *name).collect();
    for (name, folder, allowed) in EDGES {
        for dependency in dependencies(folder) {
            let fine = !ours.contains(dependency.as_str()) || allowed.contains(&dependency.as_str());
            assert!(fine, "{name} depends on {dependency}: an edge that the architecture does not have");
        }
    }
}

#[test]
fn crates_know_no_more_than_they_say() {
    for (name, absent) in ABSENT {
        let folder = EDGES.iter().find(|(crate_name, ..)| *crate_name == name).unwrap().1;
        for dependency in dependencies(folder) {
            assert!(!absent.contains(&dependency.as_str()), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn every_crate_has_its_place() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let listed: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<&str> = EDGES.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(listed, known);
}

#[test]
fn there_is_one_binary() {
    let with_main = EDGES.iter().filter(|(_, folder, _)| {
        let folder = root().join(folder);
        folder.join("src/main.rs").exists() || folder.join("src/bin").exists()
    });
    assert_eq!(with_main.map(|(name, ..)| *name).collect::<Vec<_>>(), ["gateway"], "`cargo run` must be unambiguous");
}
