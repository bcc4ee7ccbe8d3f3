//! `explain` and `run` agree: five hundred random messages, good and bad, over every protocol, through both.
//!
//! The explainer is called in this process, the gateway runs as a child. Each message carries a marker, by which its rows and
//! records are found again.
use crate::harness::{
    Dice, clients,
    gateway::{Place, Running},
    http::Connection,
    mqtt::{Client, Said as RawSaid},
    services,
};
use bytes::Bytes;
use gateway::explain::{Explained, Explainer};
use schemas::{ItemVerdict, Message, Refusal};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};
use transports::{
    Origin, Principal,
    http::HttpSettings,
    mqtt::{
        MqttSettings,
        fields::Version,
        message,
        publish::{Publish, Said},
    },
};

const COUNT: usize = 500;

const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}" }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
schemas:
  reading: { file: reading.json }
listeners:
  web:
    http:
      listen: "127.0.0.1:${HTTP_PORT:?}"
      pipeline: [edge]
      envelope:
        - path: /events
          set: { region: "from-{listener}" }
  devices:
    mqtt:
      listen: "127.0.0.1:${MQTT_PORT:?}"
      pipeline: [edge]
      envelope:
        - topic: sensors/{site}/{device}/{kind}
          set: { type: "com.acme.sensor.{kind}", source: "/sites/{site}", subject: "{device}", partitionkey: "{device}" }
pipelines:
  edge:
    - limit: { size: 4KiB }
    - extract: { severity: /severity }
    - filter: { keep: type <> 'noise' }
  readings:
    - validate: { schema: reading }
  tenant:
    - set: { tenant: "{region}-x" }
routes:
  - { name: alarms, when: EXISTS severity AND severity >= 17, to: [bus], continue: true }
  - { name: readings, when: "type = 'com.acme.sensor.temperature'", pipeline: [readings], to: [keep, bus] }
  - { name: orders, when: "type LIKE 'com.acme.order%' AND source <> '/bad'", to: [keep], continue: true }
  - { name: tenants, when: "type IN ('com.acme.order.created', 'tenant')", pipeline: [tenant], to: [bus] }
  - { name: sites, when: "source LIKE '/sites/%'", to: [keep] }
  - { name: direct, when: type = 'com.acme.order.now', to: [keep], ack: delivered }
unrouted: "${UNROUTED:-reject}"
backends:
  keep: { store: {} }
  bus: BUS
"#;

const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["celsius"],
  "properties":{"celsius":{"type":"number"}}}"#;

/// What a sender sends, in a form that both sides can use.
#[derive(Debug)]
enum Sample {
    Http { path: String, headers: Vec<(String, String)>, body: String },
    Mqtt { version: u8, topic: String, content_type: Option<String>, user: Vec<(String, String)>, body: String },
}

