//! The thread from end to end: a message in over HTTP or MQTT, an answer, a row in the store; and that an answer outlives kill -9.
use crate::harness::{
    clients,
    gateway::Place,
    http::Connection,
    mqtt::{Client, Said},
};
use std::collections::BTreeMap;

pub const KEEP: &str = "routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n";

#[test]
fn a_request_and_a_publish_become_rows() {
    let place = Place::with(KEEP);
    let running = place.start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let answer = running.post(
        "/events/com.acme.order",
        &[("content-type", "application/json"), ("traceparent", &parent)],
        r#"{"total":9}"#,
    );
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = answer.json();
    assert_eq!((body["ack"].as_str(), body["trace_id"].as_str()), (Some("durable"), Some(trace)), "{body}");
    let mut client = Client::connect(place.mqtt, "thread", 5);
    let user = [("specversion", "1.0"), ("id", "m1"), ("source", "/m"), ("type", "com.acme.sensor"), ("colour", "red")];
    let id = client.publish("sensors/hh/7", b"21.5", &Said { content_type: Some("text/plain"), user: &user });
    assert_eq!(client.next(5).unwrap().puback(), (id, 0));
    let rows = running.rows_at_least(2);
    let row = rows.one(body["id"].as_str().unwrap());
    assert_eq!(
        (row.kind.as_str(), row.source.as_str(), row.route.as_str()),
        ("com.acme.order", "/listeners/web", "all")
    );
    assert_eq!(
        (row.listener.as_str(), row.trace_id.as_str(), row.data.as_slice()),
        ("web", trace, &br#"{"total":9}"#[..])
    );
    let row = rows.one("m1");
    assert_eq!((row.source.as_str(), row.kind.as_str(), row.data.as_slice()), ("/m", "com.acme.sensor", &b"21.5"[..]));
    assert_eq!(
        (row.extension("colour").as_deref(), row.listener.as_str()),
        (Some("red"), "devices"),
        "{}",
        row.attributes
    );
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
}

#[test]
fn every_answered_message_outlives_kill_9() {
    let place = Place::with(KEEP);
    let running = place.start();
    let mut connection = Connection::open(place.http);
    let mut client = Client::connect(place.mqtt, "durable", 4);
    let mut acked = Vec::new();
    for number in 0..100 {
        let id = format!("h{number}");
        let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/e2e"), ("ce-type", "t")];
        let answer = connection.post("/events", &headers, b"x");
        assert_eq!(answer.status, 202, "{}", answer.text());
        acked.push(id);
        let id = format!("m{number}");
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/e2e","type":"t","data":1}}"#);
        client.publish("a", event.as_bytes(), &Said::default());
        assert_eq!(client.next(5).unwrap().puback().1, 0);
        acked.push(id);
    }
    running.kill9();
    drop(running);
    let running = place.start();
    let rows = running.rows_at_least(acked.len());
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for id in rows.ids() {
        *times.entry(id).or_default() += 1;
    }
    for id in &acked {
        assert_eq!(times.get(id.as_str()), Some(&1), "{id} of {} rows", rows.len());
    }
    assert_eq!(rows.len(), acked.len(), "nothing was invented");
    let order =
        |first: char| rows.ids().into_iter().filter(|id| id.starts_with(first)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(order('h'), (0..100).map(|number| format!("h{number}")).collect::<Vec<_>>(), "the order of one source");
}

#[test]
fn events_prints_what_the_store_holds() {
    let place = Place::with(KEEP);
    let running = place.start();
    for number in 0..3 {
        assert_eq!(running.send(&format!("e{number}"), "com.acme.listed").status, 202);
    }
    let rows = running.rows_at_least(3);
    let lines = running.json_lines(&["events", "--json", "--limit", "10"]);
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, rows.ids(), "oldest first");
    assert_eq!(lines[0]["data"], serde_json::json!({ "id": "e0" }), "{}", lines[0]);
    assert_eq!(
        (lines[0]["specversion"].as_str(), lines[0]["anygatelistener"].as_str()),
        (Some("1.0"), Some("web")),
        "{}",
        lines[0]
    );
    let one = running.json_lines(&["events", "--json", "--where", "id = 'e1'"]);
    assert_eq!(one.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>(), ["e1"]);
    let none = running.json_lines(&["events", "--json", "--trace", "00000000000000000000000000000001"]);
    assert!(none.is_empty(), "{none:?}");
    assert_eq!(running.term(), Some(0));
    let after = place.output(&["events", "--json"]);
    assert_eq!(
        String::from_utf8_lossy(&after.stdout).lines().count(),
        3,
        "it reads the file: the gateway need not run"
    );
}

#[test]
fn h2load_gets_only_2xx() {
    if !clients::has("h2load") {
        return;
    }
    let place = Place::with(KEEP).file("body", "{\"n\":1}");
    let running = place.start();
    let url = format!("http://127.0.0.1:{}/events/com.acme.load", place.http);
    let data = place.folder().join("body");
    let count = 2000;
    let mut command = std::process::Command::new("h2load");
    command.args([
        "-n",
        &count.to_string(),
        "-c",
        "8",
        "-m",
        "16",
        "-p",
        "h2c",
        "-H",
        "content-type: application/json",
        "-d",
    ]);
    let output = command.arg(data).arg(url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{text}");
    assert!(text.contains(&format!("{count} succeeded, 0 failed, 0 errored, 0 timeout")), "{text}");
    running.rows_at_least(count);
    assert_eq!(running.rows().len(), count);
}
