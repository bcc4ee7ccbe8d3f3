//! The stateless form, `journal: { memory: … }`: no disk of the journal's own, nothing durable, nothing lost in a stop.
use crate::harness::{gateway::Place, store::Rows};

const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}", drain_timeout: 5s }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
journal: { memory: 32MiB }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}" } }
routes:
  - { name: sure, when: "type = 'sure'", to: [keep], ack: delivered }
  - { name: quick, when: "type = 'quick'", to: [keep], ack: received }
backends:
  keep: { store: {} }
"#;

#[test]
fn it_starts_acknowledges_and_drains_without_a_journal_on_disk() {
    let place = Place::new(CONFIG);
    let running = place.start();
    for number in 0..50 {
        let answer = running.send(&format!("q{number}"), "quick");
        assert_eq!((answer.status, answer.json()["ack"].as_str()), (202, Some("received")), "{}", answer.text());
        let answer = running.send(&format!("s{number}"), "sure");
        assert_eq!((answer.status, answer.json()["ack"].as_str()), (200, Some("delivered")), "{}", answer.text());
    }
    let letter = running.send("nowhere", "other");
    assert_eq!(letter.status, 202, "{}", letter.text());
    assert_eq!(letter.json()["ack"], "received", "a dead letter in memory is not durable, and nobody says so");
    let status = running.admin("/readyz?verbose").text();
    assert!(status.contains("16.0 MiB of memory"), "{status}");
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
    assert!(running.stderr().contains("0 events"), "{}", running.stderr());
    drop(running);
    let rows = Rows::read(&place.data_dir(), "keep");
    assert_eq!(rows.len(), 100, "a stop delivers what waits");
    for name in ["journal", "lanes", "LOCK", "meta.0"] {
        assert!(!place.data_dir().join(name).exists(), "{name} is on the disk");
    }
}

#[test]
fn what_was_delivered_outlives_a_kill() {
    let place = Place::new(CONFIG);
    let running = place.start();
    for number in 0..20 {
        assert_eq!(running.send(&format!("s{number}"), "sure").status, 200);
    }
    running.kill9();
    drop(running);
    assert_eq!(Rows::read(&place.data_dir(), "keep").len(), 20);
    let running = place.start();
    assert_eq!(running.metrics().sum("anygate_lane_recovered_total", &[]), 0.0, "a start begins with nothing");
    assert_eq!(running.send("again", "sure").status, 200);
}
