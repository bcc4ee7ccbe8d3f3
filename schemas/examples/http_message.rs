//! Prints an event as an HTTP message that any CloudEvents SDK can read: in binary mode, or with `structured` as its
//! argument in structured mode. With `--json` the message is one JSON object `{"headers":{…},"body_base64":"…"}`, which is
//! easier to read from a script.
//!
//! ```text
//! cargo run -p schemas --example http_message -- [structured] [--json]
//! ```
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use schemas::{AttributeFault, Attributes, Door, Kind, binding::http, json};
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let structured = args.iter().any(|arg| arg == "structured");
    let envelope = attributes()?.freeze(Bytes::from_static("{\"celsius\":21.5,\"unit\":\"°C\"}".as_bytes()))?;
    let door = Door { listener: "http".into(), subject: "/events".into(), ..Door::default() };
    let mut headers = Vec::new();
    let mut body = Vec::new();
    if structured {
        headers.push(("content-type".to_owned(), json::EVENT_TYPE.to_owned()));
        json::write_event(&mut body, &envelope, Some(&door));
    } else {
        http::write(&envelope, Some(&door), |name, value| headers.push((name.to_owned(), value.to_owned())));
        body.extend_from_slice(envelope.data());
    }
    let mut out = stdout().lock();
    if args.iter().any(|arg| arg == "--json") {
        let headers: serde_json::Map<_, _> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let message = serde_json::json!({ "headers": headers, "body_base64": STANDARD.encode(&body) });
        writeln!(out, "{message}")?;
        return Ok(());
    }
    for (name, value) in headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    write!(out, "content-length: {}\r\n\r\n", body.len())?;
    out.write_all(&body)?;
    writeln!(out)?;
    Ok(())
}

fn attributes() -> Result<Attributes, AttributeFault> {
    let mut attributes = Attributes::default();
    for (name, value, kind) in [
        ("id", "A234-1234", Kind::String),
        ("source", "/sensors/7", Kind::String),
        ("type", "com.example.reading", Kind::String),
        ("datacontenttype", "application/json", Kind::String),
        ("subject", "Halle 3, Tür \"ß\" 100%", Kind::String),
        ("time", "2026-09-21T14:13:20Z", Kind::String),
        ("partitionkey", "tür-3", Kind::String),
        ("count", "-7", Kind::Integer),
    ] {
        attributes.set(name, value, kind)?;
    }
    Ok(attributes)
}
