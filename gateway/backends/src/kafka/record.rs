//! An event as a Kafka record: topic, key, value and headers, in binary or structured mode.
use super::{settings::Mode, size::RecordSize, topic::TopicRule};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::BaseRecord,
};
use schemas::{AttributeFault, Event, EventView, TraceContext, Word, binding::kafka as binding, order_key};
use settings::Template;
use std::borrow::Cow;

/// Bytes of a record batch with one record, beside its key, value and headers: its header, the record's lengths.
const BATCH_OVERHEAD: usize = 100;
/// Bytes of a header beside its name and value in the text of the attributes: `ce_` and two lengths.
const HEADER_OVERHEAD: usize = 8;
/// Headers of a common event: what librdkafka's list starts with.
const HEADERS: usize = 16;

/// How records are made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) topic: TopicRule,
    pub(crate) key: Option<Template>,
    pub(crate) mode: Mode,
    /// The hash of the backend's name: which of an event's deliveries this is.
    pub(crate) backend: u64,
}

/// Space that one call reuses for all of its records.
#[derive(Default)]
pub(crate) struct Scratch {
    value: Vec<u8>,
}

impl Recipe {
    /// Whether the event can become a record of at most `limit` bytes.
    ///
    /// # Errors
    /// `missing_attribute`, `malformed` or `forbidden` of the topic; `too_large`.
    pub(crate) fn check(&self, event: &EventView<'_>, limit: usize) -> Result<(), AttributeFault> {
        self.topic.of(event)?;
        let bytes = self.least_size(event);
        if bytes > limit {
            let detail = format!("the event takes {bytes} bytes as a Kafka record; the topic takes at most {limit}");
            return Err(AttributeFault::new(Word::TooLarge, detail));
        }
        Ok(())
    }

    /// About what the record takes without compression; rather less than more, for the record itself is measured before it is
    /// sent ([`Recipe::record`]).
    fn least_size(&self, event: &EventView<'_>) -> usize {
        let data = event.envelope.data().len();
        let attributes = event.envelope.size() - data;
        let text = event.envelope.content_type();
        let data = match self.mode {
            Mode::Binary => data,
            // JSON stands as it is, other text grows by its escapes, bytes as base64.
            Mode::Structured
                if text.is_some_and(|kind| kind.starts_with("text/") || schemas::envelope::is_json(kind)) =>
            {
                data
            }
            Mode::Structured => data.div_ceil(3) * 4,
        };
        BATCH_OVERHEAD + data + attributes + HEADER_OVERHEAD * event.envelope.attributes().count()
    }

    /// The key: the template's, or the order key.
    pub(crate) fn key<'e>(&self, event: &'e Event) -> Cow<'e, str> {
        let view = event.view();
        let own = self
            .key
            .as_ref()
            .and_then(|key| key.render(|name| view.get(name).map(|value| Cow::Borrowed(value.text))).ok());
        match own {
            Some(key) if !key.is_empty() => Cow::Owned(key),
            _ if !event.key.is_empty() => Cow::Borrowed(event.key.as_str()),
            _ => Cow::Owned(order_key(&event.envelope).as_str().to_owned()),
        }
    }

    /// The record, borrowing from the event and the scratch, and its size as the broker counts it: see [`RecordSize`].
    pub(crate) fn record<'r>(
        &self,
        event: &'r Event,
        topic: &'r str,
        key: &'r str,
        ticket: usize,
        scratch: &'r mut Scratch,
    ) -> (BaseRecord<'r, str, [u8], usize>, usize) {
        let trace_state = tracestate(event);
        let hop = binding::Hop { trace: event.delivery_span(self.backend), tracestate: trace_state };
        let mut headers = Some(OwnedHeaders::new_with_capacity(HEADERS));
        let mut size = RecordSize::default();
        let mut add = |name: &str, value: &[u8]| {
            size.header(name.len(), value.len());
            headers = headers.take().map(|headers| headers.insert(Header { key: name, value: Some(value) }));
        };
        let value = match self.mode {
            Mode::Binary => {
                binding::write(event, Some(&hop), &mut add);
                binding::value(event)
            }
            Mode::Structured => {
                binding::write_structured(Some(&hop), &mut add);
                scratch.value.clear();
                binding::write_structured_value(&mut scratch.value, event);
                Some(scratch.value.as_slice())
            }
        };
        let bytes = size.batch(Some(key.len()), value.map(<[u8]>::len));
        let record = BaseRecord {
            topic,
            partition: None,
            payload: value,
            key: Some(key),
            timestamp: None,
            headers,
            delivery_opaque: ticket,
        };
        (record, bytes)
    }
}

/// The `tracestate` of the hop: the event's own, if the event's trace is the one that goes on.
fn tracestate(event: &Event) -> &str {
    let text = |name| event.envelope.get(name).map(|value| value.text);
    let Some(state) = text("tracestate") else { return "" };
    let same =
        text("traceparent").and_then(TraceContext::parse).is_some_and(|own| own.trace_id == event.trace.trace_id);
    if same { state } else { "" }
}
