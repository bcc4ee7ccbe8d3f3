//! What a request's path asks for: `/events` or `/events/{type}`.
use super::problem::Problem;
use percent_encoding::percent_decode_str;
use schemas::{ByteStr, Word};
use std::borrow::Cow;

const EVENTS: &str = "/events";

/// The target of a request that may bring events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The event type in the path.
    pub(super) event_type: Option<Cow<'a, str>>,
}

impl Target<'_> {
    /// The path with its percent-encoding undone: what `envelope` rules match.
    pub(super) fn subject(&self) -> ByteStr {
        match &self.event_type {
            None => ByteStr::from_static(EVENTS),
            Some(event_type) => [EVENTS, "/", event_type].concat().into(),
        }
    }
}

/// Reads a path. The query is no part of it and is not looked at.
///
/// # Errors
/// `not_found` for other paths; `malformed` when the type cannot be decoded (RFC 3986, section 2.1), holds control
/// characters, or is a dot segment.
pub(super) fn read(path: &str) -> Result<Target<'_>, Problem> {
    if path == EVENTS {
        return Ok(Target { event_type: None });
    }
    let encoded = path
        .strip_prefix(EVENTS)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|rest| !rest.is_empty() && !rest.bytes().any(|byte| byte == b'/'));
    let Some(encoded) = encoded else {
        return Err(Problem::new(Word::NotFound, "only /events and /events/{type} are served here"));
    };
    let event_type = decode(encoded).ok_or_else(|| bad("the type in the path is not percent-encoded UTF-8"))?;
    if has_control(&event_type) {
        return Err(bad("the type in the path holds control characters"));
    }
    if matches!(event_type.as_ref(), "." | "..") {
        return Err(bad("a dot segment is no event type"));
    }
    Ok(Target { event_type: Some(event_type) })
}

fn has_control(text: &str) -> bool {
    if text.is_ascii() { text.bytes().any(|byte| byte.is_ascii_control()) } else { text.chars().any(char::is_control) }
}

fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    let bytes = encoded.as_bytes();
    if !bytes.contains(&b'%') {
        return Some(Cow::Borrowed(encoded));
    }
    for (at, _) in encoded.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
    }
    percent_decode_str(encoded).decode_utf8().ok()
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(Word::Malformed, detail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(read("/events").unwrap().event_type, None);
        for (path, event_type, subject) in [
            ("/events/order.created", "order.created", "/events/order.created"),
            ("/events/a%20b", "a b", "/events/a b"),
            ("/events/com.x%2Fy", "com.x/y", "/events/com.x/y"),
            ("/events/%C3%A9", "é", "/events/é"),
        ] {
            let target = read(path).unwrap();
            assert_eq!(target.event_type.as_deref(), Some(event_type), "{path}");
            assert_eq!(target.subject().as_str(), subject);
        }
        for path in [
            "",
            "*",
            "/",
            "/event",
            "/eventsx",
            "/events/",
            "/events/a/b",
            "/events//",
            "/EVENTS",
            "/livez",
            "//events",
        ] {
            assert_eq!(read(path).unwrap_err().word, Word::NotFound, "{path}");
        }
        for path in [
            "/events/..",
            "/events/%2e%2E",
            "/events/.",
            "/events/%00",
            "/events/%c0%ae",
            "/events/%",
            "/events/%4",
            "/events/%zz",
            "/events/a%0d%0ab",
        ] {
            assert_eq!(read(path).unwrap_err().word, Word::Malformed, "{path}");
        }
    }
}
