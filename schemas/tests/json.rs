//! The JSON event format against a slow reader that builds a tree: both take the same texts, and find the same in them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use bytes::Bytes;
use proptest::prelude::*;
use schemas::{Envelope, json};
use serde_json::Value;

/// Attributes sorted by name, and the data as compact JSON.
type Slow = (Vec<(String, String)>, Vec<u8>);

/// What the format says of a text, slowly. `None` when it is no event; duplicate members are not seen by a tree.
fn slow(text: &[u8]) -> Option<Slow> {
    let Value::Object(object) = serde_json::from_slice(text).ok()? else { return None };
    let mut attributes = Vec::new();
    for (name, value) in &object {
        let value = match value {
            _ if name == "data" || name == "data_base64" => continue,
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(yes) => yes.to_string(),
            Value::Number(number) => i32::try_from(number.as_i64()?).ok()?.to_string(),
            Value::Array(_) | Value::Object(_) => return None,
        };
        attributes.push((name.clone(), value));
    }
    attributes.sort();
    Some((attributes, object.get("data").map(|data| serde_json::to_vec(data).unwrap()).unwrap_or_default()))
}

fn fast(text: &[u8]) -> Option<Envelope> {
    json::read_event(&Bytes::copy_from_slice(text)).ok()?.ok()?.freeze().ok()
}

fn agree(text: &[u8]) {
    let Some(envelope) = fast(text) else { return };
    let (attributes, data) = slow(text).unwrap_or_else(|| panic!("taken, but no event: {}", text.escape_ascii()));
    let mut found: Vec<(String, String)> = envelope
        .attributes()
        .filter(|(name, value)| {
            let implied = *name == "datacontenttype" && value.text == "application/json";
            !implied || attributes.iter().any(|(name, _)| name == "datacontenttype")
        })
        .map(|(name, value)| (name.to_owned(), value.text.to_owned()))
        .collect();
    found.push(("specversion".into(), "1.0".into()));
    found.sort();
    assert_eq!(found, attributes, "{}", text.escape_ascii());
    if !data.is_empty() && envelope.content_type().is_some_and(schemas::envelope::is_json) {
        let own: Value = serde_json::from_slice(envelope.data()).unwrap();
        assert_eq!(serde_json::to_vec(&own).unwrap(), data);
    }
}

fn text() -> Vec<u8> {
    let mut out = Vec::new();
    json::write_event(&mut out, &common::envelope(), None);
    out
}

#[test]
fn the_slow_reader_agrees_on_a_good_event() {
    assert!(fast(&text()).is_some());
    agree(&text());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn mutated_events_are_read_alike(
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(b"\"\\{}[]:,019-.eEutnx \n\xc3\xff".as_slice())),
            1..4,
        ),
    ) {
        let mut text = text();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        // The tree of the slow reader makes a float of -0, which is the integer 0 to us.
        if !text.windows(3).any(|part| part == b":-0") {
            agree(&text);
        }
        let batch = [b"[", &text[..], b",", &text[..], b"]"].concat();
        let _ = json::read_batch(&Bytes::from(batch), drop);
        let _ = json::looks_structured(&text);
    }
}
