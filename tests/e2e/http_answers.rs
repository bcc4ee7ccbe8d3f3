//! The answers of the HTTP listener, as the outside is pinned.
use crate::{
    harness::{gateway::Place, http::Connection},
    thread::KEEP,
};
use serde_json::{Value, json};
use std::io::Write;

const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": { "n": 1 } })
}

#[test]
fn single_structured_batch_and_lines() {
    let place = Place::with(KEEP);
    let running = place.start();
    let answer = running.post("/events", &[("content-type", "application/cloudevents+json")], event("s1").to_string());
    assert_eq!((answer.status, answer.json()["id"].as_str()), (202, Some("s1")), "{}", answer.text());
    assert_eq!(answer.json()["trace_id"].as_str().map(str::len), Some(32));
    let batch = running.post("/events", &[("content-type", BATCH)], json!([event("b1"), event("b2")]).to_string());
    assert_eq!(batch.status, 202, "{}", batch.text());
    assert_eq!(batch.json()["results"], json!([{ "id": "b1", "ack": "durable" }, { "id": "b2", "ack": "durable" }]));
    let lines =
        running.post("/events/com.acme.line", &[("content-type", "application/x-ndjson")], "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(lines.status, 202, "{}", lines.text());
    assert_eq!(lines.json()["results"].as_array().map(Vec::len), Some(2), "{}", lines.text());
    let rows = running.rows_at_least(5);
    let of =
        |kind: &str| rows.0.iter().filter(|row| row.kind == kind).map(|row| row.data.as_slice()).collect::<Vec<_>>();
    assert_eq!(of("com.acme.line"), [&b"{\"a\":1}"[..], &b"{\"a\":2}"[..]]);
    assert_eq!(of("t"), [&b"{\"n\":1}"[..]; 3]);
}

#[test]
fn a_bad_event_in_a_batch() {
    let place = Place::with(KEEP);
    let running = place.start();
    let bad = json!({ "specversion": "1.0", "source": "/s", "type": "t" });
    let reserved = json!({ "specversion": "1.0", "id": "r", "source": "/s", "type": "t", "anygatetenant": "x" });
    let body = json!([event("g1"), bad, event("g2"), reserved]).to_string();
    let all = running.post("/events", &[("content-type", BATCH)], &body);
    assert_eq!(all.status, 422, "{}", all.text());
    let answer = all.json();
    let errors: Vec<(u64, &str)> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["index"].as_u64().unwrap(), e["failure"].as_str().unwrap()))
        .collect();
    assert_eq!(errors, [(1, "missing_attribute"), (3, "reserved_attribute")], "{answer:#}");
    assert!(answer["errors"].as_array().unwrap().iter().all(|error| error["detail"].is_string()), "{answer:#}");
    let some = running.post("/events", &[("content-type", BATCH), ("prefer", "handling=lenient")], &body);
    assert_eq!(some.status, 207, "{}", some.text());
    let results = some.json()["results"].clone();
    assert_eq!(
        (&results[0], &results[2]),
        (&json!({ "id": "g1", "ack": "durable" }), &json!({ "id": "g2", "ack": "durable" })),
        "{results:#}"
    );
    assert_eq!(
        (results[1]["failure"].as_str(), results[3]["failure"].as_str()),
        (Some("missing_attribute"), Some("reserved_attribute"))
    );
    let body = json!([bad]).to_string();
    let none = running.post("/events", &[("content-type", BATCH), ("prefer", "handling=lenient")], body);
    assert_eq!(none.status, 422, "all of them bad: {}", none.text());
    let rows = running.rows_at_least(2);
    assert_eq!(rows.ids(), ["g1", "g2"], "of the refused batch nothing was kept");
}

#[test]
fn an_event_that_no_route_takes() {
    let place = Place::with(
        "routes:\n  - { name: some, when: type = 'known', to: [keep] }\nbackends:\n  keep: { store: {} }\n",
    );
    let running = place.start();
    let answer = running.send("u1", "unknown");
    assert_eq!((answer.status, &answer.json()["dead_letter"]), (202, &json!("no_route")), "{}", answer.text());
    let known = running.send("k1", "known");
    assert_eq!((known.status, known.json().get("dead_letter")), (202, None), "{}", known.text());
}

