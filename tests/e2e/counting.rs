//! The counting laws, at rest, after everything that can happen to an event has happened.
use crate::harness::{
    eventually, free_port,
    gateway::Place,
    metrics::Metrics,
    mqtt::{Client, Said},
};

const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}" }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}", pipeline: [edge] } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}", pipeline: [edge] } }
pipelines:
  edge:
    - dedupe: { window: 1m }
    - filter: { keep: type <> 'noise' }
routes:
  - { name: fan, when: type = 'fan', to: [a, b, stuck] }
  - { name: one, when: type = 'one', to: [a] }
  - { name: nil, when: type = 'nil', to: [nil] }
backends:
  a: { store: {} }
  b: { store: {} }
  nil: { "null": {} }
  stuck: { kafka: { brokers: ["127.0.0.1:${DEAD_PORT:?}"], topic: t } }
"#;

#[track_caller]
pub fn door_law(metrics: &Metrics, listener: &str) -> f64 {
    let sum = |name: &str| metrics.sum(name, &[("anygate_listener", listener)]);
    let received = sum("anygate_events_received_total");
    let parts = ["refused", "dropped", "duplicate", "kept"].map(|name| sum(&format!("anygate_events_{name}_total")));
    assert_eq!(
        received,
        parts.iter().sum::<f64>(),
        "{listener}: received = refused + dropped + duplicate + kept {parts:?}"
    );
    received
}

#[track_caller]
pub fn lane_laws(metrics: &Metrics, lanes: &[&str]) {
    for lane in lanes {
        let sum = |name: &str| metrics.sum(name, &[("anygate_backend", lane)]);
        let came = sum("anygate_lane_entered_total") + sum("anygate_lane_recovered_total");
        let went = ["delivered_total", "dead_lettered_total", "dropped_total", "pending"]
            .map(|name| sum(&format!("anygate_lane_{name}")));
        assert_eq!(
            came,
            went.iter().sum::<f64>(),
            "{lane}: entered + recovered = delivered + dead_lettered + dropped + pending {went:?}"
        );
    }
    let entered = metrics.sum("anygate_lane_entered_total", &[]);
    assert_eq!(metrics.sum("anygate_events_targeted_total", &[]), entered, "kept × targets = Σ entered");
}

#[test]
fn they_hold_after_a_mixed_run_and_after_a_restart() {
    let place = Place::new(CONFIG).env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    let kinds = ["fan", "one", "nil", "noise", "unknown"];
    for number in 0..50 {
        assert_eq!(running.send(&format!("c{number}"), kinds[number % 5]).status, 202);
    }
    for number in 0..10 {
        assert_eq!(running.send(&format!("c{number}"), kinds[number % 5]).status, 202, "again");
    }
    assert_eq!(running.post("/events", &[("content-type", "application/json")], "{").status, 400);
    assert_eq!(running.post("/events", &[("ce-specversion", "1.0"), ("ce-id", "1")], "x").status, 400 + 22);
    let batch = r#"[{"specversion":"1.0","id":"b1","source":"/s","type":"one"},{"specversion":"1.0","id":"b2","source":"/s"},{"specversion":"1.0","id":"b3","source":"/s","type":"fan"}]"#;
    let kind = ("content-type", "application/cloudevents-batch+json");
    assert_eq!(running.post("/events", &[kind], batch).status, 422);
    assert_eq!(running.post("/events", &[kind, ("prefer", "handling=lenient")], batch).status, 207);
    let mut client = Client::connect(place.mqtt, "counting", 5);
    for payload in ["x", "y"] {
        client.publish("t", payload.as_bytes(), &Said::default());
        client.publish("t", b"{", &Said { content_type: Some("application/json"), user: &[] });
    }
    let codes: Vec<u8> = (0..4).map(|_| client.next(5).unwrap().puback().1).collect();
    assert_eq!(codes, [0, 0x99, 0, 0x99]);
    let lanes = ["a", "b", "nil", "stuck"];
    let quiet = |running: &crate::harness::gateway::Running<'_>| {
        let metrics = running.metrics();
        let of = |lane: &str, name: &str| metrics.sum(&format!("anygate_lane_{name}"), &[("anygate_backend", lane)]);
        let rest = |lane: &&str| of(lane, "delivered_total") == of(lane, "entered_total") + of(lane, "recovered_total");
        (["a", "b", "nil"].iter().all(rest) && of("stuck", "pending") > 0.0).then_some(metrics)
    };
    let metrics = eventually("the lanes are at rest", 10, || quiet(&running));
    let web = door_law(&metrics, "web");
    assert_eq!(web, 50.0 + 10.0 + 2.0 + 6.0);
    assert_eq!(door_law(&metrics, "devices"), 4.0);
    lane_laws(&metrics, &lanes);
    let of = |name: &str| metrics.sum(&format!("anygate_events_{name}_total"), &[("anygate_listener", "web")]);
    // noise is met by dedupe before the filter drops it: its key was given back, so the repeats are dropped again.
    assert_eq!((of("duplicate"), of("dropped")), (8.0, 12.0));
    assert_eq!(of("unrouted"), 10.0, "what a filter dropped, or was there before, met no router");
    assert_eq!(metrics.sum("anygate_lane_pending", &[("anygate_backend", "stuck")]), 11.0);
    assert_eq!(metrics.sum("anygate_lane_delivered_total", &[("anygate_backend", "a")]), 22.0);
    running.kill9();
    drop(running);
    let running = place.start();
    let metrics = eventually("the lanes are at rest", 10, || quiet(&running));
    lane_laws(&metrics, &lanes);
    assert_eq!(metrics.sum("anygate_lane_recovered_total", &[("anygate_backend", "stuck")]), 11.0);
}
