//! The admin API and the commands that ask a running gateway, against a gateway in this process: real sockets, a real journal,
//! a real store; clients are written by hand here, so that no code of ours reads what code of ours wrote.
#![allow(clippy::unwrap_used, missing_docs)]
use gateway::{
    admin::{
        dlq::{Change, Summary},
        figures,
        status::Status,
        trace::Traced,
    },
    cli::{
        Exit,
        client::{Admin, AskFault, Client, Style},
        dlq, events, tail, trace,
    },
    config,
    runtime::Gateway,
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// A folder that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("anygate-admin-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

const ENDS: &str = "
listeners:
  web: { http: { listen: \"127.0.0.1:0\", max_body: 256KiB } }
  devices:
    mqtt:
      listen: \"127.0.0.1:0\"
      max_packet: 256KiB
      PIPELINE
      envelope:
        - topic: sensors/{site}/{kind}
          set: { type: \"com.acme.sensor.{kind}\", source: \"/sites/{site}\" }
backends:
  keep: { store: { retry: { attempts: 2, backoff: 5ms..10ms } STORE } }
journal: { segment_size: 16MiB, segments: 4 }
";

/// A gateway with one store; `routes` and what else differs between tests comes in.
struct Setup<'a> {
    routes: &'a str,
    mqtt_pipeline: &'a str,
    store: &'a str,
    more: &'a str,
}

const ACME: Setup<'_> = Setup {
    routes: "  - { name: alarms, when: \"EXISTS severity AND type LIKE 'com.acme.%'\", to: [keep] }\n  - { name: acme, when: \"type LIKE 'com.acme.%'\", to: [keep] }",
    mqtt_pipeline: "",
    store: "",
    more: "",
};

fn start(folder: &Folder, setup: &Setup<'_>) -> Gateway {
    let ends = ENDS.replace("PIPELINE", setup.mqtt_pipeline).replace("STORE", setup.store);
    let data = folder.0.join("data");
    let text = format!(
        "version: 1\nnode: {{ data_dir: \"{}\", drain_timeout: 2s }}\nadmin: {{ listen: \"127.0.0.1:0\" {} }}\nroutes:\n{}\n{ends}",
        data.display(),
        setup.more,
        setup.routes
    );
    let env = |name: &str| (name == "ADMIN_TOKEN").then(|| "s3cret".to_owned());
    let checked = config::check_text("test.yaml", &text, &folder.0, &env);
    let rendered = checked.render(false);
    let config = checked.config.unwrap_or_else(|| panic!("{rendered}"));
    Gateway::start(&config, &env).unwrap()
}

fn address(gateway: &Gateway, kind: &str) -> SocketAddr {
    gateway.listeners.iter().find(|bound| bound.kind == kind).unwrap().address
}

fn admin(gateway: &Gateway) -> Admin {
    Admin::at(format!("http://{}", gateway.admin))
}

fn client(gateway: &Gateway) -> Client {
    admin(gateway).client().unwrap()
}

/// One HTTP/1.1 request by hand: status and body.
fn http(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {to}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Sends one event in binary mode; its trace id.
fn send(gateway: &Gateway, id: &str, event_type: &str) -> String {
    let headers = [
        ("Content-Type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/shop/eu"),
        ("ce-type", event_type),
    ];
    let (status, body) = http(address(gateway, "http"), "POST", "/events", &headers, "{\"total\":5}");
    assert_eq!(status, 202, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    answer["trace_id"].as_str().unwrap().to_owned()
}

/// Publishes over MQTT 3.1.1 with QoS 1 and waits for the PUBACK.
fn publish_311(to: SocketAddr, topic: &str, payload: &str) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04dev7").unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&[0, 9]);
    body.extend_from_slice(payload.as_bytes());
    let mut packet = vec![0x32];
    let length = body.len();
    assert!(length < 16384);
    if length < 128 {
        packet.push(u8::try_from(length).unwrap());
    } else {
        packet.extend_from_slice(&[u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()]);
    }
    packet.extend_from_slice(&body);
    stream.write_all(&packet).unwrap();
    let mut puback = [0; 4];
    stream.read_exact(&mut puback).unwrap();
    assert_eq!(puback, [0x40, 2, 0, 9]);
    stream.write_all(&[0xe0, 0]).unwrap();
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status(gateway: &Gateway) -> Status {
    client(gateway).get("/api/status").unwrap()
}

/// Waits until nothing is under way, then checks every counting law over `/metrics`.
fn laws_at_rest(gateway: &Gateway) {
    let sums = |samples: &[figures::Sample], names: &[&str], labels: &[(&str, &str)]| -> f64 {
        names.iter().map(|name| figures::sum(samples, name, labels)).sum()
    };
    let broken = |samples: &[figures::Sample]| {
        let mut broken = Vec::new();
        let mut law = |name: String, left: f64, right: f64| {
            if (left - right).abs() > 0.5 {
                broken.push(format!("{name}: {left} ≠ {right}"));
            }
        };
        let received = sums(samples, &["anygate_events_received_total"], &[]);
        let fates = [
            "anygate_events_refused_total",
            "anygate_events_dropped_total",
            "anygate_events_duplicate_total",
            "anygate_events_kept_total",
        ];
        law("door".to_owned(), received, sums(samples, &fates, &[]));
        for backend in ["keep", "dead_letters"] {
            let labels = [("anygate_backend", backend)];
            let came = sums(samples, &["anygate_lane_entered_total", "anygate_lane_recovered_total"], &labels);
            let went = [
                "anygate_lane_delivered_total",
                "anygate_lane_dead_lettered_total",
                "anygate_lane_dropped_total",
                "anygate_lane_pending",
            ];
            law(format!("lane {backend}"), came, sums(samples, &went, &labels));
        }
        // What a lane or a replay makes a dead letter enters lane 0 without passing the door.
        let between = sums(samples, &["anygate_events_targeted_total", "anygate_lane_dead_lettered_total"], &[]);
        law("between".to_owned(), sums(samples, &["anygate_lane_entered_total"], &[]), between);
        broken
    };
    let begin = Instant::now();
    loop {
        let text = client(gateway).get_bytes("/metrics").unwrap();
        let broken = broken(&figures::read(std::str::from_utf8(&text).unwrap()));
        let waiting = figures::sum(
            &figures::read(std::str::from_utf8(&text).unwrap()),
            "anygate_lane_pending",
            &[("anygate_backend", "keep")],
        );
        if broken.is_empty() && waiting < 0.5 {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{broken:?}, {waiting} wait");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn letters(gateway: &Gateway) -> Vec<serde_json::Value> {
    let list = dlq::List { failure: None, backend: None, since: None, limit: None, json: true, admin: admin(gateway) };
    let mut found = Vec::new();
    list.ask(&mut |line| {
        found.push(serde_json::from_str(line).unwrap());
        true
    })
    .unwrap();
    found
}

fn change(gateway: &Gateway, verb: &str, change: &Change) -> (Summary, Vec<String>) {
    let mut lines = Vec::new();
    let summary = dlq::send(&client(gateway), verb, change, &mut |line, _| {
        lines.push(String::from_utf8(line.to_vec()).unwrap());
        true
    });
    (summary.unwrap(), lines)
}

fn all() -> Change {
    Change { all: true, ..Change::default() }
}

fn stored(folder: &Folder, store: &str) -> Vec<serde_json::Value> {
    let query = events::Events { store: Some(folder.0.join(store)), json: true, ..events::Events::default() };
    let mut found = Vec::new();
    query
        .each(&mut |event| {
            found.push(serde_json::from_slice(&events::json_line(event)).unwrap());
            true
        })
        .unwrap();
    found
}

const STORE: &str = "data/store/keep.db";

#[test]
fn health_guard_and_faults() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let to = gateway.admin;
    assert_eq!(http(to, "GET", "/livez", &[], ""), (200, "ok\n".to_owned()));
    assert_eq!(http(to, "GET", "/readyz", &[], ""), (200, "ready\n".to_owned()));
    let (code, verbose) = http(to, "GET", "/readyz?verbose", &[], "");
    assert_eq!(code, 200);
    for part in ["listeners", "web", "devices", "lanes", "keep", "well", "journal", "dead letters none", "ready"] {
        assert!(verbose.contains(part), "{part} is missing in {verbose}");
    }
    assert!(http(to, "GET", "/metrics", &[], "").1.contains("# EOF"));
    for (host, expected) in [("localhost:1", 200), ("evil.example", 403), ("127.0.0.1.evil.example:8700", 403)] {
        assert_eq!(http(to, "GET", "/api/status", &[("Host", host)], "").0, expected, "{host}");
    }
    let origin = [("Origin", "http://evil.example"), ("Content-Type", "application/json")];
    assert_eq!(http(to, "POST", "/api/dlq/discard", &origin, "{\"all\":true}").0, 403);
    let fault = |(code, body): (u16, String)| {
        (code, serde_json::from_str::<serde_json::Value>(&body).unwrap()["failure"].as_str().unwrap().to_owned())
    };
    assert_eq!(fault(http(to, "GET", "/no/such", &[], "")), (404, "not_found".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq/replay", &[], "")), (405, "method_not_allowed".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq/77", &[], "")), (404, "not_found".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq?failure=nonsense", &[], "")), (400, "malformed".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/tail?where=type%20LIKE", &[], "")), (400, "malformed".to_owned()));
    let json = [("Content-Type", "application/json")];
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &json, "{}")), (400, "malformed".to_owned()));
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &[("Content-Type", "text/plain")], "{\"all\":true}")).0, 415);
    let huge = format!("{{\"failure\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &json, &huge)), (413, "too_large".to_owned()));
    gateway.shared().stop();
    let (code, text) = http(to, "GET", "/readyz", &[], "");
    assert_eq!((code, text.contains("shutting_down")), (503, true), "{text}");
    assert_eq!(http(to, "GET", "/livez", &[], "").0, 200);
    assert!(!status(&gateway).ready);
    gateway.stop();
}

