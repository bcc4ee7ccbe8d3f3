//! The contract of a codec, asked of any [`Codec`].
//!
//! * it never panics, whatever the bytes, and gives no more events than a message may hold;
//! * it is pure: the same message gives the same events;
//! * data that stands in the payload as it is, is a slice of the payload and not a copy;
//! * a fault says what is wrong; where bytes are to blame it names the offset, inside the payload and in its text;
//! * an event has an id, a source and a type, and no `anygate…` attribute;
//! * `encode` only appends, and what it wrote decodes to the same event, as far as the [`Sample`] says so.
use crate::{Broken, Found, mutate::Random};
use bytes::Bytes;
use codecs::{Codec, Context, DecodeError, Decoded};
use schemas::{Door, Envelope, EventView, Message, Word, limits};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

/// Changed payloads tried per sample.
const CHANGES: usize = 400;

/// What stands before an encoded event, to see that it stays.
const BEFORE: &[u8] = b"before";

/// A message that the codec reads, and what becomes of its events when they are written and read again.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The message. Every one of its events is good.
    pub message: Message,
    /// How an encoded event comes back.
    pub back: Back,
}

/// What an encoded event is, when it is decoded again.
#[derive(Clone, Debug)]
pub enum Back {
    /// It is not decoded again.
    Nothing,
    /// With this message's metadata it has the same data; its attributes were not written.
    Data(Message),
    /// With this message's metadata it is the same event. A codec may write the `anygate…` attributes, which no sender may set:
    /// `resend` takes them out.
    Event {
        /// The metadata.
        message: Message,
        /// From what was written to what a sender may send.
        resend: fn(&[u8]) -> Vec<u8>,
    },
}

/// Asks a codec for its contract, with samples of its own format. See the module's documentation.
///
/// # Errors
/// What it breaks.
pub fn check_codec(codec: &dyn Codec, samples: &[Sample]) -> Result<(), Broken> {
    let mut found = Found::default();
    let name = codec.name();
    found.expect(is_word(name), || format!("the name {name:?} is not of lower-case letters, digits and _"));
    found.expect(!samples.is_empty(), || "there is no sample: nothing was checked".to_owned());
    for (number, sample) in samples.iter().enumerate() {
        let label = format!("{name}, sample {number}");
        check_sample(codec, sample, &label, &mut found);
        let mut random = Random::new(0x5eed + u64::try_from(number).unwrap_or(0));
        for _ in 0..CHANGES {
            let payload = random.change(&sample.message.payload);
            let message = Message { payload: payload.into(), ..sample.message.clone() };
            check_any(codec, &message, &label, &mut found);
        }
    }
    found.verdict()
}

/// The name of a plug-in, as it may stand in a config.
pub(crate) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Decodes with a clock that stands and ids that are counted; `None` when the codec panics.
fn decode(codec: &dyn Codec, message: &Message) -> Option<Result<Decoded, DecodeError>> {
    let count = Cell::new(0);
    let new_id = || {
        count.set(count.get() + 1);
        format!("id-{}", count.get())
    };
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let cx = Context { listener: "conformance", received, traceparent: "", rules: None, new_id: &new_id };
    catch_unwind(AssertUnwindSafe(|| codec.decode(message, &cx))).ok()
}

/// All that holds for any bytes. Gives back the events that are good.
fn check_any(codec: &dyn Codec, message: &Message, label: &str, found: &mut Found) -> Vec<Envelope> {
    let shown = || message.payload.escape_ascii().take(120).map(char::from).collect::<String>();
    let Some(outcome) = decode(codec, message) else {
        found.expect(false, || format!("{label}: panics on {}", shown()));
        return Vec::new();
    };
    let again = decode(codec, message);
    let same = again.is_some_and(|again| describe(&again) == describe(&outcome));
    found.expect(same, || format!("{label}: not pure, differs from run to run on {}", shown()));
    match outcome {
        Err(fault) => {
            check_fault(&fault, message.payload.len(), found, &|| format!("{label}, on {}", shown()));
            Vec::new()
        }
        Ok(items) => {
            found.expect(items.len() <= limits::EVENTS_PER_MESSAGE_MAX, || {
                format!("{label}: {} events in one message", items.len())
            });
            let faults = items.iter().filter_map(|item| item.as_ref().err());
            found.expect(faults.into_iter().all(|fault| !fault.detail.is_empty()), || {
                format!("{label}: a fault without a detail on {}", shown())
            });
            let good: Vec<Envelope> = items.into_iter().filter_map(Result::ok).collect();
            for envelope in &good {
                check_envelope(envelope, &message.payload, found, &|| format!("{label}, on {}", shown()));
            }
            good
        }
    }
}

