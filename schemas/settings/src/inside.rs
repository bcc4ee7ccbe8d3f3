//! Where a character of a scalar's value stands in the source: inside quotes, escapes, folded lines and blocks.

use std::ops::Range;

use crate::source::{Source, Span};
use crate::tree::{Node, Style, Value};

/// The span of some characters of a scalar's value. The whole scalar when the environment was put in, because then the value
/// is not what stands in the file; the node itself for lists and maps.
pub(crate) fn within(source: &Source, node: &Node, characters: Range<usize>) -> Span {
    let Value::Scalar(scalar) = &node.value else { return node.span };
    let raw = source.slice(node.span);
    // An alias stands for a value that is written somewhere else.
    let alias = raw.starts_with('*') && !scalar.text.starts_with('*');
    if scalar.resolved || alias || (quoted(scalar.style) && !raw.starts_with(['"', '\''])) {
        return node.span;
    }
    let places = places(&scalar.text, raw, scalar.style);
    let place = |at: usize| source.floor(node.span.start + places.get(at).or(places.last()).copied().unwrap_or(0));
    let start = place(characters.start);
    if characters.is_empty() {
        return Span::new(start, start);
    }
    let end = place(characters.end);
    let one = source.text[start..].chars().next().map_or(0, char::len_utf8);
    Span::new(start, end.max(start + one))
}

/// The bytes between the quotes; all of them when there are none.
pub(crate) fn unquoted(source: &Source, node: &Node) -> Span {
    let raw = source.slice(node.span);
    let quoted = raw.len() >= 2 && raw.starts_with(['"', '\'']);
    if quoted { Span::new(node.span.start + 1, node.span.end - 1) } else { node.span }
}

fn quoted(style: Style) -> bool {
    matches!(style, Style::Single | Style::Double)
}

/// For each character of `value`, and for its end, the byte in `raw` where it stands.
fn places(value: &str, raw: &str, style: Style) -> Vec<usize> {
    let mut at = usize::from(quoted(style));
    let mut places = Vec::with_capacity(value.len() + 1);
    for character in value.chars() {
        if !character.is_whitespace() {
            at = skip_to(raw, at, character, style);
        }
        places.push(at);
        at += width(raw, at, character, style);
    }
    places.push(at.min(raw.len()));
    places
}

/// Skips the line breaks and indentation that folding swallowed.
fn skip_to(raw: &str, mut at: usize, character: char, style: Style) -> usize {
    while let Some(next) = raw.get(at..).and_then(|rest| rest.chars().next()) {
        let continued = style == Style::Double && raw[at..].starts_with("\\\n");
        if next == character || !(next.is_whitespace() || continued) {
            break;
        }
        at += if continued { 2 } else { next.len_utf8() };
    }
    at
}

/// How many bytes of `raw` one character of the value takes.
fn width(raw: &str, at: usize, character: char, style: Style) -> usize {
    let Some(rest) = raw.get(at..) else { return 0 };
    match style {
        Style::Single if rest.starts_with("''") => 2,
        Style::Double if rest.starts_with('\\') => escape_width(rest),
        Style::Plain | Style::Single | Style::Double | Style::Block => match rest.chars().next() {
            // A fold of several blanks gave one space.
            Some(next) if character.is_whitespace() && !next.is_whitespace() => 0,
            Some(next) => next.len_utf8(),
            None => 0,
        },
    }
}

fn escape_width(rest: &str) -> usize {
    let wanted = match rest.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        Some(_) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        None => 1,
    };
    wanted.min(rest.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{environment, parse};

    fn at(text: &str, characters: std::ops::Range<usize>) -> String {
        let tree = environment::resolve_none(parse::parse(crate::Source::new("t", text)).unwrap().0);
        let span = tree.within(tree.root.get("a").unwrap(), characters);
        tree.source.slice(span).to_owned()
    }

    #[test]
    fn characters_are_found_inside_every_style() {
        assert_eq!(at("a: xy => z\n", 3..5), "=>");
        assert_eq!(at("a: \"xy => z\"\n", 3..5), "=>");
        assert_eq!(at("a: \"\\\"\\u00e9 => z\"\n", 3..5), "=>");
        assert_eq!(at("a: 'it''s => z'\n", 5..7), "=>");
        assert_eq!(at("a: >-\n  one\n  two => z\n", 8..10), "=>");
        assert_eq!(at("a: |\n  one\n  two => z\n", 8..10), "=>");
        assert_eq!(at("a: one\n   two => z\n", 8..10), "=>");
    }
}
