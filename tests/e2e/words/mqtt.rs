//! The words over MQTT 5 and 3.1.1, with our bytes, paho-mqtt, mqtt.js and mosquitto_pub.
use super::{borrowed, cases, entry, prime, words};
use crate::harness::{
    clients,
    mqtt::{Client, Said},
};
use serde_json::json;
use std::process::Command;

/// The words whose MQTT 5 answer is a DISCONNECT with the code, and not a PUBACK.
const DISCONNECTS: [&str; 1] = ["too_large"];

#[test]
fn over_mqtt_5() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases() {
        let mut client = Client::connect(place.mqtt, &format!("w-{}", case.word), 5);
        let attributes = case.attributes(case.word);
        let id = client.publish(
            "words",
            case.body.as_bytes(),
            &Said { content_type: Some(case.content_type), user: &borrowed(&attributes) },
        );
        let code = entry(case.word).1.unwrap();
        let answer = client.next(5).unwrap_or_else(|| panic!("{}: the connection closed without a word", case.word));
        if DISCONNECTS.contains(&case.word) {
            assert_eq!((answer.first, answer.body[0]), (0xe0, code), "{}: {answer:x?}", case.word);
            assert_eq!(client.next(5), None, "{}: and the connection closes", case.word);
        } else {
            assert_eq!(answer.puback(), (id, code), "{}: {}", case.word, String::from_utf8_lossy(&answer.body));
            client.ping();
            assert_eq!(client.next(5).unwrap().first, 0xd0, "{}: the connection lives", case.word);
        }
    }
    assert_eq!(running.settled("good"), ["the-first"]);
}

#[test]
fn over_mqtt_3_1_1() {
    let place = words();
    let running = place.start();
    prime(&running);
    let strict: u16 = place.variable("STRICT_PORT").parse().unwrap();
    for case in cases() {
        let Some(event) = case.structured(&format!("ack-{}", case.word)) else { continue };
        let permanent = entry(case.word).0 >= 400;
        let mut client = Client::connect(place.mqtt, "w311", 4);
        let id = client.publish("words", event.as_bytes(), &Said::default());
        match client.next(5) {
            // It cannot say no: the message is a dead letter.
            Some(answer) => assert_eq!((answer.puback(), answer.body.len()), ((id, 0), 2), "{}", case.word),
            None => assert!(DISCONNECTS.contains(&case.word), "{}: closed", case.word),
        }
        let mut client = Client::connect(strict, "w311-strict", 4);
        let event = case.structured(&format!("close-{}", case.word)).unwrap();
        let id = client.publish("words", event.as_bytes(), &Said::default());
        match client.next(5) {
            Some(answer) => {
                assert!(!permanent && answer.puback() == (id, 0), "on_reject: disconnect, {}: {answer:x?}", case.word);
            }
            None => assert!(permanent, "{}: closed", case.word),
        }
    }
    assert_eq!(running.settled("good"), ["the-first"]);
    let letters: f64 = running.metrics().sum("anygate_events_kept_total", &[("anygate_listener", "devices")]);
    assert!(letters >= 5.0, "the refused are dead letters: {letters} kept");
}

#[test]
fn over_mqtt_with_clients_of_others() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases().iter().filter(|case| !DISCONNECTS.contains(&case.word)) {
        let attributes = case.attributes(&format!("m5-{}", case.word));
        let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let code = entry(case.word).1.unwrap();
        let mut arguments = vec!["words", case.body.as_str(), "--content-type", case.content_type];
        pairs.iter().for_each(|pair| arguments.extend(["--prop", pair]));
        if clients::has_python() {
            let said = clients::paho(place.mqtt, &arguments);
            assert_eq!(
                (&said["results"][0]["acked"], &said["results"][0]["reason"]),
                (&json!(true), &json!(code)),
                "paho 5, {}: {said}",
                case.word
            );
            if let Some(event) = case.structured(&format!("m3-{}", case.word)) {
                let said = clients::paho(place.mqtt, &["words", &event, "--v", "4"]);
                assert_eq!(said["results"][0]["acked"], true, "paho 3.1.1, {}: {said}", case.word);
            }
        }
        if clients::has_node() && ["schema_invalid", "no_route", "reserved_attribute", "duplicate"].contains(&case.word)
        {
            let said = clients::mqttjs(place.mqtt, &arguments);
            assert_eq!(
                (&said["results"][0]["acked"], &said["results"][0]["reason"]),
                (&json!(true), &json!(code)),
                "mqtt.js, {}: {said}",
                case.word
            );
        }
        if clients::has("mosquitto_pub") {
            let failed = mosquitto(place.mqtt, case.content_type, &attributes, &case.body);
            assert_eq!(failed.is_some(), code >= 0x80, "mosquitto_pub, {}: {failed:?}", case.word);
        }
    }
    drop(running);
}

/// What mosquitto_pub complains about; nothing when it was acknowledged.
fn mosquitto(port: u16, content_type: &str, attributes: &[(String, String)], body: &str) -> Option<String> {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "5", "-q", "1", "-t", "words", "-m", body]);
    command.args(["-D", "publish", "content-type", content_type]);
    for (name, value) in attributes {
        command.args(["-D", "publish", "user-property", name, value]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() || text.contains("failed")).then(|| format!("{} {text}", output.status))
}
