//! The envelope: one event in memory. CloudEvents 1.0.2 attributes and extensions, and the data as bytes.
//!
//! All attributes are spans into one text, so that cloning an event costs two reference counts. It is immutable; a
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

/// One event. See the module's documentation.
#[derive(Clone)]
pub struct Envelope {
    text: Arc<str>,
    core: [Span; CORE_NAMES.len()],
    extensions: Extensions,
    data: Bytes,
}

impl Envelope {
    pub(crate) fn new(text: Arc<str>, core: [Span; CORE_NAMES.len()], extensions: Extensions, data: Bytes) -> Self {
        Envelope { text, core, extensions, data }
    }

    /// The attribute `id`.
    pub fn id(&self) -> &str {
        self.core_at(0)
    }

    /// The attribute `id`, sharing the event's buffer.
    pub fn shared_id(&self) -> ByteStr {
        ByteStr::part(&self.text, self.core[0])
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
        self.core[3].of(&self.text)
    }

    /// The event's data; empty when there is none.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// One attribute or extension by name. `specversion` is `1.0`.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        if let Some(place) = CORE_NAMES.iter().position(|core| *core == name) {
            return self.core[place].of(&self.text).map(|text| Value { text, kind: Kind::String });
        }
        if name == "specversion" {
            return Some(Value { text: "1.0", kind: Kind::String });
        }
        let found = self.extensions.iter().find(|ext| ext.name.of(&self.text) == Some(name))?;
        found.value.of(&self.text).map(|text| Value { text, kind: found.kind })
    }

    /// One attribute's text, sharing the event's buffer.
    pub fn get_shared(&self, name: &str) -> Option<ByteStr> {
        let span = match CORE_NAMES.iter().position(|core| *core == name) {
            Some(place) => self.core[place],
            None => self.extensions.iter().find(|ext| ext.name.of(&self.text) == Some(name))?.value,
        };
        if span.is_some() { Some(ByteStr::part(&self.text, span)) } else { None }
    }

    /// All attributes that are set, without `specversion`: the core ones in the order of [`CORE_NAMES`], then the extensions
    /// in the order in which they came.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let core = CORE_NAMES
            .iter()
            .zip(&self.core)
            .filter_map(|(name, span)| Some((*name, Value { text: span.of(&self.text)?, kind: Kind::String })));
        core.chain(self.extensions())
    }

    /// The extension attributes, in the order in which they came.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.extensions.iter().filter_map(|ext| {
            Some((ext.name.of(&self.text)?, Value { text: ext.value.of(&self.text)?, kind: ext.kind }))
        })
    }

    /// The text and the places in it, for the journal record.
    pub(crate) fn spans(&self) -> (&str, &[Span; CORE_NAMES.len()], &Extensions) {
        (&self.text, &self.core, &self.extensions)
    }

    /// A copy of the attributes to change; `freeze` it with [`Envelope::data`] or other data.
    pub fn edit(&self) -> Attributes {
        Attributes::thaw(self.text.to_string(), self.core, self.extensions.clone())
    }

    /// The same attributes without data: it does not keep the payload's buffer alive.
    #[must_use]
    pub fn without_data(&self) -> Envelope {
        Envelope {
            text: Arc::clone(&self.text),
            core: self.core,
            extensions: self.extensions.clone(),
            data: Bytes::new(),
        }
    }

    /// Bytes that this event takes: its text and its data.
    pub fn size(&self) -> usize {
        self.text.len() + self.data.len()
    }

    fn core_at(&self, place: usize) -> &str {
        // `freeze` checked that the required ones are there.
        self.core[place].of(&self.text).unwrap_or_default()
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.attributes().eq(other.attributes())
    }
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
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let suffix = subtype.len() >= 5 && subtype.as_bytes()[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    suffix
        || (subtype.eq_ignore_ascii_case("json")
            && (kind.eq_ignore_ascii_case("application") || kind.eq_ignore_ascii_case("text")))
}