#[test]
fn the_token_is_asked_for() {
    let folder = Folder::new();
    let gateway = start(&folder, &Setup { more: ", token: { env: ADMIN_TOKEN }", ..ACME });
    assert_eq!(http(gateway.admin, "GET", "/readyz", &[], "").0, 200);
    assert_eq!(http(gateway.admin, "GET", "/metrics", &[], "").0, 401);
    let Err(fault) = client(&gateway).get::<Status>("/api/status") else { panic!("no token was asked for") };
    assert!(matches!(&fault, AskFault::Refused { fault, .. } if fault.failure == "unauthenticated"), "{fault:?}");
    assert_eq!(fault.tell(), Exit::Faults);
    let file = folder.0.join("token");
    fs::write(&file, "s3cret\n").unwrap();
    let with = Admin { token_file: Some(file), ..admin(&gateway) };
    with.client().unwrap().get::<Status>("/api/status").unwrap();
    gateway.stop();
}

#[test]
fn trace_and_events_and_status() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let trace_id = send(&gateway, "order 1/a", "com.acme.order.created");
    let traced: Traced = eventually("the delivery", || {
        let traced: Traced = client(&gateway).get(&format!("/api/trace/{}", &trace_id[..8])).unwrap();
        (!traced.events[0].deliveries.is_empty()).then_some(traced)
    });
    let event = &traced.events[0];
    assert_eq!((event.id.as_str(), event.trace_id.as_str()), ("order 1/a", trace_id.as_str()));
    assert_eq!((event.listener.as_str(), event.protocol.as_str(), event.version.as_str()), ("web", "http", "1.1"));
    assert_eq!((event.routes[0].matched, event.routes[1].matched), (Some(false), Some(true)));
    assert!(event.routes[0].why.contains("EXISTS severity"), "{}", event.routes[0].why);
    assert!(event.lsn > 0 && event.waits_for.is_empty());
    assert_eq!(event.answered.as_ref().unwrap().verdict, "durable");
    assert_eq!(event.deliveries[0].backend, "keep");
    let text = trace::render(&traced, Style::plain());
    for part in [
        "received",
        "web · http 1.1",
        "alarms no: EXISTS severity",
        "acme yes",
        "journal at lsn",
        "answered",
        "delivered",
        "keep",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // By the event's id, which needs escapes in a path.
    let by_id: Traced =
        client(&gateway).get(&format!("/api/trace/{}", gateway::cli::client::escaped("order 1/a"))).unwrap();
    assert_eq!(by_id.events.len(), 1);
    let Err(AskFault::Refused { fault, .. }) = client(&gateway).get::<Traced>("/api/trace/nobody") else {
        panic!("found nobody")
    };
    assert_eq!(fault.failure, "not_found");

    let now = status(&gateway);
    assert!(now.ready && now.lanes[0].trouble.is_none());
    assert_eq!((now.lanes[0].backend.as_str(), now.lanes[0].delivered, now.routes[1].matched), ("keep", 1, 1));
    assert_eq!(now.listeners.iter().find(|one| one.name == "web").unwrap().received, 1);
    laws_at_rest(&gateway);
    gateway.stop();

    // The store is read without a gateway, and `trace` after a restart tells what is still known.
    let rows = stored(&folder, STORE);
    assert_eq!((rows[0]["id"].as_str(), rows[0]["anygatelistener"].as_str()), (Some("order 1/a"), Some("web")));
    assert_eq!(rows[0]["data"]["total"], 5);
    let gateway = start(&folder, &ACME);
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(traced.events.is_empty());
    assert_eq!(
        (traced.stores[0].backend.as_str(), traced.stores[0].id.as_str(), traced.stores[0].route.as_str()),
        ("keep", "order 1/a", "acme")
    );
    assert!(trace::render(&traced, Style::plain()).contains("store     keep"));
    gateway.stop();
    let none = events::Events { store: Some(folder.0.join("none.db")), ..events::Events::default() };
    assert_eq!(none.each(&mut |_| true), Err(Exit::Faults));
}

