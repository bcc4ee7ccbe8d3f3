//! One record, several backends; dead letters listed, fixed, replayed.
use crate::harness::{eventually, gateway::Place, services};
use serde_json::{Value, json};

const ROUTES: &str = r#"pipelines:
  mark:
    - set: { region: north }
routes:
  - { name: both, when: type = 'both', to: [a, b] }
  - { name: copy, when: type LIKE 'go%', to: [a], continue: true }
  - { name: mark, when: type = 'go.on', pipeline: [mark], to: [b] }
  - { name: twice, when: type = 'go.same', to: [a, b] }
backends:
  a: { store: {} }
  b: { store: {} }
"#;

#[test]
fn one_record_reaches_every_backend_once() {
    let place = Place::with(ROUTES);
    let running = place.start();
    for (id, kind) in [("f1", "both"), ("f2", "go.on"), ("f3", "go.same"), ("f4", "go")] {
        assert_eq!(running.send(id, kind).status, 202);
    }
    let read = |store: &str| crate::harness::store::Rows::read(&place.data_dir(), store);
    eventually("a has 4 rows and b 3", 10, || (read("a").len() >= 4 && read("b").len() >= 3).then_some(()));
    let (a, b) = (read("a"), read("b"));
    assert_eq!(a.ids(), ["f1", "f2", "f3", "f4"], "a backend that two routes name is one target");
    assert_eq!(b.ids(), ["f1", "f2", "f3"]);
    let region = |row: &crate::harness::store::Row| row.extension("region");
    assert_eq!(
        (region(b.one("f2")).as_deref(), region(a.one("f2"))),
        (Some("north"), None),
        "each route has its own view"
    );
    let metrics = running.metrics();
    assert_eq!(metrics.sum("anygate_events_targeted_total", &[]), 7.0);
    assert_eq!(metrics.sum("anygate_route_matched_total", &[("anygate_route", "copy")]), 3.0);
}

const NARROW: &str =
    "routes:\n  - { name: known, when: type = 'known', to: [keep] }\nbackends:\n  keep: { store: {} }\n";
const WIDE: &str = "routes:\n  - { name: known, when: type = 'known', to: [keep] }\n  - { name: rest, to: [keep] }\nbackends:\n  keep: { store: {} }\n";

#[test]
fn a_letter_without_a_route_is_replayed_after_the_fix() {
    let place = Place::with(NARROW);
    let running = place.start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "lost"),
        ("ce-source", "/e2e"),
        ("ce-type", "unknown"),
        ("traceparent", &parent),
    ];
    let answer = running.post("/events", &headers, "payload");
    assert_eq!((answer.status, answer.json()["dead_letter"].as_str()), (202, Some("no_route")), "{}", answer.text());
    assert_eq!(running.send("k1", "known").status, 202);
    let letters = running.json_lines(&["dlq", "list", "--json"]);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    for (member, value) in [("id", "lost"), ("source", "/e2e"), ("type", "unknown"), ("failure", "no_route")] {
        assert_eq!(letter[member], value, "{letter}");
    }
    for member in ["lsn", "detail", "stage", "route", "backend", "attempts", "first", "last"] {
        assert!(letter.get(member).is_some(), "the member {member}: {letter}");
    }
    let lsn = letter["lsn"].to_string();
    let shown = running.json_lines(&["dlq", "show", &lsn, "--json"]).remove(0);
    assert_eq!(shown["event"]["id"], "lost", "{shown:#}");
    assert_eq!(running.term(), Some(0));
    drop(running);
    place.rewrite(WIDE);
    let running = place.start();
    assert_eq!(running.json_lines(&["dlq", "list", "--json"]).len(), 1, "it outlives a restart");
    let replay = place.output(&["dlq", "replay", &lsn]);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let rows = running.rows_at_least(2);
    let row = rows.one("lost");
    assert_eq!((row.route.as_str(), row.data.as_slice(), row.trace_id.as_str()), ("rest", &b"payload"[..], trace));
    eventually("the letter is done", 10, || running.json_lines(&["dlq", "list", "--json"]).is_empty().then_some(()));
    assert_eq!(running.rows().len(), 2, "once");
}

