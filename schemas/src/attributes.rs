//! Attributes while they are collected: by a transport's binding, by a codec, or by a rule of the config.
//!
//! One growing text and spans into it, so that a whole event costs one buffer. [`Attributes::freeze`] checks what
//! CloudEvents 1.0.2 asks for and makes the immutable [`Envelope`].
use crate::{
    Envelope, Value, Word,
    envelope::{CORE_NAMES, Extension, Extensions, Texts, core_place},
    limits,
    text::Span,
};
use bytes::Bytes;
use std::{borrow::Cow, fmt, sync::Arc};

/// The type of an attribute's value (CloudEvents 1.0.2, "Type System"); all others travel as their string form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// String, URI, URI-reference, timestamp or binary, in its canonical string form.
    #[default]
    String = 0,
    /// A 32-bit signed integer, written in decimal.
    Integer = 1,
    /// `true` or `false`.
    Boolean = 2,
}

/// Why an attribute or an event cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFault {
    /// The failure word: `malformed`, `missing_attribute`, `reserved_attribute` or `too_large`.
    pub word: Word,
    /// What is wrong, naming the attribute.
    pub detail: Cow<'static, str>,
}

impl AttributeFault {
    /// A fault with its explanation.
    pub fn new(word: Word, detail: impl Into<Cow<'static, str>>) -> Self {
        AttributeFault { word, detail: detail.into() }
    }
}

impl fmt::Display for AttributeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.detail)
    }
}

impl std::error::Error for AttributeFault {}

/// The first of [`CORE_NAMES`] must be there: `id`, `source`, `type`.
const REQUIRED: usize = 3;

/// Attributes of one event to be. Empty by default.
#[derive(Clone, Debug)]
pub struct Attributes {
    text: String,
    specversion: bool,
    core: [Span; CORE_NAMES.len()],
    extensions: Extensions,
}

impl Default for Attributes {
    fn default() -> Self {
        Attributes {
            text: String::new(),
            specversion: false,
            core: [Span::NONE; CORE_NAMES.len()],
            extensions: Extensions::new(),
        }
    }
}

impl Attributes {
    /// No attributes, with room for `bytes` of text.
    pub fn with_capacity(bytes: usize) -> Self {
        Attributes { text: String::with_capacity(bytes), ..Self::default() }
    }

    /// The text and the places in it, for the journal record.
    pub(crate) fn spans(&self) -> (&str, &[Span; CORE_NAMES.len()], &Extensions) {
        (&self.text, &self.core, &self.extensions)
    }

    /// Attributes as they were when a record was written; `specversion` says whether it had been given.
    pub(crate) fn restore(
        text: String,
        specversion: bool,
        core: [Span; CORE_NAMES.len()],
        extensions: Extensions,
    ) -> Self {
        Attributes { text, specversion, core, extensions }
    }

    /// A copy that has room for `bytes` more, so that what is added to it moves nothing.
    #[must_use]
    pub fn clone_with_room(&self, bytes: usize) -> Self {
        let mut text = String::with_capacity(self.text.len() + bytes);
        text.push_str(&self.text);
        Attributes {
            text,
            specversion: self.specversion,
            core: self.core,
            extensions: Extensions::from_slice(&self.extensions),
        }
    }

    pub(crate) fn thaw(text: String, core: [Span; CORE_NAMES.len()], extensions: Extensions) -> Self {
        Attributes { text, specversion: true, core, extensions }
    }

    /// Sets an attribute as a sender gave it. `specversion` must be `1.0`; names that begin with `anygate` are reserved.
    ///
    /// # Errors
    /// `malformed` for a name that CloudEvents forbids or another `specversion`, `reserved_attribute`, `too_large`.
    pub fn set_from_sender(&mut self, name: &str, value: &str, kind: Kind) -> Result<(), AttributeFault> {
        if name.starts_with("anygate") {
            let detail = format!("the attribute {:?} is set by the gateway only", shown(name));
            return Err(AttributeFault::new(Word::ReservedAttribute, detail));
        }
        no_control(name, value)?;
        self.set(name, value, kind)
    }

