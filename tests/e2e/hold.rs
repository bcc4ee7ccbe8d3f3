//! Hold: MQTT answers later what may succeed later; HTTP says 429 at once.
use crate::harness::{
    gateway::Place,
    mqtt::{Client, Said},
};
use std::time::{Duration, Instant};

const LIMITED: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}" }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
listeners:
  web: { http: { listen: "127.0.0.1:${HTTP_PORT:?}", pipeline: [slow] } }
  devices: { mqtt: { listen: "127.0.0.1:${MQTT_PORT:?}", pipeline: [slow] } }
  hasty: { mqtt: { listen: "127.0.0.1:${HASTY_PORT:?}", pipeline: [slower], overload: { hold: 1s } } }
pipelines:
  slow:
    - rate_limit: { per: subject, rate: 1/s, burst: 1 }
  slower:
    - rate_limit: { per: subject, rate: 6/m, burst: 1 }
routes:
  - { name: all, to: [keep] }
backends:
  keep: { store: {} }
"#;

fn limited() -> Place {
    let port = crate::harness::free_port();
    Place::new(LIMITED).env("HASTY_PORT", &port.to_string())
}

#[test]
fn http_says_429_and_when_to_come_back() {
    let place = limited();
    let running = place.start();
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-subject", "one")];
    assert_eq!(running.post("/events", &headers, "x").status, 202);
    let answer = running.post("/events", &headers, "x");
    assert_eq!((answer.status, answer.failure().as_str()), (429, "rate_limited"));
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=2).contains(&seconds), "{answer:?}");
    std::thread::sleep(Duration::from_millis(1050));
    assert_eq!(running.post("/events", &headers, "x").status, 202, "after that time it is taken");
}

#[test]
fn a_held_message_is_answered_later_and_what_is_behind_it_waits() {
    let place = limited();
    let running = place.start();
    for version in [5, 4] {
        let mut client = Client::connect(place.mqtt, &format!("held-{version}"), version);
        let topic = format!("limited/{version}");
        let begin = Instant::now();
        let first = client.publish(&topic, b"1", &Said::default());
        let second = client.publish(&topic, b"2", &Said::default());
        let behind = client.publish("free", b"3", &Said::default());
        client.ping();
        let early = [client.next(5).unwrap(), client.next(5).unwrap()];
        assert!(
            early.iter().any(|packet| packet.first == 0xd0),
            "PINGREQ is answered while a message is held: {early:x?}"
        );
        assert!(early.iter().any(|packet| packet.is_puback() && packet.puback() == (first, 0)), "{early:x?}");
        assert!(begin.elapsed() < Duration::from_millis(700), "{:?}", begin.elapsed());
        assert_eq!(client.within(Duration::from_millis(100)), None, "no PUBACK yet");
        assert_eq!(client.next(5).unwrap().puback(), (second, 0), "in order of arrival");
        assert!(begin.elapsed() > Duration::from_millis(800), "held for the limiter's time: {:?}", begin.elapsed());
        assert_eq!(client.next(5).unwrap().puback(), (behind, 0));
        client.disconnect();
    }
    assert_eq!(running.rows_at_least(6).len(), 6, "each is kept once");
    let kept: Vec<Vec<u8>> = running.rows().0.iter().map(|row| row.data.clone()).collect();
    assert_eq!(kept[..3], [b"1".to_vec(), b"2".to_vec(), b"3".to_vec()], "in the order of arrival");
}

#[test]
fn at_the_end_of_the_hold_time_the_connection_closes_and_nothing_was_kept() {
    let place = limited();
    let running = place.start();
    let port: u16 = place.variable("HASTY_PORT").parse().unwrap();
    for version in [5, 4] {
        let mut client = Client::connect(port, &format!("hasty-{version}"), version);
        let topic = format!("hasty/{version}");
        for payload in [b"1", b"2", b"3"] {
            client.publish(&topic, payload, &Said::default());
        }
        let begin = Instant::now();
        let mut acked = 0;
        let last = loop {
            match client.next(5) {
                Some(packet) if packet.is_puback() => acked += 1,
                other => break other,
            }
        };
        match last {
            Some(packet) => assert_eq!((version, packet.first, packet.body[0]), (5, 0xe0, 0x97), "{packet:x?}"),
            None => assert_eq!(version, 4, "MQTT 5 says 0x97"),
        }
        assert_eq!(acked, 1, "the others did not find room");
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        let rows = running.rows_at_least(acked);
        let kept = rows.0.iter().filter(|row| row.subject.as_deref() == Some(topic.as_str())).count();
        assert_eq!(kept, acked, "what was not acknowledged was not kept");
    }
}