#[test]
fn bytes_that_nobody_could_read_re_enter_at_decode() {
    let place = Place::with(WIDE);
    let running = place.start();
    let mut client = crate::harness::mqtt::Client::connect(place.mqtt, "bad", 4);
    let bad = br#"{"specversion":"1.0","id":"x","source":"/s"}"#;
    client.publish("plant/7", bad, &crate::harness::mqtt::Said::default());
    assert_eq!(client.next(5).unwrap().puback().1, 0, "3.1.1 cannot be told no");
    let letter = eventually("the letter", 5, || running.json_lines(&["dlq", "list", "--json"]).pop());
    assert_eq!(
        (letter["failure"].as_str(), letter["stage"].as_str()),
        (Some("missing_attribute"), Some("door")),
        "{letter}"
    );
    let lsn = letter["lsn"].to_string();
    let shown = running.json_lines(&["dlq", "show", &lsn, "--json"]).remove(0);
    let text = shown.to_string();
    assert!(shown.get("original_base64").is_some() || shown.get("event").is_some(), "{text}");
    assert!(place.output(&["dlq", "discard", &lsn]).status.success());
    eventually("the letter is gone", 10, || running.json_lines(&["dlq", "list", "--json"]).is_empty().then_some(()));
}

#[test]
fn a_record_too_large_for_its_topic_is_a_letter_of_that_backend_only() {
    let Some(kafka) = services::kafka() else { return };
    let topic = services::fresh("small");
    services::create_topic(&kafka, &topic, 1, &["max.message.bytes=2000"]);
    let place = Place::with(&format!(
        "routes:\n  - {{ name: all, to: [bus, keep] }}\nbackends:\n  bus: {{ kafka: {{ brokers: [\"{kafka}\"], topic: {topic} }} }}\n  keep: {{ store: {{}} }}\n"
    ));
    let running = place.start();
    let headers = |id| {
        [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/e2e"),
            ("ce-type", "t"),
            ("content-type", "text/plain"),
        ]
    };
    assert_eq!(running.post("/events", &headers("large"), "z".repeat(6000)).status, 202);
    assert_eq!(running.post("/events", &headers("little"), "z").status, 202);
    assert_eq!(running.rows_at_least(2).ids(), ["large", "little"], "the other backend has both");
    let letter = eventually("the lane letter", 15, || running.json_lines(&["dlq", "list", "--json"]).pop());
    assert_eq!(
        (&letter["id"], &letter["backend"], &letter["stage"]),
        (&json!("large"), &json!("bus"), &json!("lane")),
        "{letter}"
    );
    assert_eq!(letter["failure"], "too_large", "{letter}");
    let records =
        eventually("the little one", 15, || Some(services::records(&kafka, &topic)).filter(|found| !found.is_empty()));
    assert_eq!(
        records.iter().map(|record| &record["headers"]["ce_id"]).collect::<Vec<&Value>>(),
        [&json!("little")],
        "it was not held up"
    );
    let metrics = running.metrics();
    assert_eq!(metrics.sum("anygate_lane_dead_lettered_total", &[("anygate_backend", "bus")]), 1.0);
    assert_eq!(metrics.sum("anygate_lane_dead_lettered_total", &[("anygate_backend", "keep")]), 0.0);
}

#[test]
fn a_burst_of_small_records_fits_a_topic_that_takes_small_batches() {
    let Some(kafka) = services::kafka() else { return };
    let topic = services::fresh("narrow");
    // The broker's limit is for a batch of records: together these are above it, each of them is not.
    services::create_topic(&kafka, &topic, 1, &["max.message.bytes=4000"]);
    let place = Place::with(&format!(
        "routes:\n  - {{ name: all, to: [bus] }}\nbackends:\n  bus: {{ kafka: {{ brokers: [\"{kafka}\"], topic: {topic} }} }}\n"
    ));
    let running = place.start();
    let lines: String = (0..60).map(|number| format!("{{\"n\":{number},\"pad\":\"{}\"}}\n", "p".repeat(300))).collect();
    let answer = running.post("/events", &[("content-type", "application/x-ndjson")], lines);
    assert_eq!(answer.status, 202, "{}", answer.text());
    eventually("nothing waits", 20, || {
        let sum = |name: &str| running.metrics().sum(name, &[("anygate_backend", "bus")]);
        (sum("anygate_lane_delivered_total") + sum("anygate_lane_dead_lettered_total") == 60.0).then_some(())
    });
    let letters = running.metrics().sum("anygate_lane_dead_lettered_total", &[("anygate_backend", "bus")]);
    assert_eq!(letters, 0.0, "records that the topic takes became dead letters");
    assert_eq!(services::records(&kafka, &topic).len(), 60);
}