#[test]
fn events_filters() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let traces: Vec<String> = (0..5)
        .map(|n| send(&gateway, &format!("e{n}"), if n % 2 == 0 { "com.acme.even" } else { "com.acme.odd" }))
        .collect();
    laws_at_rest(&gateway);
    let ids = |query: &events::Events| {
        let mut ids = Vec::new();
        query
            .each(&mut |event| {
                ids.push(event.envelope.id().to_owned());
                true
            })
            .unwrap();
        ids
    };
    let store = || events::Events { store: Some(folder.0.join(STORE)), ..events::Events::default() };
    assert_eq!(ids(&store()), ["e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(ids(&events::Events { limit: Some(2), ..store() }), ["e3", "e4"]);
    assert_eq!(ids(&events::Events { predicate: Some("type = 'com.acme.odd'".to_owned()), ..store() }), ["e1", "e3"]);
    assert_eq!(ids(&events::Events { trace: Some(traces[2].clone()), ..store() }), ["e2"]);
    assert_eq!(ids(&events::Events { trace: Some(traces[3][..10].to_owned()), ..store() }), ["e3"]);
    assert_eq!(ids(&events::Events { since: Some("1h".to_owned()), ..store() }).len(), 5);
    let bad = events::Events { predicate: Some("type =".to_owned()), ..store() };
    assert_eq!(bad.each(&mut |_| true), Err(Exit::Usage));
    gateway.stop();
}

#[test]
fn tail_shows_what_fits() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let tail = tail::Tail {
        predicate: Some("type LIKE '%.wanted'".to_owned()),
        json: true,
        limit: Some(2),
        admin: admin(&gateway),
    };
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        tail.follow(&mut |line| {
            lines.push(serde_json::from_str::<serde_json::Value>(line).unwrap());
            true
        })
        .unwrap();
        lines
    });
    let mut sent = 0;
    eventually("the tail's end", || {
        send(&gateway, &format!("a{sent}"), "com.acme.other");
        send(&gateway, &format!("b{sent}"), "com.acme.wanted");
        sent += 1;
        reader.is_finished().then_some(())
    });
    let lines = reader.join().unwrap();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!((line["type"].as_str(), line["anygatelistener"].as_str()), (Some("com.acme.wanted"), Some("web")));
        assert_eq!(line["data"]["total"], 5);
    }
    gateway.stop();
}

