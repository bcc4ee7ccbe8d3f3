//! The envelope: one event in memory. CloudEvents 1.0.2 attributes and extensions, and the data as bytes.
//!
//! All attributes are spans into one text, and both are shared, so that an event in memory is two words and its data, and
//! cloning it costs two reference counts. It is immutable; a
//! changed event is a new text ([`Envelope::edit`]). `specversion` is always `1.0` and is not stored. The attributes
//! `anygate…` are not here either: they belong to the door through which the event came ([`crate::Door`]).
use crate::{
    attributes::{Attributes, Kind},
    text::{ByteStr, Span},
};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{fmt, sync::Arc};

/// Version of the envelope's meaning, as the attribute `anygateenvelope` carries it. N-1 stays readable.
pub const ENVELOPE_VERSION: u32 = 1;

/// The core attributes, required ones first.
pub const CORE_NAMES: [&str; 7] = ["id", "source", "type", "datacontenttype", "dataschema", "subject", "time"];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) kind: Kind,
}

pub(crate) type Extensions = SmallVec<[Extension; 4]>;

/// The value of an attribute, borrowed from its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The value in its canonical string form (CloudEvents 1.0.2, "Type System").
    pub text: &'a str,
    /// Its type.
    pub kind: Kind,
}

/// One text, and where the attributes are in it. A record's text holds more than attributes.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) text: String,
    pub(crate) core: [Span; CORE_NAMES.len()],
    pub(crate) extensions: Extensions,
}

/// One event. See the module's documentation.
#[derive(Clone)]
pub struct Envelope {
    texts: Arc<Texts>,
    data: Bytes,
}

impl Envelope {
    pub(crate) fn new(texts: Arc<Texts>, data: Bytes) -> Self {
        Envelope { texts, data }
    }

    /// The attribute `id`.
    pub fn id(&self) -> &str {
        self.core_at(0)
    }

    /// The attribute `id`, sharing the event's buffer.
    pub fn shared_id(&self) -> ByteStr {
        ByteStr::part(&self.texts, self.texts.core[0])
    }

    /// The attribute `source`.
    pub fn source(&self) -> &str {
        self.core_at(1)
    }

    /// The attribute `type`.
    pub fn event_type(&self) -> &str {
        self.core_at(2)
    }

    /// The attribute `datacontenttype`, if given.
    pub fn content_type(&self) -> Option<&str> {
        self.texts.core[3].of(&self.texts.text)
    }

    /// The event's data; empty when there is none.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// One attribute or extension by name. `specversion` is `1.0`.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let Texts { text, core, extensions } = &*self.texts;
        if let Some(place) = core_place(name) {
            return core[place].of(text).map(|text| Value { text, kind: Kind::String });
        }
        if name == "specversion" {
            return Some(Value { text: "1.0", kind: Kind::String });
        }
        let found = extensions.iter().find(|ext| ext.name.of(text) == Some(name))?;
        found.value.of(text).map(|text| Value { text, kind: found.kind })
    }

    /// One attribute's text, sharing the event's buffer.
    pub fn get_shared(&self, name: &str) -> Option<ByteStr> {
        let Texts { text, core, extensions } = &*self.texts;
        let span = match core_place(name) {
            Some(place) => core[place],
            None => extensions.iter().find(|ext| ext.name.of(text) == Some(name))?.value,
        };
        if span.is_some() { Some(ByteStr::part(&self.texts, span)) } else { None }
    }

    /// All attributes that are set, without `specversion`: the core ones in the order of [`CORE_NAMES`], then the extensions
    /// in the order in which they came.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let core = CORE_NAMES
            .iter()
            .zip(&self.texts.core)
            .filter_map(|(name, span)| Some((*name, Value { text: span.of(&self.texts.text)?, kind: Kind::String })));
        core.chain(self.extensions())
    }

    /// The extension attributes, in the order in which they came.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let text = &self.texts.text;
        self.texts
            .extensions
            .iter()
            .filter_map(|ext| Some((ext.name.of(text)?, Value { text: ext.value.of(text)?, kind: ext.kind })))
    }

    /// The text and the places in it, for the journal record.
    pub(crate) fn spans(&self) -> (&str, &[Span; CORE_NAMES.len()], &Extensions) {
        (&self.texts.text, &self.texts.core, &self.texts.extensions)
    }

    /// A copy of the attributes to change; `freeze` it with [`Envelope::data`] or other data.
    pub fn edit(&self) -> Attributes {
        Attributes::thaw(self.texts.text.clone(), self.texts.core, self.texts.extensions.clone())
    }

    /// The same attributes without data: it does not keep the payload's buffer alive.
    #[must_use]
    pub fn without_data(&self) -> Envelope {
        Envelope { texts: Arc::clone(&self.texts), data: Bytes::new() }
    }

    /// Bytes that this event takes: its text and its data.
    pub fn size(&self) -> usize {
        self.texts.text.len() + self.data.len()
    }

    fn core_at(&self, place: usize) -> &str {
        // `freeze` checked that the required ones are there.
        self.texts.core[place].of(&self.texts.text).unwrap_or_default()
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && (Arc::ptr_eq(&self.texts, &other.texts) || self.attributes().eq(other.attributes()))
    }
}

/// The place of a core attribute in [`CORE_NAMES`]; by length first, because most names that are asked for are others.
pub(crate) fn core_place(name: &str) -> Option<usize> {
    let place = match name.len() {
        2 => 0,
        4 if name.as_bytes()[1] == b'y' => 2,
        4 => 6,
        6 => 1,
        7 => 5,
        10 => 4,
        15 => 3,
        _ => return None,
    };
    (CORE_NAMES[place] == name).then_some(place)
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.attributes() {
            map.entry(&name, &value.text);
        }
        map.entry(&"data", &format_args!("{} bytes", self.data.len())).finish()
    }
}

/// Whether a content type says JSON: `application/json`, `text/json`, or a subtype that ends in `+json`
/// (CloudEvents JSON format 1.0.2, section 3.1).
pub fn is_json(content_type: &str) -> bool {
    if content_type == "application/json" {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let suffix = subtype.len() >= 5 && subtype.as_bytes()[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    suffix
        || (subtype.eq_ignore_ascii_case("json")
            && (kind.eq_ignore_ascii_case("application") || kind.eq_ignore_ascii_case("text")))
}
