//! Bytes that were ever written stay readable: golden files of the record body v1, its JSON form, and the headers of the
//! bindings. `UPDATE_GOLDEN=1` rewrites them; a changed record golden means that the version must be raised.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use bytes::Bytes;
use schemas::{
    Record,
    binding::{http, kafka, mqtt},
    json,
    record::{decode, encode_head, encode_letter_head, write_dead_letter, write_record},
};
use std::{fmt::Write as _, fs, path::PathBuf};

fn compare(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden =
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert_eq!(text, golden, "{name} differs; if that is meant, UPDATE_GOLDEN=1 rewrites it");
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn from_hex(name: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let digits: String = fs::read_to_string(path).unwrap().split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn line(fill: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    fill(&mut out);
    out.push(b'\n');
    String::from_utf8(out).unwrap()
}

#[test]
fn record_v1() {
    let mut written = Vec::new();
    for (name, event) in [("event", common::event()), ("dead", common::dead())] {
        let mut body = Vec::new();
        encode_head(&mut body, &event);
        body.extend_from_slice(event.envelope.data());
        written.push((name, event.lsn, body));
    }
    let letter = common::letter();
    let mut body = Vec::new();
    encode_letter_head(&mut body, &letter);
    body.extend_from_slice(&letter.payload);
    written.push(("letter", letter.lsn, body));
    for (name, lsn, body) in written {
        compare(&format!("record-v1-{name}.hex"), &to_hex(&body));
        // What is read is the file, not what was just written.
        let record: Record = decode(&from_hex(&format!("record-v1-{name}.hex")), lsn).unwrap();
        let mut text = line(|out| write_record(out, &record));
        text += &line(|out| write_dead_letter(out, &record, None, true));
        text += &line(|out| write_dead_letter(out, &record, None, false));
        for line in text.lines() {
            json::is_valid_json(line.as_bytes(), 64).unwrap();
        }
        compare(&format!("record-v1-{name}.jsonl"), &text);
    }
}

#[test]
fn event_format() {
    let event = common::event();
    let text = line(|out| json::write_event(out, &event.envelope, Some(&event.door)));
    compare("event.json", &text);
}

#[test]
fn binding_headers() {
    let event = common::event();
    let mut text = String::new();
    http::write(&event.envelope, Some(&event.door), |name, value| writeln!(text, "{name}: {value}").unwrap());
    compare("http-headers.txt", &text);
    let mut text = String::new();
    let hop = kafka::Hop { trace: event.trace, tracestate: "rojo=00f067aa0ba902b7" };
    writeln!(text, "key {}", String::from_utf8_lossy(kafka::key(&event))).unwrap();
    kafka::write(&event, Some(&hop), |name, value| {
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value)).unwrap();
    });
    compare("kafka-headers.txt", &text);
    let mut text = String::new();
    kafka::write_structured(Some(&hop), |name, value| {
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value)).unwrap();
    });
    compare("kafka-structured-headers.txt", &text);
    let mut text = String::new();
    mqtt::write(&event.envelope, Some(&event.door), |name, value| writeln!(text, "{name}: {value}").unwrap());
    compare("mqtt-user-properties.txt", &text);
}
