//! The registry, and which codec takes which message.
use crate::{Codec, cloudevents::CloudEvents, json::Json, raw::Raw};
use schemas::{
    Message, Mode,
    binding::is_event_format,
    envelope::is_json,
    json::{is_valid_json, looks_structured},
    limits,
};

static CLOUDEVENTS: CloudEvents = CloudEvents;
static JSON: Json = Json;
static RAW: Raw = Raw;

/// All codecs: the explicit list.
pub fn builtin() -> [&'static dyn Codec; 3] {
    [&CLOUDEVENTS, &JSON, &RAW]
}

/// A codec by the name that a listener's config says.
pub fn by_name(name: &str) -> Option<&'static dyn Codec> {
    builtin().into_iter().find(|codec| codec.name() == name)
}

/// The codec for a message, by how its binding took it and by its content type:
///
/// | message | codec |
/// |---|---|
/// | binary mode | `cloudevents` |
/// | [`Mode::Sniff`] and a JSON object with `specversion` | `cloudevents` |
/// | `application/cloudevents…` | `cloudevents`, which refuses the formats it does not know |
/// | `application/x-ndjson`, a JSON media type | `json` |
/// | no content type, or `application/x-www-form-urlencoded` | `json` if it is valid JSON, else `raw` |
/// | anything else | `raw` |
pub fn choose(message: &Message) -> &'static dyn Codec {
    match message.mode {
        Mode::Binary => return &CLOUDEVENTS,
        Mode::Sniff if looks_structured(&message.payload) => return &CLOUDEVENTS,
        Mode::Sniff | Mode::ByContentType => {}
    }
    match declared(message) {
        Some(content_type) if is_event_format(content_type) => &CLOUDEVENTS,
        Some(content_type) if is_json(content_type) || is_ndjson(content_type) => &JSON,
        Some(_) => &RAW,
        None if is_valid_json(&message.payload, limits::JSON_DEPTH_MAX).is_ok() => &JSON,
        None => &RAW,
    }
}

/// The content type, unless it says nothing: `application/x-www-form-urlencoded` is what `curl -d` says of anything.
pub(crate) fn declared(message: &Message) -> Option<&str> {
    let content_type = message.content_type.as_deref()?;
    let essence = essence(content_type);
    let says_nothing = essence.is_empty() || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if says_nothing { None } else { Some(content_type) }
}

pub(crate) fn is_ndjson(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("application/x-ndjson")
}

/// A media type without its parameters.
pub(crate) fn essence(content_type: &str) -> &str {
    let end = content_type.bytes().position(|byte| byte == b';').unwrap_or(content_type.len());
    content_type[..end].trim()
}
