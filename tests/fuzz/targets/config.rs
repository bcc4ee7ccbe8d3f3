//! Arbitrary text as a config: read, environment put in, checked against the schema that editors get, faults shown with their
//! lines; listeners' own settings read from it. What needs backends and routes is not here: the gateway's tests have it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use settings::{Source, any_error, export::schema_of, from_tree, load, render};
use std::sync::LazyLock;
use transports::{http::config::HttpConfig, mqtt::config::MqttConfig};

static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../config/anygate.schema.json")).expect("the golden schema is JSON")
});
static HTTP: LazyLock<serde_json::Value> = LazyLock::new(schema_of::<HttpConfig>);
static MQTT: LazyLock<serde_json::Value> = LazyLock::new(schema_of::<MqttConfig>);

fn variable(name: &str) -> Option<String> {
    (name.len() % 2 == 0).then(|| format!("{name}: [1, \"${{{name}}}\"]"))
}

fn check(text: &str, schema: &serde_json::Value) -> Option<settings::Tree> {
    let source = Source::new("fuzz.yaml", text);
    let (tree, faults) = load(source.clone(), schema, &variable);
    for styled in [false, true] {
        let shown = render(&faults, std::slice::from_ref(&source), styled);
        assert_eq!(shown.is_empty(), faults.is_empty());
    }
    for fault in &faults {
        assert!(serde_json::from_str::<serde_json::Value>(&fault.to_json()).is_ok(), "a fault as JSON is JSON");
    }
    assert!(tree.is_some() || any_error(&faults), "no config without a reason");
    tree.filter(|_| !any_error(&faults))
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(text, &SCHEMA);
    // What the schema passes can still be refused with a fault when it is read, never with a panic.
    if let Some(tree) = check(text, &HTTP) {
        let _ = from_tree::<HttpConfig>(&tree);
    }
    if let Some(tree) = check(text, &MQTT) {
        let _ = from_tree::<MqttConfig>(&tree);
    }
});
