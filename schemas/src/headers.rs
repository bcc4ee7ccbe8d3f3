//! Headers kept beside the attributes: what is no legal attribute name but was asked for by the listener's allow-list.
//!
//! Nothing is kept unless it is allowed by name, and credentials are never kept.
use crate::{limits, text::ByteStr};

/// Headers that no allow-list can keep.
pub const NEVER_KEPT: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// A bounded list of names and values. Names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(ByteStr, ByteStr)>);

impl Headers {
    /// No headers; allocates nothing.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    /// Keeps one header. Returns `false`, and keeps nothing, when it may never be kept or a limit is reached.
    pub fn keep(&mut self, name: &str, value: &str) -> bool {
        let used: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        let forbidden = NEVER_KEPT.iter().any(|never| name.eq_ignore_ascii_case(never));
        if forbidden
            || self.0.len() == limits::HEADERS_MAX
            || used + name.len() + value.len() > limits::HEADERS_BYTES_MAX
        {
            return false;
        }
        self.0.push((name.to_ascii_lowercase().into(), value.into()));
        true
    }

    /// Headers as a record had them: checked when they were kept.
    pub(crate) fn restore(headers: Vec<(ByteStr, ByteStr)>) -> Self {
        Headers(headers)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The headers in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
