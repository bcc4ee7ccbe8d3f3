//! Arbitrary bytes as an event and as a batch in the JSON event format: no panic, and what is read, written and read again is
//! the same event.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use schemas::{
    Envelope,
    json::{Item, is_valid_json, looks_structured, read_batch, read_event, write_event, write_event_line},
    limits,
};

/// Attributes and data; their order in the text is not a part of an event.
fn content(envelope: &Envelope) -> (Vec<(String, String)>, Bytes) {
    let mut attributes: Vec<_> =
        envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
    attributes.sort();
    (attributes, envelope.data().clone())
}

fn there_and_back(item: Item) {
    let Ok(Ok(envelope)) = item.map(schemas::json::Draft::freeze) else { return };
    let mut text = Vec::new();
    write_event(&mut text, &envelope, None);
    let text = Bytes::from(text);
    assert!(is_valid_json(&text, usize::MAX).is_ok(), "what is written is JSON");
    // Nesting that was at its limit inside a batch has room on its own.
    let again = read_event(&text).expect("JSON").expect("an event").freeze().expect("complete");
    assert_eq!(content(&envelope), content(&again));
    let mut line = Vec::new();
    write_event_line(&mut line, &envelope, None);
    assert!(!line.contains(&b'\n'), "a line has no end within");
}

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    let valid = is_valid_json(&payload, limits::JSON_DEPTH_MAX).is_ok();
    let _ = looks_structured(&payload);
    if let Ok(item) = read_event(&payload) {
        assert!(valid, "an event is JSON");
        there_and_back(item);
    }
    let mut items = Vec::new();
    if let Ok(count) = read_batch(&payload, |item| items.push(item)) {
        assert!(valid && count == items.len());
        items.into_iter().for_each(there_and_back);
    }
});