fn check_fault(fault: &DecodeError, len: usize, found: &mut Found, label: &dyn Fn() -> String) {
    found.expect(!fault.detail.is_empty(), || format!("{}: a fault without a detail", label()));
    match fault.offset {
        Some(offset) => {
            found.expect(offset <= len, || {
                format!("{}: the fault's offset {offset} is behind the payload's end at {len}", label())
            });
            let named = fault.detail.contains(&offset.to_string());
            found.expect(named, || {
                format!("{}: the detail {:?} does not name the offset {offset}", label(), fault.detail)
            });
        }
        None => found.expect(fault.word != Word::Malformed, || {
            format!("{}: malformed without an offset: {:?}", label(), fault.detail)
        }),
    }
}

fn check_envelope(envelope: &Envelope, payload: &Bytes, found: &mut Found, label: &dyn Fn() -> String) {
    for (name, value) in [("id", envelope.id()), ("source", envelope.source()), ("type", envelope.event_type())] {
        found.expect(!value.is_empty(), || format!("{}: an event without {name}", label()));
    }
    let reserved = envelope.extensions().map(|(name, _)| name).find(|name| name.starts_with("anygate"));
    found.expect(reserved.is_none(), || format!("{}: sets {reserved:?}, which only the door may", label()));
    found.expect(is_slice_or_new(envelope.data(), payload), || {
        format!("{}: data is a copy of what stands in the payload", label())
    });
}

/// Whether data is a slice of the payload, or does not stand in it as it is (it was base64, or escaped).
fn is_slice_or_new(data: &Bytes, payload: &Bytes) -> bool {
    let span = payload.as_ptr_range();
    data.is_empty()
        || (span.contains(&data.as_ptr()) && data.len() <= span.end as usize - data.as_ptr() as usize)
        || !payload.windows(data.len()).any(|window| window == data)
}

fn check_sample(codec: &dyn Codec, sample: &Sample, label: &str, found: &mut Found) {
    match decode(codec, &sample.message) {
        Some(Ok(items)) => {
            found.expect(!items.is_empty(), || format!("{label}: no event in it"));
            let fault = items.iter().find_map(|item| item.as_ref().err());
            found.expect(fault.is_none(), || format!("{label}: an event of it is refused: {fault:?}"));
        }
        Some(Err(fault)) => found.expect(false, || format!("{label}: cannot be read: {fault}")),
        None => {}
    }
    let same: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    let (back, resend, attributes_too) = match &sample.back {
        Back::Nothing => return drop(check_any(codec, &sample.message, label, found)),
        Back::Data(back) => (back, same, false),
        Back::Event { message, resend } => (message, *resend, true),
    };
    for envelope in check_any(codec, &sample.message, label, found) {
        let mut out = BEFORE.to_vec();
        codec.encode(EventView { envelope: &envelope, door: &Door::default() }, &mut out);
        let Some(encoded) = out.strip_prefix(BEFORE) else {
            found.expect(false, || format!("{label}: encode changes what was written before it"));
            continue;
        };
        let message = Message { payload: resend(encoded).into(), ..back.clone() };
        let returned = check_any(codec, &message, &format!("{label}, encoded"), found);
        let [returned] = returned.as_slice() else {
            found.expect(false, || format!("{label}: one event is {} when encoded and decoded", returned.len()));
            continue;
        };
        let same =
            returned.data() == envelope.data() && (!attributes_too || attributes(returned) == attributes(&envelope));
        found.expect(same, || format!("{label}: {envelope:?} is {returned:?} when encoded and decoded"));
    }
}

fn attributes(envelope: &Envelope) -> Vec<(String, String)> {
    let mut all: Vec<_> = envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
    all.sort();
    all
}

/// All that an outcome says, as text.
fn describe(outcome: &Result<Decoded, DecodeError>) -> String {
    match outcome {
        Err(fault) => format!("{fault:?}"),
        Ok(items) => items
            .iter()
            .map(|item| match item {
                Ok(envelope) => format!("{:?} {:?}\n", attributes(envelope), envelope.data()),
                Err(fault) => format!("{fault:?}\n"),
            })
            .collect(),
    }
}