#[test]
fn a_letter_that_no_route_took() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let trace_id = send(&gateway, "lost-1", "org.other.thing");
    send(&gateway, "lost-2", "org.other.thing");
    let listed = eventually("the letters", || Some(letters(&gateway)).filter(|found| found.len() == 2));
    let letter = &listed[0];
    let keys: Vec<&str> = letter.as_object().unwrap().keys().map(String::as_str).collect();
    let mut pinned =
        ["lsn", "id", "source", "type", "failure", "detail", "stage", "route", "backend", "attempts", "first", "last"];
    pinned.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, pinned);
    assert_eq!(
        (letter["id"].as_str(), letter["failure"].as_str(), letter["stage"].as_str()),
        (Some("lost-1"), Some("no_route"), Some("door"))
    );
    let lsn = letter["lsn"].as_u64().unwrap();
    let shown: serde_json::Value = client(&gateway).get(&format!("/api/dlq/{lsn}")).unwrap();
    assert_eq!((shown["event"]["id"].as_str(), shown["event"]["data"]["total"].as_u64()), (Some("lost-1"), Some(5)));
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert_eq!(
        (traced.events[0].outcome.as_str(), traced.events[0].failure.as_deref()),
        ("dead_letter", Some("no_route"))
    );
    laws_at_rest(&gateway);

    // Nothing has changed: it is dead again, with one attempt more, and never gone.
    let (summary, lines) = change(&gateway, "replay", &Change { dry_run: true, ..all() });
    assert_eq!((summary.would, letters(&gateway).len()), (2, 2), "{lines:?}");
    assert!(lines[0].contains("no route takes it now either"), "{lines:?}");
    let (summary, lines) = change(&gateway, "replay", &Change { lsn: vec![lsn, 999_999], ..Change::default() });
    assert_eq!((summary.dead_again, summary.left, summary.replayed), (1, 1, 0), "{lines:?}");
    let again = letters(&gateway);
    assert_eq!(again.len(), 2);
    let again = again.iter().find(|letter| letter["id"] == "lost-1").unwrap();
    assert!(again["lsn"].as_u64().unwrap() > lsn && again["attempts"] == 1, "{again}");
    laws_at_rest(&gateway);
    gateway.stop();

    // A config that routes it: the same id, trace and door arrive; the letters are done, also after one more restart.
    let routed = Setup { routes: "  - { name: everything, to: [keep] }", ..ACME };
    let gateway = start(&folder, &routed);
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(
        traced.journal.iter().any(|record| record.dead_letter.as_deref().is_some_and(|why| why.contains("no_route"))),
        "{traced:?}"
    );
    let (_, lines) = change(&gateway, "replay", &Change { dry_run: true, ..all() });
    assert!(lines[0].contains("to route everything"), "{lines:?}");
    let by_word = Change { failure: Some("no_route".to_owned()), ..Change::default() };
    let (summary, lines) = change(&gateway, "replay", &by_word);
    assert_eq!((summary.replayed, summary.left, letters(&gateway).len()), (2, 0, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let rows = stored(&folder, STORE);
    let row = rows.iter().find(|row| row["id"] == "lost-1").unwrap();
    assert!(row["traceparent"].as_str().unwrap().contains(&trace_id), "{row}");
    assert_eq!((row["anygatelistener"].as_str(), rows.len()), (Some("web"), 2));
    let gateway = start(&folder, &routed);
    assert!(letters(&gateway).is_empty());
    gateway.stop();
}

#[test]
fn discarded_letters_are_counted() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    for n in 0..3 {
        send(&gateway, &format!("lost-{n}"), "org.other.thing");
    }
    let listed = eventually("the letters", || Some(letters(&gateway)).filter(|found| found.len() == 3));
    let lsn = listed[1]["lsn"].as_u64().unwrap();
    let (summary, _) = change(&gateway, "discard", &Change { lsn: vec![lsn], ..Change::default() });
    assert_eq!((summary.discarded, letters(&gateway).len()), (1, 2));
    laws_at_rest(&gateway);
    let (summary, _) = change(&gateway, "discard", &Change { backend: Some("keep".to_owned()), ..Change::default() });
    assert_eq!(summary, Summary::default(), "a letter of the door is of no backend");
    gateway.stop();
    let gateway = start(&folder, &ACME);
    assert_eq!(letters(&gateway).len(), 2, "what was discarded stays so");
    let (summary, _) = change(&gateway, "discard", &all());
    assert_eq!((summary.discarded, letters(&gateway).len()), (2, 0));
    laws_at_rest(&gateway);
    assert_eq!(status(&gateway).dead_letters, 0);
    gateway.stop();
}

