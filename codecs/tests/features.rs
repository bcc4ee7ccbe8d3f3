//! The scenarios of the CloudEvents project's conformance features for HTTP and Kafka, read from its own files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
use bytes::Bytes;
use codecs::{Context, choose};
use schemas::{
    AttributeFault, Envelope, Message,
    binding::{Found, http, kafka},
};
use std::{collections::BTreeMap, path::Path, time::SystemTime};

/// One scenario with its examples filled in.
#[derive(Debug, Default)]
struct Scenario {
    name: String,
    /// Steps with the doc string or table that follows them.
    steps: Vec<(String, Vec<String>)>,
}

impl Scenario {
    fn step(&self, start: &str) -> &[String] {
        &self
            .steps
            .iter()
            .find(|(step, _)| step.contains(start))
            .unwrap_or_else(|| panic!("{}: no step {start:?}", self.name))
            .1
    }

    fn table(&self, start: &str) -> Vec<(String, String)> {
        self.step(start).iter().skip(1).map(|row| cells(row)).map(|row| (row[0].clone(), row[1].clone())).collect()
    }
}

fn cells(row: &str) -> Vec<String> {
    row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// A reader for what these files use: scenarios, outlines with one column of examples, doc strings, tables.
fn parse(text: &str) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    let mut current: Option<(Scenario, Vec<String>)> = None;
    let mut doc: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        let indent = line.len() - line.trim_start().len();
        if let Some(start) = trimmed.strip_prefix("Scenario").filter(|_| doc.is_none()) {
            scenarios.extend(current.take());
            let name = start.split_once(':').map_or(start, |(_, name)| name).trim().to_owned();
            current = Some((Scenario { name, steps: Vec::new() }, Vec::new()));
            continue;
        }
        let Some((scenario, examples)) = &mut current else { continue };
        if trimmed == "\"\"\"" {
            doc = if doc.is_some() { None } else { Some(indent) };
        } else if let Some(doc_indent) = doc {
            let text = line.get(doc_indent..).unwrap_or("").to_owned();
            scenario.steps.last_mut().unwrap().1.push(text);
        } else if trimmed.starts_with('|') {
            if scenario.steps.last().unwrap().0 == "Examples:" {
                examples.push(trimmed.to_owned());
            }
            scenario.steps.last_mut().unwrap().1.push(trimmed.to_owned());
        } else if !trimmed.is_empty() {
            scenario.steps.push((trimmed.to_owned(), Vec::new()));
        }
    }
    scenarios.extend(current);
    scenarios.into_iter().flat_map(|(scenario, examples)| fill(&scenario, &examples)).collect()
}

fn fill(scenario: &Scenario, examples: &[String]) -> Vec<Scenario> {
    let Some((head, rows)) = examples.split_first() else {
        return vec![Scenario { name: scenario.name.clone(), steps: scenario.steps.clone() }];
    };
    let place = format!("<{}>", cells(head)[0]);
    rows.iter()
        .map(|row| {
            let put = |text: &String| text.replace(&place, &cells(row)[0]);
            let steps =
                scenario.steps.iter().map(|(step, lines)| (put(step), lines.iter().map(put).collect())).collect();
            Scenario { name: put(&scenario.name), steps }
        })
        .collect()
}

fn decode(found: Result<Found, AttributeFault>, payload: String) -> Envelope {
    let found = found.unwrap();
    let message = Message {
        payload: Bytes::from(payload),
        attributes: found.attributes,
        content_type: found.content_type,
        mode: found.mode,
        ..Message::default()
    };
    let new_id = || unreachable!("the event has an id");
    let cx = Context { listener: "l", received: SystemTime::now(), traceparent: "", rules: None, new_id: &new_id };
    choose(&message).decode(&message, &cx).unwrap().remove(0).unwrap()
}

fn over_http(scenario: &Scenario) -> Envelope {
    let lines = scenario.step("HTTP request");
    let blank = lines.iter().position(|line| line.trim().is_empty()).unwrap();
    let headers = lines[1..blank].iter().map(|line| line.split_once(": ").unwrap());
    let found = http::read(headers.map(|(name, value)| (name, value.as_bytes())), |_, _| {});
    decode(found, lines[blank + 1..].join("\n"))
}

fn over_kafka(scenario: &Scenario) -> Envelope {
    let headers = scenario.table("Kafka headers");
    let found = kafka::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), |_, _| {});
    decode(found, scenario.step("Kafka message with payload").join("\n"))
}

fn run(file: &str, read: fn(&Scenario) -> Envelope, wanted: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cloudevents").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} is missing", path.display());
        println!("SKIPPED: {} is missing", path.display());
        return;
    };
    let scenarios = parse(&text);
    assert_eq!(scenarios.len(), wanted, "scenarios with their examples");
    for scenario in &scenarios {
        let envelope = read(scenario);
        let wanted: BTreeMap<String, String> = scenario.table("the attributes are").into_iter().collect();
        assert!(wanted.len() >= 6, "{}", scenario.name);
        let mut found: BTreeMap<String, String> =
            envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
        found.insert("specversion".into(), envelope.get("specversion").unwrap().text.to_owned());
        assert_eq!(found, wanted, "{}", scenario.name);
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(
            json(envelope.data()),
            json(scenario.step("the data is equal").join("\n").as_bytes()),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn http_protocol_binding() {
    run("http-protocol-binding.feature", over_http, 4);
}

#[test]
fn kafka_protocol_binding() {
    run("kafka-protocol-binding.feature", over_kafka, 3);
}
