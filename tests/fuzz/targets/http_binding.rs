//! Arbitrary headers and bodies as a request: the binary mode of the HTTP binding there and back, and the listener's own way from
//! a request to a message and its events.
//!
//! The input is the request's target in the first line, header lines `name: value`, an empty line, the body.
#![no_main]

use bytes::Bytes;
use codecs::Context;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use schemas::{Envelope, binding};
use std::time::SystemTime;
use transports::http::{HttpSettings, message_of};

fn content(envelope: &Envelope) -> (Vec<(String, String)>, Bytes) {
    let mut attributes: Vec<_> =
        envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
    attributes.sort();
    (attributes, envelope.data().clone())
}

/// Headers to attributes to headers to attributes: the same event.
fn there_and_back(headers: &[(&str, &[u8])], body: &Bytes) {
    let Ok(found) = binding::http::read(headers.iter().copied(), |_, _| {}) else { return };
    if !found.attributes.is_event() {
        return;
    }
    let Ok(envelope) = found.attributes.freeze(body.clone()) else { return };
    let mut written = Vec::new();
    binding::http::write(&envelope, None, |name, value| written.push((name.to_owned(), value.to_owned())));
    for (name, value) in &written {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name:?} is a header name");
        assert!(HeaderValue::from_str(value).is_ok(), "{value:?} is a header value");
    }
    let again = written.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let again = binding::http::read(again, |_, _| {}).expect("its own headers");
    let again = again.attributes.freeze(body.clone()).expect("complete");
    assert_eq!(content(&envelope), content(&again));
}

/// The listener's own way.
fn take(target: &[u8], headers: &[(&str, &[u8])], body: &Bytes) {
    let Ok(uri) = Uri::try_from(target) else { return };
    let mut request = Request::new(body.clone());
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let Ok(message) = message_of(request, &HttpSettings::default()) else { return };
    let context = Context {
        listener: "web",
        received: SystemTime::UNIX_EPOCH,
        traceparent: "",
        rules: None,
        new_id: &|| "1".to_owned(),
    };
    let _ = codecs::choose(&message).decode(&message, &context);
}

fuzz_target!(|data: &[u8]| {
    let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let body = Bytes::copy_from_slice(body);
    let mut lines = head.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let headers: Vec<(&str, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            // Names are tokens when they come here: the HTTP implementation has seen to that.
            let name = std::str::from_utf8(&line[..colon])
                .ok()
                .filter(|name| HeaderName::from_bytes(name.as_bytes()).is_ok())?;
            Some((name, &line[colon + 1..]))
        })
        .take(64)
        .collect();
    there_and_back(&headers, &body);
    take(target, &headers, &body);
});