#[test]
fn paths_and_methods() {
    let place = Place::with(KEEP);
    let running = place.start();
    let mut connection = Connection::open(place.http);
    for path in ["/", "/event", "/events/a/b", "/readyz"] {
        let answer = connection.post(path, &[], b"x");
        assert_eq!((answer.status, answer.failure().as_str()), (404, "not_found"), "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = connection.ask(method, "/events", &[], b"");
        assert_eq!((answer.status, answer.failure().as_str()), (405, "method_not_allowed"), "{method}");
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        assert!(allow.contains("POST") && allow.contains("OPTIONS"), "{method}: Allow: {allow}");
    }
    let shake = connection.ask(
        "OPTIONS",
        "/events",
        &[("webhook-request-origin", "sender.example"), ("webhook-request-rate", "120")],
        b"",
    );
    assert_eq!(shake.status, 200, "{}", shake.text());
    assert_eq!(shake.header("webhook-allowed-origin"), Some("sender.example"), "{shake:?}");
    assert!(shake.header("webhook-allowed-rate").is_some(), "{shake:?}");
    assert!(shake.header("allow").is_some_and(|allow| allow.contains("POST")), "{shake:?}");
    assert_eq!(running.rows().len(), 0);
}

#[test]
fn coded_bodies_and_the_limit_after_decoding() {
    let place = Place::new(
        "version: 1\nnode: { data_dir: \"${DATA_DIR:?}\" }\nadmin: { listen: \"127.0.0.1:${ADMIN_PORT:?}\" }\n\
         listeners:\n  web: { http: { listen: \"127.0.0.1:${HTTP_PORT:?}\", max_body: 64KiB } }\n\
         routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n",
    );
    let running = place.start();
    let plain = br#"{"celsius":21.5,"station":"north"}"#;
    let gzip = |data: &[u8]| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(data).unwrap();
        coder.finish().unwrap()
    };
    for (coding, body) in [("gzip", gzip(plain)), ("zstd", zstd::encode_all(&plain[..], 3).unwrap())] {
        let answer =
            running.post("/events/coded", &[("content-type", "application/json"), ("content-encoding", coding)], body);
        assert_eq!(answer.status, 202, "{coding}: {}", answer.text());
    }
    let rows = running.rows_at_least(2);
    assert!(rows.0.iter().all(|row| row.data == plain), "decoded");
    let bomb = vec![b' '; 1 << 20];
    for (coding, body) in [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 3).unwrap())] {
        assert!(body.len() < 60_000);
        let answer = running.post("/events/coded", &[("content-encoding", coding)], body);
        assert_eq!((answer.status, answer.failure().as_str()), (413, "too_large"), "{coding}");
    }
    let answer = running.post("/events/coded", &[("content-encoding", "br")], "x");
    assert_eq!((answer.status, answer.failure().as_str()), (415, "unsupported_format"));
    let answer = running.post("/events/coded", &[("content-encoding", "gzip")], "not gzip");
    assert_eq!((answer.status, answer.failure().as_str()), (400, "malformed"));
    assert_eq!(running.rows().len(), 2);
}

/// Headers, body, and the content type that the event is to have.
type Bare = (&'static [(&'static str, &'static str)], &'static [u8], &'static str);

#[test]
fn bare_bodies_and_their_content_types() {
    let place = Place::with(KEEP);
    let running = place.start();
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    let bodies: [Bare; 5] = [
        (&[], b"{\"a\":1}", "application/json"),
        (&[FORM], b"{\"a\":1}", "application/json"),
        (&[FORM], b"a=1", "text/plain"),
        (&[], b"\xff\xfe", "application/octet-stream"),
        (&[("content-type", "image/png")], b"\x89PNG", "image/png"),
    ];
    for (headers, body, _) in bodies {
        assert_eq!(running.post("/events", headers, body).status, 202);
    }
    let lines = running.rows_at_least(bodies.len());
    let open = rusqlite::Connection::open(place.data_dir().join("store/keep.db")).unwrap();
    let mut query = open.prepare("SELECT datacontenttype FROM events ORDER BY seq").unwrap();
    let found: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let expected: Vec<&str> = bodies.iter().map(|(.., kind)| *kind).collect();
    assert!(
        found.iter().zip(&expected).all(|(found, expected)| found.starts_with(expected)),
        "{found:?} for {expected:?}"
    );
    assert!(lines.0.iter().all(|row| row.kind == "anygate.message" && row.source == "/listeners/web"));
    let deep = "[".repeat(65) + &"]".repeat(65);
    let answer = running.post("/events", &[("content-type", "application/json")], deep);
    assert_eq!((answer.status, answer.failure().as_str()), (400, "malformed"));
}

#[test]
fn an_idempotency_key_is_the_dedupe_id_of_a_bare_event() {
    let place = Place::new(
        "version: 1\nnode: { data_dir: \"${DATA_DIR:?}\" }\nadmin: { listen: \"127.0.0.1:${ADMIN_PORT:?}\" }\n\
         listeners:\n  web: { http: { listen: \"127.0.0.1:${HTTP_PORT:?}\" } }\n\
         routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n",
    );
    let running = place.start();
    let first = running.post("/events", &[("idempotency-key", "\"order-1\"")], "{\"a\":1}");
    let again = running.post("/events", &[("idempotency-key", "\"order-1\"")], "{\"a\":1}");
    let other = running.post("/events", &[("idempotency-key", "\"order-2\"")], "{\"a\":1}");
    assert_eq!([first.status, again.status, other.status], [202, 202, 202], "{}", again.text());
    assert_eq!(first.json()["id"], again.json()["id"], "the answer names the event that was kept");
    let reused = running.post("/events", &[("idempotency-key", "\"order-1\"")], "{\"a\":2}");
    assert_eq!(reused.status, 422, "the same key with other data: {}", reused.text());
    assert!(reused.text().contains("id_reused"), "{}", reused.text());
    running.rows_at_least(2);
    assert_eq!(running.rows().len(), 2, "the repeat is not kept again");
    running.kill9();
    drop(running);
    let running = place.start();
    let after = running.post("/events", &[("idempotency-key", "\"order-1\"")], "{\"a\":1}");
    assert_eq!((after.status, after.json()["id"].clone()), (202, first.json()["id"].clone()), "nor after a kill");
    let reused = running.post("/events", &[("idempotency-key", "\"order-1\"")], "{\"a\":2}");
    assert_eq!(reused.status, 422, "{}", reused.text());
    assert_eq!(running.rows().len(), 2, "nor then");
}
