//! A full backlog: what is acknowledged stays, what finds no room is refused or held, and all goes on once there is room.
use crate::harness::{
    free_port,
    gateway::Place,
    http::Connection,
    mqtt::{Client, Said},
};

const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}", drain_timeout: 1s }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
journal: { segment_size: 4MiB, segments: 3 }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}" } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}", overload: { hold: 1s } } }
routes:
  - { name: all, to: [bus] }
backends:
  bus: { kafka: { brokers: ["127.0.0.1:${DEAD_PORT:?}"], topic: t, backlog: { max_size: 8MiB } } }
"#;

#[test]
fn storage_full_is_said_and_nothing_acknowledged_is_lost() {
    let place = Place::new(CONFIG).env("DEAD_PORT", &free_port().to_string());
    let running = place.start();
    let mut connection = Connection::open(place.http);
    let body = vec![b'j'; 250 * 1024];
    let mut acked = 0.0;
    let refused = loop {
        let answer = connection.post("/events", &[("content-type", "text/plain")], &body);
        if answer.status != 202 {
            break answer;
        }
        acked += 1.0;
        assert!(acked < 60.0, "{acked} × 250 KiB in 8 MiB and what is on its way");
    };
    assert!(acked > 10.0, "only {acked} × 250 KiB in 8 MiB and what is on its way");
    assert_eq!((refused.status, refused.failure().as_str()), (503, "storage_full"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let mut client = Client::connect(place.mqtt, "full", 5);
    client.publish("a", &body, &Said::default());
    let packet = client.next(5).expect("MQTT 5 is told why");
    assert_eq!((packet.first, packet.body[0]), (0xe0, 0x97), "held, then closed: {packet:x?}");
    let mut client = Client::connect(place.mqtt, "full", 4);
    client.publish("a", &body, &Said::default());
    assert_eq!(client.next(5), None, "held, then closed");
    running.kill9();
    drop(running);
    let running = place.start();
    let metrics = running.metrics();
    assert_eq!(
        metrics.sum("anygate_lane_recovered_total", &[("anygate_backend", "bus")]),
        acked,
        "acknowledged = found again"
    );
}
