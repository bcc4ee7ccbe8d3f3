//! Text that shares its buffer: [`ByteStr`] is a text of its own or a part of an event's, [`Span`] a place in a text.
//!
//! An `Arc<str>` and not a `Bytes`, because giving out a `&str` from `Bytes` would validate UTF-8 each time (this
//! workspace has no `unsafe`).
use crate::envelope::Texts;
use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// Immutable text in a shared buffer. Cloning it costs one reference count, or nothing for a static text.
#[derive(Clone)]
pub struct ByteStr(Inner);

#[derive(Clone)]
enum Inner {
    Static(&'static str),
    Own(Arc<str>),
    /// A part of the text that holds all attributes of an event.
    Part(Arc<Texts>, Span),
}

impl ByteStr {
    /// No text.
    pub const EMPTY: ByteStr = ByteStr(Inner::Static(""));

    /// A text that lives for ever.
    pub const fn from_static(text: &'static str) -> Self {
        ByteStr(Inner::Static(text))
    }

    /// The part of `texts` at `span`; empty when there is none.
    pub(crate) fn part(texts: &Arc<Texts>, span: Span) -> Self {
        match span.of(&texts.text) {
            Some("") | None => Self::EMPTY,
            Some(_) => ByteStr(Inner::Part(Arc::clone(texts), span)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Inner::Static(text) => text,
            Inner::Own(text) => text,
            Inner::Part(texts, span) => span.of(&texts.text).unwrap_or_default(),
        }
    }
}

impl Default for ByteStr {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<String> for ByteStr {
    fn from(text: String) -> Self {
        ByteStr(Inner::Own(text.into()))
    }
}

impl From<&str> for ByteStr {
    fn from(text: &str) -> Self {
        ByteStr(Inner::Own(text.into()))
    }
}

impl From<Arc<str>> for ByteStr {
    fn from(text: Arc<str>) -> Self {
        ByteStr(Inner::Own(text))
    }
}

impl Deref for ByteStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for ByteStr {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for ByteStr {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ByteStr {}

impl Hash for ByteStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A place in a text of less than 4 GiB. [`Span::NONE`] says that there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Nothing: not the same as an empty text.
    pub const NONE: Span = Span { start: u32::MAX, end: u32::MAX };

    /// The bytes `start..end`. Texts are bounded far below 4 GiB, so the places fit.
    pub(crate) fn new(start: usize, end: usize) -> Span {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(start), end: place(end) }
    }

    /// Whether there is a text at all.
    pub fn is_some(self) -> bool {
        self.start != u32::MAX
    }

    /// Bytes of the text at this place, unless there is none.
    pub(crate) fn size(self) -> Option<usize> {
        self.is_some().then(|| self.end.saturating_sub(self.start) as usize)
    }

    /// The bytes of the text at this place, unless there is none.
    pub(crate) fn bytes_of(self, text: &str) -> Option<&[u8]> {
        if self.is_some() { text.as_bytes().get(self.start as usize..self.end as usize) } else { None }
    }

    /// The text at this place, unless there is none.
    pub(crate) fn of(self, text: &str) -> Option<&str> {
        if self.is_some() { text.get(self.start as usize..self.end as usize) } else { None }
    }
}