#[test]
fn a_letter_of_mqtt_311_enters_its_listener_again() {
    let folder = Folder::new();
    fs::write(folder.0.join("reading.json"), "{\"type\":\"object\",\"required\":[\"celsius\"]}").unwrap();
    let pipelines = "
schemas: { reading: { file: reading.json } }
pipelines:
  strict: [ { dedupe: { by: [source, subject], window: 10m } }, { validate: { schema: reading } } ]
  loose: [ { dedupe: { by: [source, subject], window: 10m } } ]";
    let routes = format!("{}{pipelines}", ACME.routes);
    let setup = |pipeline| Setup { routes: &routes, mqtt_pipeline: pipeline, ..ACME };
    let gateway = start(&folder, &setup("pipeline: [strict]"));
    publish_311(address(&gateway, "mqtt"), "sensors/hh/temperature", "{\"fahrenheit\":70}");
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    let letter = &listed[0];
    assert_eq!(
        (letter["failure"].as_str(), letter["stage"].as_str()),
        (Some("schema_invalid"), Some("door")),
        "{letter}"
    );
    assert_eq!(letter["type"], "com.acme.sensor.temperature");
    let id = letter["id"].as_str().unwrap().to_owned();
    laws_at_rest(&gateway);

    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.dead_again, summary.replayed), (1, 0), "{lines:?}");
    assert_eq!(
        (letters(&gateway)[0]["failure"].as_str(), letters(&gateway)[0]["attempts"].as_u64()),
        (Some("schema_invalid"), Some(1))
    );
    laws_at_rest(&gateway);
    gateway.stop();

    let gateway = start(&folder, &setup("pipeline: [loose]"));
    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.replayed, letters(&gateway).len()), (1, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let rows = stored(&folder, STORE);
    assert_eq!((rows.len(), rows[0]["id"].as_str()), (1, Some(id.as_str())));
    assert_eq!(
        (rows[0]["anygatelistener"].as_str(), rows[0]["anygatesubject"].as_str()),
        (Some("devices"), Some("sensors/hh/temperature"))
    );
    assert_eq!((rows[0]["source"].as_str(), rows[0]["data"]["fahrenheit"].as_u64()), (Some("/sites/hh"), Some(70)));
}