    /// The same of the core attribute at a place of [`CORE_NAMES`].
    pub(crate) fn set_core_from_sender(&mut self, place: usize, value: &str) -> Result<(), AttributeFault> {
        no_control(CORE_NAMES[place], value)?;
        self.set_core(place, value)
    }

    fn set_core(&mut self, place: usize, value: &str) -> Result<(), AttributeFault> {
        if self.text.len() + CORE_NAMES[place].len() + value.len() > limits::ATTRIBUTES_BYTES_MAX {
            return Err(too_much());
        }
        let optional = place >= REQUIRED;
        self.core[place] = if optional && value.is_empty() { Span::NONE } else { self.push(value) };
        Ok(())
    }

    /// Sets an attribute; an earlier value is replaced. An empty value of an optional core attribute removes it (CloudEvents
    /// 1.0.2: "if present, MUST be a non-empty string"); an extension may be empty.
    ///
    /// # Errors
    /// `malformed` for a name that CloudEvents forbids or another `specversion`, `too_large` above the limits.
    pub fn set(&mut self, name: &str, value: &str, kind: Kind) -> Result<(), AttributeFault> {
        if name == "specversion" {
            return self.set_specversion(value);
        }
        if let Some(place) = core_place(name) {
            return self.set_core(place, value);
        }
        if self.text.len() + name.len() + value.len() > limits::ATTRIBUTES_BYTES_MAX {
            return Err(too_much());
        }
        check_name(name)?;
        let value_span = self.push(value);
        let text = self.text.as_str();
        if let Some(found) = self.extensions.iter_mut().find(|ext| ext.name.of(text) == Some(name)) {
            found.value = value_span;
            found.kind = kind;
            return Ok(());
        }
        if self.extensions.len() == limits::EXTENSIONS_MAX {
            let detail = format!("more than {} extension attributes", limits::EXTENSIONS_MAX);
            return Err(AttributeFault::new(Word::TooLarge, detail));
        }
        let name = self.push(name);
        self.extensions.push(Extension { name, value: value_span, kind });
        Ok(())
    }

    /// Sets a core attribute to several pieces, one after the other.
    ///
    /// # Errors
    /// As [`Attributes::set`].
    pub fn set_joined(&mut self, name: &str, pieces: &[&str]) -> Result<(), AttributeFault> {
        let Some(place) = core_place(name) else { return self.set(name, &pieces.concat(), Kind::String) };
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.text.len() + name.len() + len > limits::ATTRIBUTES_BYTES_MAX {
            return Err(too_much());
        }
        let start = self.text.len();
        for piece in pieces {
            self.text.push_str(piece);
        }
        self.core[place] = Span::new(start, self.text.len());
        Ok(())
    }

    /// Removes an attribute, if it is there.
    pub fn remove(&mut self, name: &str) {
        if let Some(place) = core_place(name) {
            self.core[place] = Span::NONE;
        }
        let text = std::mem::take(&mut self.text);
        self.extensions.retain(|ext| ext.name.of(&text) != Some(name));
        self.text = text;
    }

    /// An attribute's value, in its string form.
    pub fn get(&self, name: &str) -> Option<&str> {
        if let Some(place) = core_place(name) {
            return self.core[place].of(&self.text);
        }
        self.extensions.iter().find(|ext| ext.name.of(&self.text) == Some(name))?.value.of(&self.text)
    }

