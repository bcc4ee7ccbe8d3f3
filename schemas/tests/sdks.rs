//! Independent readers of what we write: the Python and the JavaScript SDK of CloudEvents read the HTTP messages that
//! `examples/http_message.rs` prints, in both modes.
//!
//! Skipped, and said so, where the test tools are not installed; a failure there when `CI=true`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const PYTHON: &str = r#"
import base64, json, sys
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
message = json.loads(sys.argv[1])
event = from_http_event(HTTPMessage(message["headers"], base64.b64decode(message["body_base64"])))
print(json.dumps({"attributes": {k: str(v) for k, v in event.get_attributes().items()}, "data": event.get_data()}))
"#;

const JAVASCRIPT: &str = r#"
const { HTTP } = require("cloudevents");
const message = JSON.parse(process.argv[1]);
const body = Buffer.from(message.body_base64, "base64").toString();
const { data, ...attributes } = HTTP.toEvent({ headers: message.headers, body }).toJSON();
const text = Object.fromEntries(Object.entries(attributes).map(([k, v]) => [k, String(v)]));
console.log(JSON.stringify({ attributes: text, data }));
"#;

fn tools() -> PathBuf {
    let tools = std::env::var_os("ANYGATE_TEST_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.test-tools"), PathBuf::from);
    tools.canonicalize().unwrap_or(tools)
}

fn skip(what: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} is missing");
    println!("SKIPPED: {what} is missing; the script for the test tools installs it");
}

/// The message that the example prints.
fn message(mode: &str) -> String {
    let mut example = std::env::current_exe().unwrap();
    example.pop();
    example.pop();
    let example = example.join("examples/http_message");
    let output = Command::new(&example).args([mode, "--json"]).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; `cargo test -p schemas` builds it", example.display()));
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn read_by(program: &mut Command) -> Value {
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check(read: &Value, subject: &str) {
    let attribute = |name: &str| read["attributes"][name].as_str().unwrap_or("none").to_owned();
    assert_eq!(attribute("id"), "A234-1234");
    assert_eq!(attribute("source"), "/sensors/7");
    assert_eq!(attribute("type"), "com.example.reading");
    assert_eq!(attribute("datacontenttype"), "application/json");
    assert_eq!(attribute("anygatelistener"), "http");
    assert_eq!(attribute("anygateenvelope"), "1");
    assert_eq!(attribute("count"), "-7");
    assert_eq!(attribute("subject"), subject);
    assert_eq!(read["data"], serde_json::json!({"celsius": 21.5, "unit": "°C"}));
}

const SUBJECT: &str = "Halle 3, Tür \"ß\" 100%";

#[test]
fn python_reads_our_http_messages() {
    let python = tools().join("venv/bin/python");
    if !python.exists() {
        return skip(&python.display().to_string());
    }
    for mode in ["binary", "structured"] {
        check(&read_by(Command::new(&python).args(["-c", PYTHON, &message(mode)])), SUBJECT);
    }
}

#[test]
fn javascript_reads_our_http_messages() {
    let modules = tools().join("node/node_modules");
    if !modules.join("cloudevents").exists() {
        return skip(&modules.join("cloudevents").display().to_string());
    }
    // The JavaScript SDK neither encodes nor decodes header values (10.0): in binary mode it sees them as they travel.
    for (mode, subject) in [("binary", "Halle%203,%20T%C3%BCr%20%22%C3%9F%22%20100%25"), ("structured", SUBJECT)] {
        let mut node = Command::new("node");
        check(&read_by(node.env("NODE_PATH", &modules).args(["-e", JAVASCRIPT, &message(mode)])), subject);
    }
}
