//! An event on its way to backends: the envelope, the door through which it came, and what routing decided.
use crate::{AckLevel, ByteStr, Envelope, Headers, TraceContext, Value, attributes::Kind, envelope::ENVELOPE_VERSION};
use std::time::{Duration, SystemTime};

/// What the gateway knows of the way in. These are the `anygate…` attributes: set at the door before anything else, refused
/// from senders, and the only ones that routes may trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// `anygatelistener`: the listener's name.
    pub listener: ByteStr,
    /// `anygateprincipal`: who sent it; empty when nobody was asked.
    pub principal: ByteStr,
    /// `anygatetenant`: the principal's tenant; empty when there is none.
    pub tenant: ByteStr,
    /// `anygatesubject`: path, topic or routing key.
    pub subject: ByteStr,
}

/// The names of the attributes that a [`Door`] stands for, in the order of [`Door::attributes`].
pub const DOOR_NAMES: [&str; 5] =
    ["anygateprincipal", "anygatetenant", "anygatelistener", "anygatesubject", "anygateenvelope"];

impl Door {
    /// One of the `anygate…` attributes; `None` when it is not set.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let text = match name.strip_prefix("anygate")? {
            "principal" => self.principal.as_str(),
            "tenant" => self.tenant.as_str(),
            "listener" => self.listener.as_str(),
            "subject" => self.subject.as_str(),
            "envelope" => return Some(Value { text: ENVELOPE_TEXT, kind: Kind::Integer }),
            _ => return None,
        };
        if text.is_empty() { None } else { Some(Value { text, kind: Kind::String }) }
    }

    /// Those that are set, with their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        DOOR_NAMES.into_iter().filter_map(|name| Some((name, self.get(name)?)))
    }
}

const ENVELOPE_TEXT: &str = "1";
const _: () = assert!(ENVELOPE_VERSION == 1, "ENVELOPE_TEXT says the version in words");

/// An envelope seen together with its door: what routes, templates and predicates look at.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// The event.
    pub envelope: &'a Envelope,
    /// The door it came through.
    pub door: &'a Door,
}

impl<'a> EventView<'a> {
    /// An attribute, an extension, or an `anygate…` attribute.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        if name.starts_with("anygate") { self.door.get(name) } else { self.envelope.get(name) }
    }
}

/// Why an event is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The failure word.
    pub word: crate::Word,
    /// What exactly.
    pub detail: ByteStr,
    /// The backend that could not take it; empty for a door letter.
    pub backend: ByteStr,
    /// Delivery attempts made.
    pub attempts: u32,
    /// The LSN of the record it was in; 0 for a door letter.
    pub first_lsn: u64,
}

/// One routed event: what the journal keeps and backends get.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the journal; 0 when it was never journaled (`ack: delivered`).
    pub lsn: u64,
    /// The lanes it goes to: bit n = lane n.
    pub lanes: u64,
    /// The event.
    pub envelope: Envelope,
    /// The door it came through.
    pub door: Door,
    /// Headers kept by allow-list.
    pub headers: Headers,
    /// When its message was received.
    pub received: SystemTime,
    /// The gateway's own span of this message: parent of every delivery.
    pub trace: TraceContext,
    /// The name of the first route that matched; empty for none.
    pub route: ByteStr,
    /// The ack level of its path.
    pub level: AckLevel,
    /// The order key: `partitionkey`, else `subject`, else `source`.
    pub key: ByteStr,
    /// Set when it is a dead letter.
    pub death: Option<Box<Death>>,
}

impl Event {
    /// The event with its door.
    pub fn view(&self) -> EventView<'_> {
        EventView { envelope: &self.envelope, door: &self.door }
    }

    /// The span of this event's delivery to one backend, below the message's span. `backend` is a hash of the backend's name.
    /// The lane that reports the span and the backend that writes it into a header both ask here, and get the same id, before
    /// and after a restart. Retries of one delivery are one span.
    pub fn delivery_span(&self, backend: u64) -> TraceContext {
        self.delivery_span_at(backend, self.lsn)
    }

    /// As [`Event::delivery_span`], of the record at `lsn`: a replayed dead letter finds the delivery that failed.
    pub fn delivery_span_at(&self, backend: u64, lsn: u64) -> TraceContext {
        // Events of one message share its span; what was never journaled is told apart by what makes it unique.
        let place = match lsn {
            0 => self.envelope.source().bytes().chain(self.envelope.id().bytes()).fold(FNV_START, fnv),
            lsn => lsn,
        };
        self.trace.child(backend ^ place.rotate_left(32))
    }

    /// Time received, as nanoseconds since 1970.
    pub fn received_ns(&self) -> u64 {
        let since = self.received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// One step of FNV-1a.
fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// The order key of an event: `partitionkey`, else `subject`, else `source` (acceptance, "Kafka record").
pub fn order_key(envelope: &Envelope) -> ByteStr {
    ["partitionkey", "subject", "source"]
        .into_iter()
        .find_map(|name| envelope.get_shared(name).filter(|value| !value.is_empty()))
        .unwrap_or_default()
}
