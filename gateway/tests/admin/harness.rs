//! One gateway in a temporary folder, senders by hand, and the counting laws.
use gateway::{
    admin::{
        dlq::{Change, Summary},
        figures,
        status::Status,
    },
    cli::{
        client::{Admin, Client},
        dlq, events,
    },
    config,
    runtime::Gateway,
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// A folder that goes away with its test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
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

pub const ENDS: &str = "
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
pub struct Setup<'a> {
    pub routes: &'a str,
    pub mqtt_pipeline: &'a str,
    pub store: &'a str,
    pub more: &'a str,
}

pub const ACME: Setup<'_> = Setup {
    routes: "  - { name: alarms, when: \"EXISTS severity AND type LIKE 'com.acme.%'\", to: [keep] }\n  - { name: acme, when: \"type LIKE 'com.acme.%'\", to: [keep] }",
    mqtt_pipeline: "",
    store: "",
    more: "",
};

pub fn start(folder: &Folder, setup: &Setup<'_>) -> Gateway {
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

pub fn address(gateway: &Gateway, kind: &str) -> SocketAddr {
    gateway.listeners.iter().find(|bound| bound.kind == kind).unwrap().address
}

pub fn admin(gateway: &Gateway) -> Admin {
    Admin::at(format!("http://{}", gateway.admin))
}

pub fn client(gateway: &Gateway) -> Client {
    admin(gateway).client().unwrap()
}

/// One HTTP/1.1 request by hand: status and body.
pub fn http(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
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
pub fn send(gateway: &Gateway, id: &str, event_type: &str) -> String {
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
pub fn publish_311(to: SocketAddr, topic: &str, payload: &str) {
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

pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn status(gateway: &Gateway) -> Status {
    client(gateway).get("/api/status").unwrap()
}

/// Waits until nothing is under way, then checks every counting law over `/metrics`.
pub fn laws_at_rest(gateway: &Gateway) {
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

pub fn letters(gateway: &Gateway) -> Vec<serde_json::Value> {
    let list = dlq::List { failure: None, backend: None, since: None, limit: None, json: true, admin: admin(gateway) };
    let mut found = Vec::new();
    list.ask(&mut |line| {
        found.push(serde_json::from_str(line).unwrap());
        true
    })
    .unwrap();
    found
}

pub fn change(gateway: &Gateway, verb: &str, change: &Change) -> (Summary, Vec<String>) {
    let mut lines = Vec::new();
    let summary = dlq::send(&client(gateway), verb, change, &mut |line, _| {
        lines.push(String::from_utf8(line.to_vec()).unwrap());
        true
    });
    (summary.unwrap(), lines)
}

pub fn all() -> Change {
    Change { all: true, ..Change::default() }
}

pub fn stored(folder: &Folder, store: &str) -> Vec<serde_json::Value> {
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

pub const STORE: &str = "data/store/keep.db";