    /// All attributes that are set, without `specversion`: core ones first, then extensions in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let core = CORE_NAMES.iter().zip(&self.core);
        let core =
            core.filter_map(|(name, span)| Some((*name, Value { text: span.of(&self.text)?, kind: Kind::String })));
        core.chain(self.extensions.iter().filter_map(|ext| {
            Some((ext.name.of(&self.text)?, Value { text: ext.value.of(&self.text)?, kind: ext.kind }))
        }))
    }

    /// Whether `specversion` was given: the mark of a CloudEvent in binary mode.
    pub fn is_event(&self) -> bool {
        self.specversion
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        !self.specversion && self.extensions.is_empty() && self.core.iter().all(|span| !span.is_some())
    }

    /// Checks the event and makes it immutable.
    ///
    /// # Errors
    /// `missing_attribute` when `id`, `source` or `type` is not there or empty (CloudEvents 1.0.2, "Required Attributes").
    pub fn freeze(self, data: Bytes) -> Result<Envelope, AttributeFault> {
        for (place, name) in CORE_NAMES.iter().enumerate().take(REQUIRED) {
            match self.core[place].of(&self.text) {
                Some(value) if !value.is_empty() => {}
                Some(_) => {
                    return Err(AttributeFault::new(
                        Word::MissingAttribute,
                        format!("the attribute {name:?} is empty"),
                    ));
                }
                None => {
                    return Err(AttributeFault::new(
                        Word::MissingAttribute,
                        format!("the attribute {name:?} is missing"),
                    ));
                }
            }
        }
        let Attributes { text, specversion: _, core, extensions } = self;
        Ok(Envelope::new(Arc::new(Texts { text, core, extensions }), data))
    }

    fn set_specversion(&mut self, value: &str) -> Result<(), AttributeFault> {
        if value == "1.0" {
            self.specversion = true;
            return Ok(());
        }
        let detail = format!("specversion {:?} is not 1.0, the only version taken", shown(value));
        Err(AttributeFault::new(Word::Malformed, detail))
    }

    fn push(&mut self, value: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(value);
        Span::new(start, self.text.len())
    }
}

fn no_control(name: &str, value: &str) -> Result<(), AttributeFault> {
    if !has_control(value) {
        return Ok(());
    }
    let detail = format!("the attribute {:?} has a control character, which CloudEvents forbids", shown(name));
    Err(AttributeFault::new(Word::Malformed, detail))
}

fn too_much() -> AttributeFault {
    let detail = format!("the attributes take more than {} bytes", limits::ATTRIBUTES_BYTES_MAX);
    AttributeFault::new(Word::TooLarge, detail)
}

/// U+0000–U+001F and U+007F–U+009F (CloudEvents 1.0.2, "Type System", String).
///
/// Eight bytes at a time, and one by one only where that finds a byte that is not plain ASCII.
fn has_control(value: &str) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let bytes = value.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    // Most values are ASCII without any. A high bit is set in each byte that may be none of that: 0x80 and above, 0x7f, which
    // carries into it, and below 0x20.
    let doubt = words.iter().fold(0, |doubt, word| {
        let word = u64::from_le_bytes(*word);
        doubt | word | (word & !HIGHS).wrapping_add(ONES) | word.wrapping_sub(ONES * 0x20)
    });
    let is_plain = doubt & HIGHS == 0 && rest.iter().all(|b| (0x20..0x7f).contains(b));
    !is_plain
        && (bytes.iter().any(|b| *b < 0x20 || *b == 0x7f)
            || bytes.windows(2).any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0))
}

/// A sender's text in an error, cut short.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn check_name(name: &str) -> Result<(), AttributeFault> {
    let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !fine {
        let detail = format!("attribute name {:?}: only lower-case letters and digits are allowed", shown(name));
        return Err(AttributeFault::new(Word::Malformed, detail));
    }
    if name.len() > limits::ATTRIBUTE_NAME_MAX {
        let detail =
            format!("attribute name of {} bytes, at most {} are taken", name.len(), limits::ATTRIBUTE_NAME_MAX);
        return Err(AttributeFault::new(Word::TooLarge, detail));
    }
    if name == "data" {
        return Err(AttributeFault::new(Word::Malformed, "\"data\" is no attribute name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn control_characters_are_what_unicode_says(text in "[ -~\u{0}-\u{1f}]{0,3}[ -~]{0,20}[\u{7f}-\u{a1}\u{c0}é€😀 -~]{0,4}") {
            prop_assert_eq!(has_control(&text), text.chars().any(char::is_control));
        }
    }
}