fn owned(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A body with the marker in it; now and then no JSON, or too large.
fn body(dice: &mut Dice, marker: &str) -> String {
    match dice.roll(8) {
        0 => format!("plain {marker}"),
        1 => format!(r#"{{"n":"{marker}","celsius":"warm"}}"#),
        2 => format!(r#"{{"n":"{marker}","severity":{}}}"#, dice.roll(24)),
        3 => format!(r#"{{"n":"{marker}",}}"#),
        4 => format!(r#"{{"n":"{marker}","pad":"{}"}}"#, "x".repeat(dice.roll(2) * 5000)),
        _ => format!(r#"{{"n":"{marker}","celsius":{}}}"#, dice.roll(40)),
    }
}

fn attributes(dice: &mut Dice, marker: &str) -> Vec<(String, String)> {
    let types =
        ["com.acme.order.created", "com.acme.order.now", "com.acme.sensor.temperature", "tenant", "noise", "org.other"];
    let mut all = vec![
        owned("specversion", if dice.roll(20) == 0 { "2.0" } else { "1.0" }),
        owned("id", &format!("id-{marker}")),
        owned("source", dice.pick(&["/shop", "/bad", "/sites/hh", "not a uri"])),
        owned("type", dice.pick(&types)),
    ];
    let extra: [(&str, &[&str]); 6] = [
        ("subject", &["7", "é", ""]),
        ("partitionkey", &["k1", "k2"]),
        ("region", &["north", ""]),
        ("time", &["2026-01-01T00:00:00Z", "yesterday"]),
        ("severity", &["3", "20", "many"]),
        ("anygatetenant", &["me"]),
    ];
    for (name, values) in extra {
        if dice.roll(if name == "anygatetenant" { 20 } else { 4 }) == 0 {
            all.push(owned(name, dice.pick(values)));
        }
    }
    if dice.roll(12) == 0 {
        all.remove(1 + dice.roll(3));
    }
    all
}

fn structured(dice: &mut Dice, marker: &str) -> String {
    let mut event: serde_json::Map<String, Value> =
        attributes(dice, marker).into_iter().map(|(name, value)| (name, json!(value))).collect();
    let text = body(dice, marker);
    let data = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    event.insert("data".to_owned(), data);
    let text = Value::Object(event).to_string();
    if dice.roll(15) == 0 { text[..text.len() - 2].to_owned() } else { text }
}

fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_graphic() && byte != b'%' && byte != b'"' {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn http(dice: &mut Dice, marker: &str) -> Sample {
    let mut headers = Vec::new();
    let mut path = "/events".to_owned();
    let body = match dice.roll(4) {
        0 => {
            headers.push(owned("content-type", "application/cloudevents+json"));
            structured(dice, marker)
        }
        1 => {
            headers.push(owned("content-type", "application/cloudevents-batch+json"));
            let events: Vec<String> =
                (0..1 + dice.roll(3)).map(|number| structured(dice, &format!("{marker}.{number}"))).collect();
            format!("[{}]", events.join(","))
        }
        2 => {
            headers.extend(
                attributes(dice, marker).into_iter().map(|(name, value)| (format!("ce-{name}"), encode(&value))),
            );
            headers.push(owned("content-type", dice.pick(&["application/json", "text/plain", "application/xml"])));
            body(dice, marker)
        }
        _ => {
            path = dice
                .pick(&["/events", "/events/com.acme.order.created", "/events/tenant", "/events/a/b", "/events/noise"])
                .to_owned();
            if dice.roll(2) == 0 {
                headers.push(owned(
                    "content-type",
                    dice.pick(&["application/json", "text/plain", "application/cloudevents+xml"]),
                ));
            }
            body(dice, marker)
        }
    };
    Sample::Http { path, headers, body }
}

fn mqtt(dice: &mut Dice, marker: &str) -> Sample {
    let version = if dice.roll(2) == 0 { 4 } else { 5 };
    let topic = dice.pick(&["sensors/hh/7/temperature", "sensors/hh/9/humidity", "other", "sensors/hh"]).to_owned();
    let (mut content_type, mut user) = (None, Vec::new());
    let body = match dice.roll(3) {
        0 if version == 5 => {
            user = attributes(dice, marker);
            content_type = Some(dice.pick(&["application/json", "text/plain"]).to_owned());
            body(dice, marker)
        }
        1 => {
            content_type = (version == 5).then(|| "application/cloudevents+json".to_owned());
            structured(dice, marker)
        }
        _ => body(dice, marker),
    };
    Sample::Mqtt { version, topic, content_type, user, body }
}

fn message_of(sample: &Sample) -> Result<(Message, &'static str, &'static str), Refusal> {
    match sample {
        Sample::Http { path, headers, body } => {
            let mut request = ::http::Request::post(path.as_str()).header("host", "127.0.0.1");
            for (name, value) in headers {
                request = request.header(name.as_str(), value.as_str());
            }
            let request = request.body(Bytes::from(body.clone())).unwrap();
            transports::http::message_of(request, &HttpSettings::default()).map(|message| (message, "web", "http"))
        }
        Sample::Mqtt { version, topic, content_type, user, body } => {
            let mut said = Said { content_type: content_type.as_deref(), ..Said::default() };
            said.user.extend(user.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let publish = Publish { topic, packet_id: Some(1), alias: None, said, payload: body.as_bytes() };
            let version = if *version == 5 { Version::V5 } else { Version::V311 };
            let payload = Bytes::from(body.clone());
            message::of_publish(&publish, topic.as_str().into(), payload, version, &MqttSettings::default())
                .map(|message| (message, "devices", "mqtt"))
        }
    }
}

fn explain(explainer: &Explainer, sample: &Sample) -> Result<Explained, Refusal> {
    let (message, listener, protocol) = message_of(sample)?;
    let version = match sample {
        Sample::Http { .. } => "1.1",
        Sample::Mqtt { version: 5, .. } => "5",
        Sample::Mqtt { .. } => "3.1.1",
    };
    let origin = Origin {
        listener: listener.into(),
        principal: Principal { name: "".into(), tenant: "".into() },
        protocol,
        version,
        peer: SocketAddr::from(([127, 0, 0, 1], 0)),
        client: "".into(),
    };
    explainer.explain(message, origin)
}

/// What a sender was told: the words of refusal, or yes.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Yes,
    No(String),
    /// MQTT 5 says a number that several words share.
    Code(u8),
    /// MQTT 3.1.1: the connection closed.
    Closed,
}

struct Senders<'a> {
    place: &'a Place,
    web: Connection,
    devices: BTreeMap<u8, Client>,
}

impl Senders<'_> {
    fn send(&mut self, sample: &Sample) -> Told {
        match sample {
            Sample::Http { path, headers, body } => {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let answer = self.web.post(path, &headers, body.as_bytes());
                if answer.status < 300 { Told::Yes } else { Told::No(answer.failure()) }
            }
            Sample::Mqtt { version, topic, content_type, user, body } => {
                let port = self.place.mqtt;
                let client = self
                    .devices
                    .entry(*version)
                    .or_insert_with(|| Client::connect(port, &format!("explain-{version}"), *version));
                let user: Vec<(&str, &str)> =
                    user.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                client.publish(topic, body.as_bytes(), &RawSaid { content_type: content_type.as_deref(), user: &user });
                let told = match client.next(10) {
                    Some(packet) if packet.is_puback() && packet.puback().1 < 0x80 => return Told::Yes,
                    Some(packet) if packet.is_puback() => return Told::Code(packet.puback().1),
                    Some(packet) => Told::Code(packet.body[0]),
                    None => Told::Closed,
                };
                self.devices.remove(version);
                told
            }
        }
    }
}

fn expected(sample: &Sample, explained: &Result<Explained, Refusal>) -> Told {
    let refusal = match explained {
        Err(refusal) => Some(refusal.word),
        Ok(explained) => explained.refusal.as_ref().map(|refusal| refusal.word),
    };
    match (refusal, sample) {
        (None, _) => Told::Yes,
        (Some(word), Sample::Http { .. }) => Told::No(word.as_str().to_owned()),
        (Some(word), Sample::Mqtt { version: 5, .. }) => Told::Code(word.entry().mqtt5.unwrap()),
        // It cannot say no: the message is a dead letter.
        (Some(_), Sample::Mqtt { .. }) => Told::Yes,
    }
}

/// The attributes that routing saw, without what is new for each message.
fn stable(attributes: impl IntoIterator<Item = (String, String)>, marker_is_id: bool) -> BTreeMap<String, String> {
    let fresh = |name: &str| {
        ["time", "recordedtime", "traceparent", "tracestate"].contains(&name) || (name == "id" && !marker_is_id)
    };
    attributes.into_iter().filter(|(name, _)| !fresh(name) && !name.starts_with("anygate")).collect()
}

/// What a run should leave behind: for each store or topic, marker → the sets of attributes.
type Left = BTreeMap<String, Vec<BTreeMap<String, String>>>;

fn config(bus: &str) -> String {
    CONFIG.replace("BUS", bus)
}

#[test]
fn on_500_random_messages() {
    let topic = services::fresh("explained");
    let kafka = std::env::var("ANYGATE_TEST_KAFKA").ok().filter(|_| clients::has_python());
    let bus = match &kafka {
        Some(broker) => {
            services::create_topic(broker, &topic, 3, &[]);
            format!("{{ kafka: {{ brokers: [\"{broker}\"], topic: {topic}, key: \"{{partitionkey}}\" }} }}")
        }
        None => "{ store: {} }".to_owned(),
    };
    let place = Place::new(&config(&bus)).file("reading.json", SCHEMA);
    let (data, port) = (place.data_dir().display().to_string(), "0".to_owned());
    let env = |name: &str| match name {
        "DATA_DIR" => Some(data.clone()),
        "HTTP_PORT" | "MQTT_PORT" | "ADMIN_PORT" => Some(port.clone()),
        _ => None,
    };
    let checked = gateway::config::check_file(&place.config, &env);
    let explainer =
        Explainer::new(checked.config.clone().unwrap_or_else(|| panic!("{}", checked.render(false)))).unwrap();
    let running = place.start();
    let mut senders = Senders { place: &place, web: Connection::open(place.http), devices: BTreeMap::new() };
    let mut dice = Dice(0x5eed_0003);
    let (mut matched, mut keep, mut bus_keys): (BTreeMap<String, f64>, Left, BTreeMap<String, Vec<String>>) =
        Default::default();
    let mut words: BTreeSet<String> = BTreeSet::new();
    for number in 0..COUNT {
        let marker = format!("m{number:04}");
        let sample = if dice.roll(2) == 0 { http(&mut dice, &marker) } else { mqtt(&mut dice, &marker) };
        let explained = explain(&explainer, &sample);
        let told = senders.send(&sample);
        assert_eq!(
            told,
            expected(&sample, &explained),
            "message {number}: {}\nexplain: {}",
            short(&format!("{sample:?}")),
            short(&why(&explained))
        );
        words.insert(format!("{told:?}"));
        if let Ok(explained) = &explained {
            // A route counts what it took of every message that was kept, dead letters among them.
            for route in explained.events.iter().filter(|_| told == Told::Yes).flat_map(|event| &event.matched) {
                *matched.entry(route.clone()).or_default() += 1.0;
            }
            remember(explained, &marker, &mut keep, &mut bus_keys);
        }
    }
    assert!(words.len() >= 8, "the messages are too much alike: {words:?}");
    assert!(keep.len() > 50 && bus_keys.len() > 20, "{} rows, {} records", keep.len(), bus_keys.len());
    compare_rows(&running, &keep);
    for (route, count) in &matched {
        let counted = running.metrics().sum("anygate_route_matched_total", &[("anygate_route", route)]);
        assert_eq!(counted, *count, "events that the route {route} took");
    }
    match kafka {
        Some(broker) => compare_records(&broker, &topic, &bus_keys),
        None => assert_eq!(
            crate::harness::store::Rows::read(&place.data_dir(), "bus").len(),
            bus_keys.values().map(Vec::len).sum::<usize>()
        ),
    }
}

fn short(text: &str) -> String {
    text.replace("xxxxxxxxxx", "")
}

fn why(explained: &Result<Explained, Refusal>) -> String {
    match explained {
        Err(refusal) => format!("{}: {}", refusal.word, refusal.detail),
        Ok(explained) => {
            let events: Vec<String> = explained
                .events
                .iter()
                .map(|event| {
                    format!("{:?} {:?} {:?} {:?}", event.attributes, event.matched, event.fate, event.dead_letter)
                })
                .collect();
            format!(
                "{:?} {events:#?}",
                explained.refusal.as_ref().map(|refusal| (refusal.word, refusal.detail.clone()))
            )
        }
    }
}

fn remember(explained: &Explained, marker: &str, keep: &mut Left, bus: &mut BTreeMap<String, Vec<String>>) {
    for event in explained.events.iter().filter(|event| explained.refusal.is_none() && event.dead_letter.is_none()) {
        if !matches!(event.fate, None | Some(ItemVerdict::Kept { .. })) {
            continue;
        }
        let id = event.attributes.iter().find(|(name, _)| name == "id").map(|(_, id)| id.clone()).unwrap_or_default();
        let marked = id.contains(marker);
        let key = if marked { id } else { marker.to_owned() };
        for record in &event.records {
            if record.backend == "keep" {
                keep.entry(key.clone()).or_default().push(stable(event.attributes.clone(), marked));
            } else {
                let field =
                    |name: &str| record.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
                bus.entry(key.clone())
                    .or_default()
                    .push(field("key").unwrap_or_else(|| "explain gives no key".to_owned()));
            }
        }
    }
}

fn marker_in(text: &str) -> Option<String> {
    let at = text.find("m0")?;
    text.get(at..at + 5).map(str::to_owned)
}

fn compare_rows(running: &Running<'_>, keep: &Left) {
    let count = keep.values().map(Vec::len).sum();
    let rows = running.rows_at_least(count);
    let mut found: Left = BTreeMap::new();
    for row in &rows.0 {
        let marked = row.id.starts_with("id-m");
        let key = if marked {
            row.id.clone()
        } else {
            marker_in(&String::from_utf8_lossy(&row.data)).unwrap_or_else(|| panic!("{row:?}"))
        };
        let extensions: BTreeMap<String, Value> = serde_json::from_str(&row.attributes).unwrap();
        let mut all: Vec<(String, String)> = extensions
            .into_iter()
            .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        all.extend([owned("id", &row.id), owned("source", &row.source), owned("type", &row.kind)]);
        all.extend(row.subject.iter().map(|subject| owned("subject", subject)));
        found.entry(key).or_default().push(stable(all, marked));
    }
    for (key, sets) in keep {
        let got = found.get(key).unwrap_or_else(|| panic!("explain says that {key} is kept; the store has it not"));
        let plain = |set: &BTreeMap<String, String>| {
            set.iter()
                .filter(|(name, _)| !["specversion", "datacontenttype", "dataschema"].contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(
            got.iter().map(plain).collect::<Vec<_>>(),
            sets.iter().map(plain).collect::<Vec<_>>(),
            "attributes of {key}"
        );
    }
    let extra: Vec<&String> = found.keys().filter(|key| !keep.contains_key(*key)).collect();
    assert!(extra.is_empty(), "the store has what explain says it has not: {extra:?}");
}

fn compare_records(broker: &str, topic: &str, expected: &BTreeMap<String, Vec<String>>) {
    let count: usize = expected.values().map(Vec::len).sum();
    let records = crate::harness::eventually("all records", 20, || {
        Some(services::records(broker, topic)).filter(|found| found.len() >= count)
    });
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &records {
        let id = record["headers"]["ce_id"].as_str().unwrap();
        let key =
            if id.starts_with("id-m") { id.to_owned() } else { marker_in(record["value"].as_str().unwrap()).unwrap() };
        found.entry(key).or_default().push(record["key"].as_str().unwrap().to_owned());
    }
    for keys in found.values_mut() {
        keys.sort();
    }
    let mut expected = expected.clone();
    for keys in expected.values_mut() {
        keys.sort();
    }
    assert_eq!(found, expected, "record keys by message");
}
