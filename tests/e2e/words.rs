//! Every failure word that a sender can provoke, provoked for real, over HTTP, MQTT 5 and MQTT 3.1.1, with our bytes and with
//! clients that are not ours. What must come back stands in `schemas/words.json`, which is also the manual's table.
use crate::harness::{
    clients,
    gateway::{Place, Running},
    http::{Answer, Connection},
    mqtt::{Client, Said},
    services::tests,
};
use serde_json::{Value, json};
use std::process::Command;

const CONFIG: &str = r#"version: 1
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

const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["celsius"],
  "properties":{"celsius":{"type":"number"}}}"#;

/// A message in CloudEvents binary mode that provokes a word; the type is the word unless it says otherwise.
struct Case {
    word: &'static str,
    more: &'static [(&'static str, &'static str)],
    content_type: &'static str,
    body: String,
}

fn case(
    word: &'static str,
    more: &'static [(&'static str, &'static str)],
    content_type: &'static str,
    body: &str,
) -> Case {
    Case { word, more, content_type, body: body.to_owned() }
}

fn cases() -> Vec<Case> {
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
    fn attributes(&self, id: &str) -> Vec<(String, String)> {
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

    fn headers(&self, id: &str) -> Vec<(String, String)> {
        let mut headers: Vec<_> =
            self.attributes(id).into_iter().map(|(name, value)| (format!("ce-{name}"), value)).collect();
        headers.push(("content-type".to_owned(), self.content_type.to_owned()));
        headers
    }

    /// The same in the JSON format, for MQTT 3.1.1; `None`: it cannot be said there.
    fn structured(&self, id: &str) -> Option<String> {
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
fn entry(word: &str) -> (u16, Option<u8>, bool) {
    let text = std::fs::read_to_string(tests().join("../schemas/words.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found = all.iter().find(|entry| entry["word"] == word).unwrap_or_else(|| panic!("{word} is not in the table"));
    let code = found["mqtt5"].as_str().and_then(|code| u8::from_str_radix(code.trim_start_matches("0x"), 16).ok());
    (u16::try_from(found["http"].as_u64().unwrap()).unwrap(), code, found["retryable"] == true)
}

fn words() -> Place {
    let strict = crate::harness::free_port();
    Place::new(CONFIG).file("reading.json", SCHEMA).env("STRICT_PORT", &strict.to_string())
}

fn prime(running: &Running<'_>) {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "the-first"),
        ("ce-source", "/words"),
        ("ce-type", "good"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(running.post("/events", &headers, "x").status, 202);
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[track_caller]
fn check_http(case: &Case, answer: &Answer) {
    let (status, _, retryable) = entry(case.word);
    assert_eq!(answer.status, status, "{}: {}", case.word, answer.text());
    if status < 300 {
        let body = answer.json();
        assert!(body.get("failure").is_none(), "{}: {body}", case.word);
        return;
    }
    assert_eq!(answer.failure(), case.word);
    let body = answer.json();
    assert_eq!(body["status"].as_u64(), Some(u64::from(status)), "{body}");
    assert!(
        ["type", "title", "detail"].iter().all(|member| body[member].as_str().is_some_and(|text| !text.is_empty())),
        "{body}"
    );
    assert_eq!(answer.header("retry-after").is_some(), retryable && [429, 503].contains(&status), "{answer:?}");
}

#[test]
fn over_http() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases() {
        let headers = case.headers(case.word);
        let answer = running.post("/events", &borrowed(&headers), &case.body);
        check_http(&case, &answer);
    }
    let bad = running.post("/events", &borrowed(&cases()[4].headers("p")), "{\"celsius\":\"warm\"}").json();
    assert!(bad["detail"].as_str().unwrap().contains("/celsius"), "the detail names the pointer: {bad}");
    assert_eq!(running.settled("good"), ["the-first"], "nothing of the refused was kept");
}

#[test]
fn over_http_with_curl_and_python() {
    let place = words();
    let running = place.start();
    prime(&running);
    if clients::has("curl") {
        for case in cases() {
            let body = place.folder().join("body");
            std::fs::write(&body, &case.body).unwrap();
            let headers: Vec<String> = case
                .headers(&format!("curl-{}", case.word))
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let data = format!("@{}", body.display());
            let mut arguments = vec!["--data-binary", data.as_str()];
            headers.iter().for_each(|header| arguments.extend(["-H", header]));
            let (status, head, text) = clients::curl(place.http, "/events", &arguments);
            assert_eq!(status, entry(case.word).0, "curl, {}: {text}", case.word);
            if status >= 400 {
                assert!(head.contains("content-type: application/problem+json"), "{head}");
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["failure"], case.word);
            }
        }
    }
    if clients::has_python() {
        let script = "import sys,json;sys.path.insert(0,sys.argv[1])\nfrom common import post,say\nfor line in sys.stdin:\n c=json.loads(line);say(post('127.0.0.1',int(sys.argv[2]),'/events',dict(c['headers']),c['body'].encode()))";
        let input: String = cases()
            .iter()
            .map(|case| {
                format!("{}\n", json!({ "headers": case.headers(&format!("python-{}", case.word)), "body": case.body }))
            })
            .collect();
        let mut command = Command::new(clients::python_program());
        command.args(["-c", script, tests().join("clients").to_str().unwrap(), &place.http.to_string()]);
        for (case, answer) in cases().iter().zip(feed(command, &input)) {
            assert_eq!(answer["status"], entry(case.word).0, "http.client, {}: {answer}", case.word);
            if entry(case.word).0 >= 400 {
                assert_eq!(answer["body"]["failure"], case.word);
            }
        }
    }
}

fn feed(mut command: Command, input: &str) -> Vec<Value> {
    use std::{io::Write, process::Stdio};
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The words whose MQTT 5 answer is a DISCONNECT with the code, and not a PUBACK.
const DISCONNECTS: [&str; 1] = ["too_large"];

#[test]
fn over_mqtt_5() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases() {
        let mut client = Client::connect(place.mqtt, &format!("w-{}", case.word), 5);
        let attributes = case.attributes(case.word);
        let id = client.publish(
            "words",
            case.body.as_bytes(),
            &Said { content_type: Some(case.content_type), user: &borrowed(&attributes) },
        );
        let code = entry(case.word).1.unwrap();
        let answer = client.next(5).unwrap_or_else(|| panic!("{}: the connection closed without a word", case.word));
        if DISCONNECTS.contains(&case.word) {
            assert_eq!((answer.first, answer.body[0]), (0xe0, code), "{}: {answer:x?}", case.word);
            assert_eq!(client.next(5), None, "{}: and the connection closes", case.word);
        } else {
            assert_eq!(answer.puback(), (id, code), "{}: {}", case.word, String::from_utf8_lossy(&answer.body));
            client.ping();
            assert_eq!(client.next(5).unwrap().first, 0xd0, "{}: the connection lives", case.word);
        }
    }
    assert_eq!(running.settled("good"), ["the-first"]);
}

#[test]
fn over_mqtt_3_1_1() {
    let place = words();
    let running = place.start();
    prime(&running);
    let strict: u16 = place.variable("STRICT_PORT").parse().unwrap();
    for case in cases() {
        let Some(event) = case.structured(&format!("ack-{}", case.word)) else { continue };
        let permanent = entry(case.word).0 >= 400;
        let mut client = Client::connect(place.mqtt, "w311", 4);
        let id = client.publish("words", event.as_bytes(), &Said::default());
        match client.next(5) {
            // It cannot say no: the message is a dead letter.
            Some(answer) => assert_eq!((answer.puback(), answer.body.len()), ((id, 0), 2), "{}", case.word),
            None => assert!(DISCONNECTS.contains(&case.word), "{}: closed", case.word),
        }
        let mut client = Client::connect(strict, "w311-strict", 4);
        let event = case.structured(&format!("close-{}", case.word)).unwrap();
        let id = client.publish("words", event.as_bytes(), &Said::default());
        match client.next(5) {
            Some(answer) => {
                assert!(!permanent && answer.puback() == (id, 0), "on_reject: disconnect, {}: {answer:x?}", case.word)
            }
            None => assert!(permanent, "{}: closed", case.word),
        }
    }
    assert_eq!(running.settled("good"), ["the-first"]);
    let letters: f64 = running.metrics().sum("anygate_events_kept_total", &[("anygate_listener", "devices")]);
    assert!(letters >= 5.0, "the refused are dead letters: {letters} kept");
}

#[test]
fn over_mqtt_with_clients_of_others() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases().iter().filter(|case| !DISCONNECTS.contains(&case.word)) {
        let attributes = case.attributes(&format!("m5-{}", case.word));
        let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let code = entry(case.word).1.unwrap();
        let mut arguments = vec!["words", case.body.as_str(), "--content-type", case.content_type];
        pairs.iter().for_each(|pair| arguments.extend(["--prop", pair]));
        if clients::has_python() {
            let said = clients::paho(place.mqtt, &arguments);
            assert_eq!(
                (&said["results"][0]["acked"], &said["results"][0]["reason"]),
                (&json!(true), &json!(code)),
                "paho 5, {}: {said}",
                case.word
            );
            if let Some(event) = case.structured(&format!("m3-{}", case.word)) {
                let said = clients::paho(place.mqtt, &["words", &event, "--v", "4"]);
                assert_eq!(said["results"][0]["acked"], true, "paho 3.1.1, {}: {said}", case.word);
            }
        }
        if clients::has_node() && ["schema_invalid", "no_route", "reserved_attribute", "duplicate"].contains(&case.word)
        {
            let said = clients::mqttjs(place.mqtt, &arguments);
            assert_eq!(
                (&said["results"][0]["acked"], &said["results"][0]["reason"]),
                (&json!(true), &json!(code)),
                "mqtt.js, {}: {said}",
                case.word
            );
        }
        if clients::has("mosquitto_pub") {
            let failed = mosquitto(place.mqtt, case.content_type, &attributes, &case.body);
            assert_eq!(failed.is_some(), code >= 0x80, "mosquitto_pub, {}: {failed:?}", case.word);
        }
    }
    drop(running);
}

/// What mosquitto_pub complains about; nothing when it was acknowledged.
fn mosquitto(port: u16, content_type: &str, attributes: &[(String, String)], body: &str) -> Option<String> {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "5", "-q", "1", "-t", "words", "-m", body]);
    command.args(["-D", "publish", "content-type", content_type]);
    for (name, value) in attributes {
        command.args(["-D", "publish", "user-property", name, value]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() || text.contains("failed")).then(|| format!("{} {text}", output.status))
}

const LOCKED: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}" }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
auth:
  shared: { token: { secret: { env: TEST_TOKEN }, principal: fleet } }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}", auth: shared } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}", auth: shared } }
