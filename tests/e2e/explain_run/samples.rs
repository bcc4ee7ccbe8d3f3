//! Random messages, good and bad, in a form that both sides can use.
use crate::harness::Dice;
use serde_json::{Value, json};

/// What a sender sends, in a form that both sides can use.
#[derive(Debug)]
pub enum Sample {
    Http { path: String, headers: Vec<(String, String)>, body: String },
    Mqtt { version: u8, topic: String, content_type: Option<String>, user: Vec<(String, String)>, body: String },
}

pub fn owned(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A body with the marker in it; now and then no JSON, or too large.
pub fn body(dice: &mut Dice, marker: &str) -> String {
    match dice.roll(8) {
        0 => format!("plain {marker}"),
        1 => format!(r#"{{"n":"{marker}","celsius":"warm"}}"#),
        2 => format!(r#"{{"n":"{marker}","severity":{}}}"#, dice.roll(24)),
        3 => format!(r#"{{"n":"{marker}",}}"#),
        4 => format!(r#"{{"n":"{marker}","pad":"{}"}}"#, "x".repeat(dice.roll(2) * 5000)),
        _ => format!(r#"{{"n":"{marker}","celsius":{}}}"#, dice.roll(40)),
    }
}

pub fn attributes(dice: &mut Dice, marker: &str) -> Vec<(String, String)> {
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

pub fn structured(dice: &mut Dice, marker: &str) -> String {
    let mut event: serde_json::Map<String, Value> =
        attributes(dice, marker).into_iter().map(|(name, value)| (name, json!(value))).collect();
    let text = body(dice, marker);
    let data = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    event.insert("data".to_owned(), data);
    let text = Value::Object(event).to_string();
    if dice.roll(15) == 0 { text[..text.len() - 2].to_owned() } else { text }
}

pub fn encode(value: &str) -> String {
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

pub fn http(dice: &mut Dice, marker: &str) -> Sample {
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

pub fn mqtt(dice: &mut Dice, marker: &str) -> Sample {
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
