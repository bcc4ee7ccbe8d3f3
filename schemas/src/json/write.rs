//! Writing events in the JSON event format.
use super::is_valid_json;
use crate::{Door, Envelope, Kind, Value, envelope::is_json, limits};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BufMut;

/// Appends one event to `out` (format, section 3). With a `door`, its `anygate…` attributes are written as extensions.
///
/// Data (section 3.1.1): when the content type says JSON, or none is given, and the data is valid JSON, it goes in as it
/// is; text of another content type becomes a string; everything else is written as `data_base64`. No data, no member.
pub fn write_event(out: &mut Vec<u8>, envelope: &Envelope, door: Option<&Door>) {
    out.reserve(envelope.size() + 160);
    out.put_slice(br#"{"specversion":"1.0""#);
    for (name, value) in envelope.attributes() {
        write_attribute(out, name, value);
    }
    if let Some(door) = door {
        for (name, value) in door.attributes() {
            write_attribute(out, name, value);
        }
    }
    write_data(out, envelope);
    out.push(b'}');
}

/// As [`write_event`], on one line: for JSON lines. Line ends can only stand between the tokens of JSON data, where a space
/// means the same.
pub fn write_event_line(out: &mut Vec<u8>, envelope: &Envelope, door: Option<&Door>) {
    let start = out.len();
    write_event(out, envelope, door);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn write_attribute(out: &mut Vec<u8>, name: &str, value: Value<'_>) {
    // Names are lower-case letters and digits: they need no escapes.
    out.put_slice(b",\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    let plain = match value.kind {
        Kind::String => false,
        Kind::Integer => value.text.parse::<i32>().is_ok() && !value.text.starts_with('+'),
        Kind::Boolean => matches!(value.text, "true" | "false"),
    };
    if plain { out.put_slice(value.text.as_bytes()) } else { write_string(out, value.text) }
}

fn write_data(out: &mut Vec<u8>, envelope: &Envelope) {
    let data = envelope.data();
    if data.is_empty() {
        return;
    }
    let json = envelope.content_type().is_none_or(is_json);
    // One level is the event's own object.
    if json && is_valid_json(data, limits::JSON_DEPTH_MAX - 1).is_ok() {
        out.put_slice(b",\"data\":");
        out.put_slice(data);
    } else if let (false, Ok(text)) = (json, std::str::from_utf8(data)) {
        out.put_slice(b",\"data\":");
        write_string(out, text);
    } else {
        out.put_slice(b",\"data_base64\":\"");
        let start = out.len();
        out.resize(start + data.len().div_ceil(3) * 4, b'=');
        // The room was made to measure, so this cannot fail.
        let written = STANDARD.encode_slice(data, &mut out[start..]).unwrap_or_default();
        out.truncate(start + written);
        out.push(b'"');
    }
}

/// Appends `text` as a JSON string, with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let run = super::scan::plain_run(rest);
        out.put_slice(&rest[..run]);
        let Some(byte) = rest.get(run) else { break };
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            other => out.put_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = &rest[run + 1..];
    }
    out.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Attributes, json::read_event};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn envelope(content_type: &str, data: &[u8]) -> Envelope {
        let mut attributes = Attributes::default();
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("datacontenttype", content_type)] {
            attributes.set(name, value, Kind::String).unwrap();
        }
        if content_type.is_empty() {
            attributes.remove("datacontenttype");
        }
        attributes.freeze(Bytes::copy_from_slice(data)).unwrap()
    }

    fn written(envelope: &Envelope) -> String {
        let mut out = Vec::new();
        write_event(&mut out, envelope, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_in_its_four_forms() {
        for (content_type, data, end) in [
            ("application/json", &b"{\"a\": 1}"[..], r#","data":{"a": 1}}"#),
            ("", b"[1]", r#","data":[1]}"#),
            ("", b"no json", r#","data_base64":"bm8ganNvbg=="}"#),
            ("application/json", b"{broken", r#","data_base64":"e2Jyb2tlbg=="}"#),
            ("text/plain", b"a\"b\n\x01", r#","data":"a\"b\n\u0001"}"#),
            ("text/plain", b"\xff", r#","data_base64":"/w=="}"#),
            ("text/plain", b"", r#""datacontenttype":"text/plain"}"#),
        ] {
            let text = written(&envelope(content_type, data));
            assert!(text.ends_with(end), "{text}");
            assert_eq!(is_valid_json(text.as_bytes(), 64), Ok(()));
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let mut out = Vec::new();
        write_event_line(&mut out, &envelope("application/json", b"{\r\n \"a\": \"b\\n\"\n}"), None);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(r#""data":{   "a": "b\n" }}"#), "{text}");
    }

    #[test]
    fn kinds_and_door() {
        let mut attributes = envelope("", b"").edit();
        attributes.set("n", "-5", Kind::Integer).unwrap();
        attributes.set("yes", "true", Kind::Boolean).unwrap();
        attributes.set("wrong", "5 apples", Kind::Integer).unwrap();
        let envelope = attributes.freeze(Bytes::new()).unwrap();
        let door = Door { listener: "http".into(), subject: "/events".into(), ..Door::default() };
        let mut out = Vec::new();
        write_event(&mut out, &envelope, Some(&door));
        let wanted = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":-5,"yes":true,"wrong":"5 apples","anygatelistener":"http","anygatesubject":"/events","anygateenvelope":1}"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    fn any_value() -> impl Strategy<Value = (String, Kind)> {
        prop_oneof![
            "[^\\p{C}]{1,12}".prop_map(|text| (text, Kind::String)),
            any::<i32>().prop_map(|n| (n.to_string(), Kind::Integer)),
            any::<bool>().prop_map(|b| (b.to_string(), Kind::Boolean)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            extensions in proptest::collection::btree_map("x[a-z0-9]{1,8}", any_value(), 0..5),
            content_type in prop_oneof![Just("text/plain"), Just("application/octet-stream"), Just("application/json")],
            subject in "[^\\p{C}]{1,20}",
            data in prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), ".{0,20}".prop_map(String::into_bytes)],
        ) {
            let mut attributes = envelope(content_type, b"").edit();
            attributes.set("subject", &subject, Kind::String).unwrap();
            for (name, (value, kind)) in &extensions {
                attributes.set(name, value, *kind).unwrap();
            }
            let first = attributes.freeze(Bytes::from(data)).unwrap();
            let text = written(&first);
            let second = read_event(&Bytes::from(text.clone())).unwrap().unwrap().freeze().unwrap();
            prop_assert_eq!(&first, &second, "{}", text);
        }

        #[test]
        fn strings_are_what_serde_reads(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
