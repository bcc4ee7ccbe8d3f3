//! Every failure word that a sender can provoke, provoked for real, over HTTP, MQTT 5 and MQTT 3.1.1, with our bytes and with
//! clients that are not ours. What must come back stands in `schemas/words.json`, which is also the manual's table.
mod http;
mod locked;
mod mqtt;

use crate::harness::{
    gateway::{Place, Running},
    services::tests,
};
use serde_json::{Value, json};

pub const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}" }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
schemas:
  reading: { file: reading.json }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}", pipeline: [edge], max_body: 256KiB } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}", pipeline: [edge], max_packet: 256KiB } }
  strict: { mqtt: { listen: "127.0.0.1:${STRICT_PORT:?}", pipeline: [edge], on_reject: disconnect } }
pipelines:
  edge:
    - limit: { size: 64KiB }
    - dedupe: { by: [source, id], window: 1m }
    - filter: { keep: type <> 'filtered' }
  shape:
    - validate: { schema: reading }
  place:
    - set: { region: "/{site}/x" }
routes:
  - { name: valid, when: type = 'schema_invalid', pipeline: [shape], to: [keep] }
  - { name: needs, when: type = 'missing_attribute', pipeline: [place], to: [keep] }
  - { name: one, when: type = 'mixed_paths', to: [keep], continue: true }
  - { name: two, when: EXISTS direct AND direct = 'yes', to: [keep], ack: delivered }
  - { name: good, when: type = 'good', to: [keep] }
unrouted: reject
backends:
  keep: { store: {} }
"#;

pub const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["celsius"],
  "properties":{"celsius":{"type":"number"}}}"#;

/// A message in CloudEvents binary mode that provokes a word; the type is the word unless it says otherwise.
pub struct Case {
    pub word: &'static str,
    more: &'static [(&'static str, &'static str)],
    pub content_type: &'static str,
    pub body: String,
}

pub fn case(
    word: &'static str,
    more: &'static [(&'static str, &'static str)],
    content_type: &'static str,
    body: &str,
) -> Case {
    Case { word, more, content_type, body: body.to_owned() }
}

pub fn cases() -> Vec<Case> {
    vec![
        case("malformed", &[("type", "good")], "application/json", "{\"celsius\": 21.5,}"),
        case("missing_attribute", &[], "application/json", "{}"),
        case("mixed_paths", &[("direct", "yes")], "text/plain", "x"),
        case("unsupported_format", &[("specversion", "")], "application/cloudevents+avro", "x"),
        case("schema_invalid", &[], "application/json", "{\"celsius\":\"warm\"}"),
        case("reserved_attribute", &[("type", "good"), ("anygatetenant", "me")], "text/plain", "x"),
        case("no_route", &[], "text/plain", "x"),
        case("too_large", &[("type", "good")], "text/plain", &"x".repeat(100 * 1024)),
        case("filtered", &[], "text/plain", "x"),
        case("expired", &[("type", "good"), ("expirytime", "2020-01-01T00:00:00Z")], "text/plain", "x"),
        case("duplicate", &[("type", "good"), ("id", "the-first")], "text/plain", "x"),
    ]
}

impl Case {
    /// All attributes by name; `specversion: ""` leaves the binary mode.
    pub fn attributes(&self, id: &str) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        if self.more.contains(&("specversion", "")) {
            return found;
        }
        for (name, value) in
            [("specversion", "1.0"), ("id", id), ("source", "/words"), ("type", self.word)].iter().chain(self.more)
        {
            found.retain(|(known, _)| known != name);
            found.push(((*name).to_owned(), (*value).to_owned()));
        }
        found
    }

    pub fn headers(&self, id: &str) -> Vec<(String, String)> {
        let mut headers: Vec<_> =
            self.attributes(id).into_iter().map(|(name, value)| (format!("ce-{name}"), value)).collect();
        headers.push(("content-type".to_owned(), self.content_type.to_owned()));
        headers
    }

    /// The same in the JSON format, for MQTT 3.1.1; `None`: it cannot be said there.
    pub fn structured(&self, id: &str) -> Option<String> {
        if ["malformed", "unsupported_format"].contains(&self.word) {
            return None;
        }
        let mut event: serde_json::Map<String, Value> =
            self.attributes(id).into_iter().map(|(name, value)| (name, json!(value))).collect();
        event.insert("datacontenttype".to_owned(), json!(self.content_type));
        let data = serde_json::from_str(&self.body).unwrap_or_else(|_| json!(self.body));
        event.insert("data".to_owned(), data);
        Some(Value::Object(event).to_string())
    }
}

/// One line of the table: HTTP status, MQTT 5 code, whether a resend can help.
pub fn entry(word: &str) -> (u16, Option<u8>, bool) {
    let text = std::fs::read_to_string(tests().join("../schemas/words.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found = all.iter().find(|entry| entry["word"] == word).unwrap_or_else(|| panic!("{word} is not in the table"));
    let code = found["mqtt5"].as_str().and_then(|code| u8::from_str_radix(code.trim_start_matches("0x"), 16).ok());
    (u16::try_from(found["http"].as_u64().unwrap()).unwrap(), code, found["retryable"] == true)
}

pub fn words() -> Place {
    let strict = crate::harness::free_port();
    Place::new(CONFIG).file("reading.json", SCHEMA).env("STRICT_PORT", &strict.to_string())
}

pub fn prime(running: &Running<'_>) {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "the-first"),
        ("ce-source", "/words"),
        ("ce-type", "good"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(running.post("/events", &headers, "x").status, 202);
}

pub fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
