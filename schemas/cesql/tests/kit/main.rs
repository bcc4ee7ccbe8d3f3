//! The official CloudEvents SQL test kit: every case of every file, value and error.
//!
//! Reads `cesql-tck/` in `$ANYGATE_DATA`, else in `../shared/data` beside the workspace. Without it the test says SKIPPED,
//! and fails when `CI=true`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod yaml;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cesql::{Attributes, Expression, Value};
use yaml::Yaml;

const CASES: usize = 275;

struct Event(Vec<(String, Value<'static>)>);

impl Attributes for Event {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.borrowed())
    }
}

fn folder() -> PathBuf {
    let data = std::env::var_os("ANYGATE_DATA").map(PathBuf::from);
    data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")).join("cesql-tck")
}

/// A plain scalar by YAML's core schema; a quoted one is a string.
fn scalar(yaml: &Yaml) -> Value<'static> {
    let Yaml::Scalar { text, plain } = yaml else { panic!("no scalar: {yaml:?}") };
    if *plain {
        if let Ok(number) = text.parse() {
            return Value::Integer(number);
        }
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            return Value::Boolean(text.eq_ignore_ascii_case("true"));
        }
    }
    Value::String(Cow::Owned(text.clone()))
}

/// The case's `event`, or an event with the required attributes; then `eventOverrides`.
fn event(case: &Yaml) -> Event {
    let mut attributes: Vec<(String, Value<'static>)> = Vec::new();
    match case.get("event") {
        Some(event) => attributes.extend(event.entries().map(|(name, value)| (name.to_owned(), scalar(value)))),
        None => {
            for (name, value) in
                [("specversion", "1.0"), ("id", "myId"), ("source", "localhost.localdomain"), ("type", "myType")]
            {
                attributes.push((name.to_owned(), Value::from(value)));
            }
        }
    }
    if let Some(overrides) = case.get("eventOverrides") {
        attributes.extend(overrides.entries().map(|(name, value)| (name.to_owned(), scalar(value))));
    }
    Event(attributes)
}

fn run(case: &Yaml) -> Result<(), String> {
    let source = case.get("expression").and_then(Yaml::text).ok_or("no expression")?;
    let wanted_error = case.get("error").and_then(Yaml::text);
    let wanted = case.get("result").map(scalar);
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        Err(error) if wanted_error == Some("parse") => {
            // Beside a parse error stands `false`, where the kit names a value at all.
            let value_fits = wanted.is_none_or(|value| value == Value::Boolean(false));
            return if value_fits { Ok(()) } else { Err(format!("{error}, but a value is wanted")) };
        }
        Err(error) => return Err(error.to_string()),
    };
    let event = event(case);
    let evaluation = expression.evaluate(&event);
    let error = evaluation.error.map(|error| error.kind().as_str());
    if error != wanted_error {
        return Err(format!("error {error:?}, wanted {wanted_error:?}"));
    }
    match wanted {
        Some(wanted) if wanted != evaluation.value => Err(format!("{}, wanted {wanted}", evaluation.value)),
        None if error.is_none() => Err("a case that wants nothing".to_owned()),
        _ => Ok(()),
    }
}

#[test]
fn all_cases_of_the_kit_pass() {
    let folder = folder();
    if !folder.is_dir() {
        println!("SKIPPED: the CESQL test kit is not at {}", folder.display());
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the kit must be there when CI=true");
        return;
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let (mut passed, mut total, mut failures) = (0, 0, Vec::new());
    for file in &files {
        let document = yaml::read(&std::fs::read_to_string(file).unwrap());
        for case in document.get("tests").unwrap().items() {
            total += 1;
            match run(case) {
                Ok(()) => passed += 1,
                Err(why) => failures.push(format!(
                    "{} · {}: {why}",
                    file.file_name().unwrap().display(),
                    case.get("name").and_then(Yaml::text).unwrap_or("?")
                )),
            }
        }
    }
    println!("{passed} of {total} passed, CloudEvents SQL 1.0 test kit, {} files", files.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((passed, total), (CASES, CASES));
}
