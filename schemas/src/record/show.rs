//! Records as JSON for people and scripts: `dlq list --json`, `dlq show --json`.
use super::{DoorLetter, Record};
use crate::{Death, Event, Headers, json};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use std::time::SystemTime;

/// Appends one dead letter as a JSON object: `lsn id source type failure detail stage route backend attempts first last`;
/// with `whole` also `event` (CloudEvents JSON with its `anygate…` attributes) or `original_base64` for a door letter.
/// What is not known is `null`. `last` is the time at which it became a dead letter; `None` says when it was received.
///
/// An event that is no dead letter is written the same way, with `failure` and what belongs to it `null`.
pub fn write_dead_letter(out: &mut Vec<u8>, record: &Record, last: Option<SystemTime>, whole: bool) {
    let mut object = Object::new(out);
    match record {
        Record::Event(event) => {
            let envelope = &event.envelope;
            object.number("lsn", event.lsn);
            object.text("id", envelope.id());
            object.text("source", envelope.source());
            object.text("type", envelope.event_type());
            object.death(event.death.as_deref(), Some(&event.route));
            object.times(event.received, last);
            if whole {
                object.key("event");
                json::write_event_line(object.out, envelope, Some(&event.door));
            }
        }
        Record::Letter(letter) => {
            object.number("lsn", letter.lsn);
            for name in ["id", "source", "type"] {
                object.optional(name, letter.attributes.get(name));
            }
            object.death(Some(&letter.death), None);
            object.times(letter.received, last);
            if whole {
                object.text("original_base64", &STANDARD.encode(&letter.payload));
            }
        }
    }
    object.end();
}

/// Appends all of a record as a JSON object: what the journal holds, for maintainers and the golden files.
pub fn write_record(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Event(event) => write_whole_event(out, event),
        Record::Letter(letter) => write_whole_letter(out, letter),
    }
}

fn write_whole_event(out: &mut Vec<u8>, event: &Event) {
    let mut object = Object::new(out);
    object.text("kind", if event.death.is_some() { "dead" } else { "event" });
    object.number("lsn", event.lsn);
    object.number("lanes", event.lanes);
    object.time("received", event.received);
    object.text("traceparent", &event.trace.to_string());
    object.text("level", event.level.as_str());
    object.text("key", &event.key);
    match &event.death {
        Some(death) => {
            object.death(Some(death), Some(&event.route));
            object.number("first_lsn", death.first_lsn);
        }
        None => object.text("route", &event.route),
    }
    object.headers(&event.headers);
    object.key("event");
    json::write_event_line(object.out, &event.envelope, Some(&event.door));
    object.end();
}

fn write_whole_letter(out: &mut Vec<u8>, letter: &DoorLetter) {
    let mut object = Object::new(out);
    object.text("kind", "letter");
    object.number("lsn", letter.lsn);
    object.time("received", letter.received);
    object.text("traceparent", &letter.trace.to_string());
    object.optional("tracestate", letter.tracestate.as_deref());
    object.optional("content_type", letter.content_type.as_deref());
    object.optional("dedupe_id", letter.dedupe_id.as_deref());
    object.text("mode", &format!("{:?}", letter.mode));
    object.death(Some(&letter.death), None);
    object.number("first_lsn", letter.death.first_lsn);
    object.headers(&letter.headers);
    object.key("attributes");
    let mut attributes = Object::new(object.out);
    if letter.attributes.is_event() {
        attributes.text("specversion", "1.0");
    }
    for (name, value) in letter.attributes.iter() {
        attributes.text(name, value.text);
    }
    for (name, value) in letter.door.attributes() {
        attributes.text(name, value.text);
    }
    attributes.end();
    object.text("original_base64", &STANDARD.encode(&letter.payload));
    object.end();
}

/// A JSON object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, first: true }
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        json::write_string(self.out, name);
        self.out.push(b':');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        json::write_string(self.out, text);
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    fn number(&mut self, name: &str, number: u64) {
        self.raw(name, &number.to_string());
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn time(&mut self, name: &str, time: SystemTime) {
        let text = Timestamp::try_from(time).ok().map(|time| time.to_string());
        self.optional(name, text.as_deref());
    }

    fn times(&mut self, first: SystemTime, last: Option<SystemTime>) {
        self.time("first", first);
        self.time("last", last.unwrap_or(first));
    }

    fn death(&mut self, death: Option<&Death>, route: Option<&str>) {
        self.optional("failure", death.map(|death| death.word.as_str()));
        self.optional("detail", death.map(|death| death.detail.as_str()));
        let backend = death.map(|death| death.backend.as_str()).filter(|backend| !backend.is_empty());
        let stage = if backend.is_some() { "lane" } else { "door" };
        self.optional("stage", death.map(|_| stage));
        self.optional("route", route.filter(|route| !route.is_empty()));
        self.optional("backend", backend);
        match death {
            Some(death) => self.number("attempts", u64::from(death.attempts)),
            None => self.raw("attempts", "null"),
        }
    }

    fn headers(&mut self, headers: &Headers) {
        self.key("headers");
        let mut object = Object::new(self.out);
        for (name, value) in headers.iter() {
            object.text(name, value);
        }
        object.end();
    }

    fn end(self) {
        self.out.push(b'}');
    }
}
