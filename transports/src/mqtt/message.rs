//! From a PUBLISH or a will to a [`Message`]: the CloudEvents MQTT binding, trace context, expiry and kept headers.
use super::{
    connect::Will,
    fields::Version,
    publish::{Publish, Said},
    settings::{MqttSettings, OnReject},
};
use bytes::Bytes;
use schemas::{
    AttributeFault, ByteStr, Headers, Message, Mode, Refusal, TraceContext, Wants, Word,
    binding::mqtt::{self as binding, EXPIRYTIME},
    trace::is_valid_tracestate,
};
use std::time::SystemTime;

/// Makes the message of a PUBLISH. `topic` is its topic after aliases.
///
/// # Errors
/// A refusal of this message alone: `malformed` or `reserved_attribute` user properties, a payload that is not the UTF-8 it
/// says it is.
pub fn of_publish(
    publish: &Publish<'_>,
    topic: ByteStr,
    payload: Bytes,
    version: Version,
    settings: &MqttSettings,
) -> Result<Message, Refusal> {
    let answer = publish.packet_id.is_some();
    let wants = Wants {
        deadline: settings.answer_timeout,
        answer,
        cannot_refuse: answer && version == Version::V311 && settings.on_reject == OnReject::Ack,
        ..Wants::default()
    };
    let message = Message { payload, subject: topic, wants, ..Message::default() };
    match version {
        Version::V311 => Ok(Message { mode: Mode::Sniff, ..message }),
        Version::V5 => bind(message, &publish.said, settings),
    }
}

/// Makes the message of a will. Nobody waits for its answer. Its expiry begins when it is sent: see [`start_expiry`].
///
/// # Errors
/// As [`of_publish`].
pub fn of_will(will: &Will<'_>, version: Version, settings: &MqttSettings) -> Result<Message, Refusal> {
    let wants = Wants { deadline: settings.answer_timeout, answer: false, ..Wants::default() };
    let payload = Bytes::copy_from_slice(will.payload);
    let message = Message { payload, subject: will.topic.into(), wants, ..Message::default() };
    match version {
        Version::V311 => Ok(Message { mode: Mode::Sniff, ..message }),
        Version::V5 => bind(message, &Said { expiry: None, ..will.said.clone() }, settings),
    }
}

/// Sets `expirytime` of a message whose life begins now.
///
/// # Errors
/// `malformed` when it would end beyond the year 9999.
pub fn start_expiry(message: &mut Message, seconds: u32) -> Result<(), Refusal> {
    binding::set_expirytime(&mut message.attributes, SystemTime::now(), seconds).map_err(refusal)
}

fn bind(message: Message, said: &Said<'_>, settings: &MqttSettings) -> Result<Message, Refusal> {
    if said.is_text && std::str::from_utf8(&message.payload).is_err() {
        return Err(Refusal::new(
            Word::Malformed,
            "the payload is not UTF-8, but its Payload Format Indicator says so",
        ));
    }
    let mut headers = Headers::new();
    keep_own(said, settings, &mut headers);
    let mut trace = None;
    let mut tracestate = None;
    for (name, value) in &said.user {
        match *name {
            "traceparent" => trace = TraceContext::parse(value),
            "tracestate" if is_valid_tracestate(value) => tracestate = Some(ByteStr::from(*value)),
            _ => {}
        }
    }
    let mut message = Message { trace, tracestate: tracestate.filter(|_| trace.is_some()), ..message };
    if !said.user.is_empty() || said.content_type.is_some() {
        let found = binding::read(said.user.iter().copied(), said.content_type, |name, value| {
            keep(settings, &mut headers, name, value);
        })
        .map_err(refusal)?;
        (message.attributes, message.content_type, message.mode) = (found.attributes, found.content_type, found.mode);
    }
    if let Some(seconds) = said.expiry
        && message.attributes.get(EXPIRYTIME).is_none()
    {
        start_expiry(&mut message, seconds)?;
    }
    message.headers = headers;
    Ok(message)
}

/// Response topic and correlation data are for replies, which an ingest gateway does not send: kept only if asked for.
fn keep_own(said: &Said<'_>, settings: &MqttSettings, headers: &mut Headers) {
    if let Some(topic) = said.response_topic {
        keep(settings, headers, "response-topic", topic);
    }
    if let Some(text) = said.correlation.and_then(|data| std::str::from_utf8(data).ok()) {
        keep(settings, headers, "correlation-data", text);
    }
}

fn keep(settings: &MqttSettings, headers: &mut Headers, name: &str, value: &str) {
    if settings.keep_headers.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
        // Above the limit of kept headers it is left out, as every header that nobody asked for.
        let _kept = headers.keep(name, value);
    }
}

fn refusal(fault: AttributeFault) -> Refusal {
    Refusal::new(fault.word, fault.detail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bind_user(user: &[(&'static str, &'static str)], said: &Said<'static>) -> Result<Message, Refusal> {
        let said = Said { user: user.iter().copied().collect(), ..said.clone() };
        let settings = MqttSettings { keep_headers: vec!["site".to_owned()], ..MqttSettings::default() };
        bind(Message::default(), &said, &settings)
    }

    #[test]
    fn modes_headers_and_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let bare = bind_user(&[("Site", "x"), ("other", "y"), ("traceparent", parent)], &Said::default()).unwrap();
        assert_eq!((bare.mode, bare.content_type.clone()), (Mode::ByContentType, None));
        assert_eq!(bare.headers.iter().collect::<Vec<_>>(), [("site", "x")]);
        assert_eq!(bare.trace.unwrap().to_string(), parent);
        let event = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
        let binary =
            bind_user(&event, &Said { content_type: Some("text/plain"), expiry: Some(0), ..Said::default() }).unwrap();
        assert_eq!((binary.mode, binary.attributes.get("id")), (Mode::Binary, Some("1")));
        assert!(binary.attributes.get(EXPIRYTIME).is_some());
        let reserved = bind_user(&[("anygatetenant", "x")], &Said::default()).unwrap_err();
        assert_eq!(reserved.word, Word::ReservedAttribute);
        let state_alone = bind_user(&[("tracestate", "a=1")], &Said::default()).unwrap();
        assert!(state_alone.tracestate.is_none(), "a tracestate without a traceparent means nothing");
    }
}
