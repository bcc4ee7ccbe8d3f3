//! A configuration text with its name, and positions in it.
//!
//! Promises: lines and columns count from 1, columns in characters (not bytes), a position past the end of a line is the
//! column after its last character. Does not read files: the caller does.

/// A range of bytes in one [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One after the last byte; never below `start`.
    pub end: usize,
}

impl Span {
    /// The bytes `start..end`.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }
}

/// A line and a column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// One configuration text and the name that faults print for it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name as faults print it: the path as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
    lines: Vec<usize>,
}

impl Source {
    /// Takes a text under the name that faults shall print.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, lines }
    }

    /// The line and column of a byte; a byte past the end is the end.
    #[must_use]
    pub fn position(&self, byte: usize) -> Position {
        let byte = self.floor(byte);
        let line = self.lines.partition_point(|&start| start <= byte).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(0);
        let column = self.text[start..byte].chars().count();
        Position { line: narrow(line + 1), column: narrow(column + 1) }
    }

    /// The text of a span; empty when the span lies outside.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or("")
    }

    /// The nearest character boundary at or below `byte`.
    pub(crate) fn floor(&self, byte: usize) -> usize {
        let mut at = byte.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("a.yaml", "é: 1\nbé: 22");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(2), Position { line: 1, column: 2 });
        assert_eq!(source.position(6), Position { line: 2, column: 1 });
        assert_eq!(source.position(9), Position { line: 2, column: 3 });
        assert_eq!(source.position(999), Position { line: 2, column: 7 });
    }
}
