//! The three kinds of fault, with a real broker: wait and retry; this record never; the place is wrong.
use crate::harness::{
    eventually, free_port,
    gateway::{Place, Running},
    http::Connection,
    services::{self, Broker},
};
use std::collections::BTreeMap;

fn place(kafka: &str, topic: &str, ack: &str) -> Place {
    Place::with(&format!(
        "routes:\n  - {{ name: all, to: [bus], ack: {ack} }}\nbackends:\n  bus:\n    kafka: {{ brokers: [\"{kafka}\"], topic: {topic}, retry: {{ backoff: 100ms..1s }} }}\n"
    ))
}

fn pending(running: &Running<'_>) -> f64 {
    running.metrics().sum("anygate_lane_pending", &[("anygate_backend", "bus")])
}

#[test]
fn a_missing_topic_holds_the_lane_and_says_so() {
    let Some(kafka) = services::kafka() else { return };
    let topic = services::fresh("missing");
    let place = place(&kafka, &topic, "durable");
    let running = place.start();
    for number in 0..5 {
        assert_eq!(running.send(&format!("w{number}"), "t").status, 202, "durable does not depend on the topic");
    }
    let said = eventually("the lane says what is wrong", 20, || {
        let text = running.admin("/readyz?verbose").text();
        text.contains(topic.as_str()).then_some(text)
    });
    assert!(said.contains("bus") && said.contains("topic"), "in words: {said}");
    assert_eq!(running.admin("/readyz").status, 200, "it still takes messages");
    // The state is set before the line is written, and a thread of the harness reads it.
    eventually("and the log has a line", 5, || running.stderr().contains(topic.as_str()).then_some(()));
    eventually("five wait", 5, || (pending(&running) == 5.0).then_some(()));
    assert_eq!(
        running.metrics().sum("anygate_lane_dead_lettered_total", &[]),
        0.0,
        "the place is wrong, not the records"
    );
    services::create_topic(&kafka, &topic, 2, &[]);
    let records = eventually("all are delivered", 30, || {
        Some(services::records(&kafka, &topic)).filter(|found| found.len() >= 5)
    });
    assert_eq!(records.len(), 5, "each once");
    eventually("nothing waits", 10, || (pending(&running) == 0.0).then_some(()));
    let text = running.admin("/readyz?verbose").text();
    assert!(!text.contains("TROUBLE"), "the trouble is over: {text}");
}

#[test]
fn a_broker_that_is_away_is_said_in_words() {
    let place = place(&format!("127.0.0.1:{}", free_port()), "nowhere", "durable");
    let running = place.start();
    assert_eq!(running.send("a1", "t").status, 202, "durable does not depend on the broker");
    let said = eventually("the lane says that the broker is away", 20, || {
        let text = running.admin("/readyz?verbose").text();
        text.contains("backend_unavailable").then_some(text)
    });
    assert!(said.contains("bus"), "{said}");
    assert_eq!(running.admin("/readyz").status, 200, "it still takes messages");
    assert_eq!(running.metrics().sum("anygate_backend_up", &[("anygate_backend", "bus")]), 0.0);
    eventually("the log has a line", 5, || running.stderr().contains("bus").then_some(()));
}

#[test]
fn a_broker_that_dies_and_comes_back_gets_everything_in_order() {
    let Some(broker) = Broker::start() else { return };
    let topic = "restarted";
    services::create_topic(&broker.address, topic, 3, &[]);
    let place = place(&broker.address, topic, "durable");
    let running = place.start();
    let mut connection = Connection::open(place.http);
    let mut acked: Vec<(String, u32)> = Vec::new();
    let mut send = |from: u32, to: u32| {
        for number in from..to {
            let key = format!("k{}", number % 5);
            let id = format!("{number}");
            let headers = [
                ("ce-specversion", "1.0"),
                ("ce-id", id.as_str()),
                ("ce-source", "/e2e"),
                ("ce-type", "t"),
                ("ce-partitionkey", key.as_str()),
            ];
            let answer = connection.post("/events", &headers, b"x");
            assert_eq!(answer.status, 202, "{}", answer.text());
            acked.push((key, number));
        }
    };
    send(0, 100);
    broker.act("kill");
    send(100, 300);
    std::thread::sleep(std::time::Duration::from_secs(2));
    broker.act("start");
    send(300, 400);
    eventually("nothing waits", 60, || (pending(&running) == 0.0).then_some(()));
    assert_eq!(running.metrics().sum("anygate_lane_dead_lettered_total", &[]), 0.0);
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for record in services::records(&broker.address, topic) {
        let number = record["headers"]["ce_id"].as_str().unwrap().parse().unwrap();
        found.entry(record["key"].as_str().unwrap().to_owned()).or_default().push(number);
    }
    for key in ["k0", "k1", "k2", "k3", "k4"] {
        let mut seen = std::collections::BTreeSet::new();
        let first: Vec<u32> = found[key].iter().copied().filter(|number| seen.insert(*number)).collect();
        let expected: Vec<u32> = acked.iter().filter(|(of, _)| of == key).map(|(_, number)| *number).collect();
        assert_eq!(first, expected, "the order of {key}, and none missing");
        assert_eq!(
            found[key].len(),
            expected.len(),
            "{key}: the producer is idempotent and the gateway was not killed: no duplicate"
        );
    }
}