#[test]
fn a_letter_of_a_lane_goes_to_its_lane_only() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    send(&gateway, "order-0", "com.acme.order.created");
    laws_at_rest(&gateway);
    // A row that the store's own database refuses is an event that the store can never take.
    let database = rusqlite::Connection::open(folder.0.join(STORE)).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.id = 'order-1' BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    database.execute_batch(trigger).unwrap();
    let trace_id = send(&gateway, "order-1", "com.acme.order.created");
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    let letter = &listed[0];
    assert_eq!(
        (letter["stage"].as_str(), letter["backend"].as_str(), letter["route"].as_str()),
        (Some("lane"), Some("keep"), Some("acme"))
    );
    assert_eq!(letter["attempts"], 1, "{letter}");
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(traced.events[0].deliveries[0].failure.is_some(), "{traced:?}");
    assert!(trace::render(&traced, Style::plain()).contains("dead letter"));
    laws_at_rest(&gateway);

    database.execute_batch("DROP TRIGGER no").unwrap();
    let of_lane = Change { backend: Some("keep".to_owned()), rate: Some("100/s".to_owned()), ..Change::default() };
    let (summary, lines) = change(&gateway, "replay", &Change { dry_run: true, ..of_lane.clone() });
    assert_eq!(summary.would, 1);
    assert!(lines[0].contains("to backend keep"), "{lines:?}");
    let (summary, lines) = change(&gateway, "replay", &of_lane);
    assert_eq!((summary.replayed, letters(&gateway).len()), (1, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let ids: Vec<_> = stored(&folder, STORE).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["order-0", "order-1"]);
}

