//! What the documents name exists: files, tests (`FILE.rs::NAME`), and links. A promise whose test was renamed is no promise.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
use std::{fs, path::Path};

const DOCUMENTS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md"];
/// What a document names in backticks is a path when it begins with one of these.
const TOP: [&str; 8] =
    ["schemas/", "codecs/", "transports/", "gateway/", "conformance/", "tests/", "config/", "deploy/"];
/// Those that must name tests, and how many at least: the check below would pass on a document that names none.
const NAMING: [(&str, usize); 2] = [("README.md", 15), ("ARCHITECTURE.md", 10)];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What stands in backticks on one line, outside code blocks.
fn named(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Why a name is wrong, if it is.
fn fault(name: &str) -> Option<String> {
    let (path, test) = name.split_once("::").map_or((name, None), |(path, test)| (path, Some(test)));
    if !TOP.iter().any(|top| path.starts_with(top)) || path.contains([' ', '*', '{', '<']) {
        return None;
    }
    let Ok(found) = fs::metadata(root().join(path)) else { return Some(format!("{path} is not there")) };
    let test = test?;
    let text = if found.is_file() { fs::read_to_string(root().join(path)).unwrap() } else { String::new() };
    (!text.contains(&format!("fn {test}("))).then(|| format!("{path} has no {test}"))
}

#[test]
fn what_is_named_is_there() {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        faults.extend(named(&text).into_iter().filter_map(fault).map(|fault| format!("{document}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(fault("tests/e2e/thread.rs::no_such_test").unwrap(), "tests/e2e/thread.rs has no no_such_test");
    assert_eq!(fault("tests/no/such/file").unwrap(), "tests/no/such/file is not there");
    for (document, least) in NAMING {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let tests = named(&text).iter().filter(|name| name.contains(".rs::")).count();
        assert!(tests >= least, "{document} names {tests} tests");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let fine =
                link.contains("://") || link.starts_with('#') || folder.join(link.split('#').next().unwrap()).exists();
            if !fine {
                faults.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
