//! The direct path, `ack: delivered`: yes means that every backend has it, and nothing of it is in the journal.
use crate::harness::{
    eventually, free_port,
    gateway::{Place, Running},
    http::Answer,
    mqtt::{Client, Said},
    services::{self, Broker},
};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

fn place(kafka: &str, topic: &str) -> Place {
    Place::with(&format!(
        "routes:\n  - {{ name: all, to: [bus], ack: delivered }}\nbackends:\n  bus:\n    kafka: {{ brokers: [\"{kafka}\"], topic: {topic}, retry: {{ backoff: 100ms..500ms }} }}\n"
    ))
}

/// Nothing was journaled: killed and started again, no lane finds anything.
#[track_caller]
fn journal_is_empty(running: Running<'_>) {
    let kept = running.metrics().sum("anygate_events_kept_total", &[("anygate_ack_level", "durable")]);
    running.kill9();
    let place = running.place;
    drop(running);
    let running = place.start();
    let metrics = running.metrics();
    assert!(metrics.has("anygate_lane_pending"));
    assert_eq!((kept, metrics.sum("anygate_lane_recovered_total", &[])), (0.0, 0.0), "something was in the journal");
}

#[track_caller]
fn is_not_yes(answer: &Answer) {
    let body = answer.json();
    match answer.status {
        503 if body["outcome"] == "unknown" => {}
        503 => {
            assert_eq!(answer.failure(), "backend_unavailable", "{body}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        504 => assert_eq!(body["outcome"], "unknown", "{body}"),
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn delivered_is_200_and_dead_is_never_2xx() {
    let Some(broker) = Broker::start() else { return };
    services::create_topic(&broker.address, "direct", 2, &[]);
    let place = place(&broker.address, "direct");
    let running = place.start();
    for number in 0..20 {
        let answer = running.send(&format!("d{number}"), "t");
        assert_eq!((answer.status, answer.json()["ack"].as_str()), (200, Some("delivered")), "{}", answer.text());
    }
    let records = services::records(&broker.address, "direct");
    assert_eq!(records.len(), 20, "it is there when it is answered");
    let mut client = Client::connect(place.mqtt, "direct", 5);
    client.publish("a", b"x", &Said::default());
    assert_eq!(client.next(10).unwrap().puback().1, 0);
    broker.act("kill");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let running = &running;
        let senders: Vec<_> =
            (0..4).map(|number| scope.spawn(move || running.send(&format!("x{number}"), "t"))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    answers.iter().for_each(is_not_yes);
    journal_is_empty(running);
}

#[test]
fn a_backend_that_was_never_there() {
    let place = place(&format!("127.0.0.1:{}", free_port()), "nowhere");
    let running = place.start();
    let begin = Instant::now();
    let answer = running.send("n1", "t");
    is_not_yes(&answer);
    assert!(begin.elapsed() < Duration::from_secs(31), "{:?}", begin.elapsed());
    // Once the gateway knows that the place is away it says so at once, and plainly: nothing was kept.
    let again = eventually("a plain refusal", 40, || {
        let answer = running.send("n2", "t");
        is_not_yes(&answer);
        (answer.status == 503 && answer.json()["outcome"].is_null()).then_some(answer)
    });
    assert_eq!(again.failure(), "backend_unavailable");
    journal_is_empty(running);
}

#[test]
fn mqtt_is_held_and_then_closed_while_the_backend_is_away() {
    let config = format!(
        "version: 1\nnode: {{ data_dir: \"${{DATA_DIR:?}}\" }}\nadmin: {{ listen: \"127.0.0.1:${{ADMIN_PORT:?}}\" }}\nlisteners:\n  \
         devices: {{ mqtt: {{ listen: \"127.0.0.1:${{MQTT_PORT:?}}\", overload: {{ hold: 1s }} }} }}\n\
         routes:\n  - {{ name: all, to: [bus], ack: delivered }}\nbackends:\n  bus:\n    kafka: {{ brokers: [\"127.0.0.1:{}\"], topic: nowhere }}\n",
        free_port()
    );
    let place = Place::new(&config);
    let running = place.start();
    for version in [5, 4] {
        let mut client = Client::connect(place.mqtt, "held", version);
        client.publish("a", b"x", &Said::default());
        let packet = client.next(40);
        assert!(!packet.as_ref().is_some_and(crate::harness::mqtt::Packet::is_puback), "never a PUBACK: {packet:x?}");
        if let Some(packet) = packet {
            // An unknown outcome closes without a word; a refusal says 0x97.
            assert_eq!((version, packet.first, packet.body[0]), (5, 0xe0, 0x97), "{packet:x?}");
        }
    }
    journal_is_empty(running);
}

#[test]
fn a_broker_that_never_answers_is_not_a_yes() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = place(&silent.local_addr().unwrap().to_string(), "silent");
    let running = place.start();
    let begin = Instant::now();
    is_not_yes(&running.send("s1", "t"));
    assert!(begin.elapsed() < Duration::from_secs(31), "{:?}", begin.elapsed());
    journal_is_empty(running);
}