#[test]
fn a_lane_in_trouble_is_named_and_does_not_make_it_unready() {
    let folder = Folder::new();
    // A store whose folder is a file can never be opened: the place is wrong.
    fs::write(folder.0.join("file"), "").unwrap();
    let gateway = start(&folder, &Setup { store: ", path: file/keep.db", ..ACME });
    let trace_id = send(&gateway, "order-1", "com.acme.order.created");
    let lane = eventually("the trouble", || status(&gateway).lanes.into_iter().find(|lane| lane.trouble.is_some()));
    let trouble = lane.trouble.unwrap();
    assert!(
        trouble.destination && trouble.why.contains("folder") && trouble.what_to_do.contains("mend"),
        "{trouble:?}"
    );
    assert_eq!((lane.pending, lane.oldest.is_some()), (1, true));
    let (code, verbose) = http(gateway.admin, "GET", "/readyz?verbose", &[], "");
    assert!(code == 200 && verbose.contains("TROUBLE") && verbose.contains("since"), "{verbose}");
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert_eq!(traced.events[0].waits_for, ["keep"]);
    assert!(letters(&gateway).is_empty(), "a wrong place never makes dead letters");
    gateway.stop();
    // After a restart only the journal knows of it.
    let gateway = start(&folder, &Setup { store: ", path: file/keep.db", ..ACME });
    let traced: Traced = client(&gateway).get("/api/trace/order-1").unwrap();
    assert_eq!(
        (traced.events.len(), traced.journal[0].trace_id.as_str(), traced.journal[0].waits_for.len()),
        (0, trace_id.as_str(), 1)
    );
    gateway.stop();
}

#[test]
fn bytes_that_nobody_could_read_are_kept_where_the_protocol_cannot_refuse() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    // A CloudEvent without its source: MQTT 3.1.1 has no way to say no.
    publish_311(
        address(&gateway, "mqtt"),
        "sensors/hh/temperature",
        "{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"com.acme.x\",\"data\":1}",
    );
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    assert_eq!(
        (listed[0]["failure"].as_str(), listed[0]["stage"].as_str()),
        (Some("missing_attribute"), Some("door")),
        "{}",
        listed[0]
    );
    let lsn = listed[0]["lsn"].as_u64().unwrap();
    let shown: serde_json::Value = client(&gateway).get(&format!("/api/dlq/{lsn}")).unwrap();
    assert!(shown["original_base64"].as_str().is_some_and(|text| text.starts_with("eyJzcGVjdmVyc2lvbi")), "{shown}");
    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.dead_again, letters(&gateway)[0]["attempts"].as_u64()), (1, Some(1)), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
}

#[test]
fn segments_are_used_again_once_their_letters_are_done() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let big = "x".repeat(250_000);
    let post = |event_type: &str| {
        let path = format!("/events/{event_type}");
        http(address(&gateway, "http"), "POST", &path, &[("Content-Type", "text/plain")], &big).0
    };
    assert_eq!(post("org.other"), 202);
    // Four segments of 16 MiB: without a reader of lane 0 the letter's segment, and then the ring, would never be free again.
    let letters_done = |gateway: &Gateway| change(gateway, "discard", &all()).0.discarded;
    assert_eq!(letters_done(&gateway), 1);
    for n in 0..350 {
        let begin = Instant::now();
        while post("com.acme.big") != 202 {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "the ring is full at event {n}: {:?}",
                status(&gateway).journal
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    laws_at_rest(&gateway);
    gateway.stop();
}

#[test]
fn folders_go_away() {
    let folder = Folder::new();
    let path = folder.0.clone();
    drop(folder);
    assert!(!Path::exists(&path));
}
