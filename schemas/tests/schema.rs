//! What we write is valid by the CloudEvents JSON Schema, as its authors publish it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use schemas::json;
use std::path::Path;

#[test]
fn written_events_are_valid_by_the_published_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cloudevents/cloudevents.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} is missing", path.display());
        println!("SKIPPED: {} is missing", path.display());
        return;
    };
    let validator = jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap();
    let event = common::event();
    let binary = event.envelope.edit().freeze(vec![0xff].into()).unwrap();
    let empty = event.envelope.edit().freeze(bytes::Bytes::new()).unwrap();
    for envelope in [&event.envelope, &binary, &empty] {
        let mut out = Vec::new();
        json::write_event(&mut out, envelope, Some(&event.door));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let faults: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert_eq!(faults, [""; 0], "{value}");
    }
    // The schema can fail.
    assert!(!validator.is_valid(&serde_json::json!({"specversion": "1.0", "id": ""})));
}
