//! `explain` and `run` agree: five hundred random messages, good and bad, over every protocol, through both.
//!
//! The explainer is called in this process, the gateway runs as a child. Each message carries a marker, by which its rows and
//! records are found again.
mod samples;
mod sides;

use crate::harness::{
    Dice, clients,
    gateway::{Place, Running},
    http::Connection,
    services,
};
use gateway::explain::{Explained, Explainer};
use samples::{http, mqtt, owned};
use schemas::{ItemVerdict, Refusal};
use serde_json::Value;
use sides::{Senders, Told, expected, explain};
use std::collections::{BTreeMap, BTreeSet};

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

fn explainer(place: &Place) -> Explainer {
    let data = place.data_dir().display().to_string();
    let env = |name: &str| match name {
        "DATA_DIR" => Some(data.clone()),
        "HTTP_PORT" | "MQTT_PORT" | "ADMIN_PORT" => Some("0".to_owned()),
        _ => None,
    };
    let checked = gateway::config::check_file(&place.config, &env);
    Explainer::new(checked.config.clone().unwrap_or_else(|| panic!("{}", checked.render(false)))).unwrap()
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
    let explainer = explainer(&place);
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
        None => compare_keys(&running, &bus_keys),
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

/// Without Kafka the bus is a store: the same messages reach it. (Two records of one event with equal data are one row there.)
fn compare_keys(running: &Running<'_>, expected: &BTreeMap<String, Vec<String>>) {
    let wanted: BTreeSet<&String> = expected.keys().collect();
    crate::harness::eventually("the same messages in the store", 15, || {
        let rows = crate::harness::store::Rows::read(&running.place.data_dir(), "bus");
        let key = |row: &crate::harness::store::Row| {
            if row.id.starts_with("id-m") {
                Some(row.id.clone())
            } else {
                marker_in(&String::from_utf8_lossy(&row.data))
            }
        };
        let found: BTreeSet<String> = rows.0.iter().filter_map(key).collect();
        (found.iter().collect::<BTreeSet<_>>() == wanted).then_some(())
    });
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