routes:
  - { name: all, to: [keep] }
backends:
  keep: { store: {} }
"#;

#[test]
fn unauthenticated() {
    let place = Place::new(LOCKED).env("TEST_TOKEN", "s3cret");
    let running = place.start();
    for header in [None, Some("Bearer wrong"), Some("Basic czNjcmV0"), Some("Bearer s3cret2"), Some("Bearer ")] {
        let headers: Vec<(&str, &str)> = header.map(|value| ("authorization", value)).into_iter().collect();
        let answer = running.post("/events", &headers, "x");
        assert_eq!((answer.status, answer.failure().as_str()), (401, "unauthenticated"), "{header:?}");
        assert!(answer.header("www-authenticate").is_some(), "RFC 9110, 11.6.1: {answer:?}");
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    }
    assert_eq!(running.post("/events", &[("authorization", "Bearer s3cret")], "x").status, 202);
    for (version, refused) in [(5, 0x86), (4, 4)] {
        assert_eq!(
            Client::connect_as(place.mqtt, "no", version, None).1,
            Some(if version == 5 { 0x86 } else { 5 }),
            "no password, version {version}"
        );
        assert_eq!(
            Client::connect_as(place.mqtt, "bad", version, Some(("any", "wrong"))).1,
            Some(refused),
            "version {version}"
        );
        let (mut client, code) = Client::connect_as(place.mqtt, "good", version, Some(("any", "s3cret")));
        assert_eq!(code, Some(0), "version {version}");
        client.publish("a", b"x", &Said::default());
        assert_eq!(client.next(5).unwrap().puback().1, 0);
    }
    let rows = running.rows_at_least(3);
    assert_eq!(rows.len(), 3);
    assert!(!running.stderr().contains("s3cret"), "the token is in the log");
    if clients::has_python() {
        let said = clients::paho(place.mqtt, &["a", "x", "--user", "any", "--password", "wrong"]);
        assert_eq!(said["connect"], 0x86, "{said}");
        let said = clients::paho(place.mqtt, &["a", "x", "--user", "any", "--password", "s3cret"]);
        assert_eq!(said["results"][0]["reason"], 0, "{said}");
    }
}

