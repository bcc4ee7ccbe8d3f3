//! What is refused before there is an event: credentials, packet and batch limits; and what is dropped as configured.
use crate::harness::{
    clients,
    gateway::Place,
    http::Connection,
    mqtt::{Client, Said},
};

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
