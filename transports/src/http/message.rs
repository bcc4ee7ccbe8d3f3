//! A request's head as the message's metadata: attributes, trace context, dedupe id, kept headers, wishes.
use super::{
    fields::{Field, Fields},
    problem::Problem,
    reply::Form,
    settings::HttpSettings,
    target::Target,
};
use http::{HeaderMap, HeaderValue};
use schemas::{
    AttributeFault, ByteStr, Headers, Kind, Message, Mode, TraceContext, Wants, Word,
    binding::{self, Found},
    trace,
};

/// Longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// The message without its payload, and the form of its answer.
///
/// A type in the path is the type of a bare event. A CloudEvent keeps its own type; in binary mode without `ce-type` the path
/// gives it.
///
/// # Errors
/// `malformed` for header values that cannot be read, and the faults of attributes.
pub(super) fn build(
    headers: &HeaderMap,
    fields: &Fields<'_>,
    target: &Target<'_>,
    settings: &HttpSettings,
) -> Result<(Message, Form), Problem> {
    let content_type =
        fields.content_type.at_most_once("Content-Type")?.map(|value| text(value, "Content-Type")).transpose()?;
    let Found { attributes, mode, .. } =
        bind(headers, fields, target).map_err(|fault| Problem::new(fault.word, fault.detail))?;
    let form = match (mode, content_type) {
        (Mode::ByContentType, Some(content_type)) => Form::of(content_type),
        (Mode::ByContentType, None) | (Mode::Binary | Mode::Sniff, _) => Form::Single,
    };
    let trace = trace_context(fields);
    let message = Message {
        attributes,
        headers: kept(headers, settings),
        subject: target.subject(),
        content_type: content_type.map(ByteStr::from),
        mode,
        trace,
        tracestate: if trace.is_some() && fields.tracestate { tracestate(headers) } else { None },
        dedupe_id: idempotency_key(fields.idempotency_key)?,
        wants: Wants {
            partial: settings.partial_default || fields.lenient,
            deadline: settings.deadline,
            answer: true,
            detail: true,
            ..Wants::default()
        },
        ..Message::default()
    };
    Ok((message, form))
}

fn bind(headers: &HeaderMap, fields: &Fields<'_>, target: &Target<'_>) -> Result<Found, AttributeFault> {
    let mut found = Found::default();
    if fields.cloud_event {
        found = binding::http::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), |_, _| {})?;
    }
    if let Some(event_type) = &target.event_type
        && found.attributes.get("type").is_none()
    {
        found.attributes.set("type", event_type, Kind::String)?;
    }
    Ok(found)
}

fn kept(headers: &HeaderMap, settings: &HttpSettings) -> Headers {
    let mut kept = Headers::new();
    for name in &settings.keep_headers {
        for value in headers.get_all(name) {
            if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
                // Above the limits the rest is left out, as the manual says; the event itself is not refused for it.
                let _kept = kept.keep(name.as_str(), value);
            }
        }
    }
    kept
}

/// Two `traceparent` headers are as invalid as a broken one (W3C Trace Context, section 3.2): ignored, a new trace starts.
fn trace_context(fields: &Fields<'_>) -> Option<TraceContext> {
    match fields.traceparent {
        Field::Once(value) => TraceContext::parse(value.to_str().ok()?),
        Field::Absent | Field::Repeated => None,
    }
}

/// Several headers are one list (section 3.3.1).
fn tracestate(headers: &HeaderMap) -> Option<ByteStr> {
    let mut whole = String::new();
    for value in headers.get_all("tracestate") {
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(value.to_str().ok()?);
    }
    if trace::is_valid_tracestate(&whole) { Some(whole.into()) } else { None }
}

fn idempotency_key(field: Field<'_>) -> Result<Option<ByteStr>, Problem> {
    let value = match field {
        Field::Absent => return Ok(None),
        Field::Once(value) => text(value, "Idempotency-Key")?.trim(),
        Field::Repeated => return Err(Problem::new(Word::Malformed, "more than one Idempotency-Key header")),
    };
    if value.is_empty() || value.len() > IDEMPOTENCY_KEY_MAX {
        let detail = format!("an Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} characters, not {}", value.len());
        return Err(Problem::new(Word::Malformed, detail));
    }
    if holds_encoded_line_end(value) {
        return Err(Problem::new(Word::Malformed, "an Idempotency-Key holds no percent-encoded line end"));
    }
    Ok(Some(value.into()))
}

/// Nothing here decodes a key; whoever is behind might.
fn holds_encoded_line_end(value: &str) -> bool {
    let is_line_end = |three: &[u8]| three[0] == b'%' && three[1] == b'0' && matches!(three[2] | 0x20, b'd' | b'a');
    value.as_bytes().windows(3).any(is_line_end)
}

fn text<'a>(value: &'a HeaderValue, name: &'static str) -> Result<&'a str, Problem> {
    value
        .to_str()
        .map_err(|_| Problem::new(Word::Malformed, format!("the {name} header holds more than visible ASCII")))
}