#[test]
fn unrouted_drop_and_the_packet_limit() {
    let place = Place::new(
        "version: 1\nnode: { data_dir: \"${DATA_DIR:?}\" }\nadmin: { listen: \"127.0.0.1:${ADMIN_PORT:?}\" }\nlisteners:\n  \
         web: { http: { listen: \"127.0.0.1:${HTTP_PORT:?}\", max_body: 8KiB, max_batch: 3 } }\n  \
         devices: { mqtt: { listen: \"127.0.0.1:${MQTT_PORT:?}\", max_packet: 8KiB } }\n\
         routes:\n  - { name: some, when: type = 'known', to: [keep] }\nunrouted: drop\nbackends:\n  keep: { store: {} }\n",
    );
    let running = place.start();
    let answer = running.send("d1", "unknown");
    assert_eq!((answer.status, answer.json()["dropped"].as_str()), (202, Some("unrouted")), "{}", answer.text());
    let answer = running.post("/events", &[], vec![b'x'; 9000]);
    assert_eq!((answer.status, answer.failure().as_str()), (413, "too_large"));
    let answer = running.post("/events", &[("content-type", "application/x-ndjson")], "1\n2\n3\n4\n");
    assert_eq!((answer.status, answer.failure().as_str()), (413, "too_large"), "max_batch");
    // Without Content-Length, and sent slowly: the limit holds while the body arrives.
    let mut connection = Connection::open(place.http);
    connection.write(b"POST /events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        connection.write(format!("1000\r\n{}\r\n", "y".repeat(4096)).as_bytes());
    }
    assert_eq!(connection.answer().unwrap().status, 413);
    for version in [5, 4] {
        let mut client = Client::connect(place.mqtt, "large", version);
        client.publish("a", &[b'x'; 9000], &Said::default());
        match client.next(5) {
            Some(packet) => assert_eq!((version, packet.first, packet.body[0]), (5, 0xe0, 0x95), "{packet:x?}"),
            None => assert_eq!(version, 4, "MQTT 5 says why"),
        }
    }
    assert_eq!(running.rows().len(), 0);
}
