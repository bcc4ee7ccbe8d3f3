//! `LIKE` patterns (specification 1.0, section 3.4.3): compiled once, matched without allocation and without backtracking.
//!
//! A pattern is split at its `%`. The first part must start the text, the last must end it, and the parts between are
//! looked for from left to right; the leftmost place is always right, so nothing is ever tried again. The cost is linear
//! in the text, times the length of a part only where that part holds a `_`. A character is a Unicode scalar value.

use crate::value::same;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// No wildcard: `abc`.
    Exact(Box<str>),
    /// One `%`: `abc%`, `%abc`, `a%c`, `%`.
    Ends { prefix: Box<str>, suffix: Box<str> },
    /// `%abc%`.
    Contains(Box<str>),
    /// Anything else. `prefix` is what stands before the first wildcard.
    General { prefix: Box<str>, parts: Box<[Part]> },
}

/// What stands between two `%`.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Literal(Box<str>),
    /// With at least one `_`, which is `None`.
    Wild(Box<[Option<char>]>),
}

enum Symbol {
    One(char),
    Any,
    Many,
}

impl Pattern {
    /// Compiles what the string literal says. `\%` and `\_` stand for themselves; any other backslash is a character.
    pub(crate) fn new(text: &str) -> Pattern {
        let mut parts = vec![Vec::new()];
        let mut prefix = String::new();
        let mut wild = false;
        for symbol in symbols(text) {
            wild |= !matches!(symbol, Symbol::One(_));
            match symbol {
                Symbol::Many => parts.push(Vec::new()),
                Symbol::Any => last(&mut parts).push(None),
                Symbol::One(character) => {
                    last(&mut parts).push(Some(character));
                    if !wild {
                        prefix.push(character);
                    }
                }
            }
        }
        let count = parts.len();
        let parts: Box<[Part]> = parts
            .into_iter()
            .enumerate()
            .filter(|(index, part)| *index == 0 || *index + 1 == count || !part.is_empty())
            .map(|(_, part)| Part::new(part))
            .collect();
        match &*parts {
            [Part::Literal(text)] => Pattern::Exact(text.clone()),
            [Part::Literal(prefix), Part::Literal(suffix)] => {
                Pattern::Ends { prefix: prefix.clone(), suffix: suffix.clone() }
            }
            [Part::Literal(first), Part::Literal(middle), Part::Literal(last)]
                if first.is_empty() && last.is_empty() =>
            {
                Pattern::Contains(middle.clone())
            }
            _ => Pattern::General { prefix: prefix.into_boxed_str(), parts },
        }
    }

    #[inline]
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => same(text.as_bytes(), exact.as_bytes()),
            Pattern::Ends { prefix, suffix } => {
                text.len() >= prefix.len() + suffix.len()
                    && same(&text.as_bytes()[..prefix.len()], prefix.as_bytes())
                    && same(&text.as_bytes()[text.len() - suffix.len()..], suffix.as_bytes())
            }
            Pattern::Contains(part) => contains(text, part),
            Pattern::General { parts, .. } => general(parts, text).is_some(),
        }
    }
}

/// The library's search is linear, but takes twenty nanoseconds to set up; a short text is through by then.
fn contains(text: &str, part: &str) -> bool {
    const SHORT: usize = 64;
    if text.len() > SHORT {
        return text.contains(part);
    }
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| same(window, part.as_bytes()))
}

fn last(parts: &mut [Vec<Option<char>>]) -> &mut Vec<Option<char>> {
    parts.last_mut().expect("it starts with one part and only grows")
}

fn symbols(text: &str) -> impl Iterator<Item = Symbol> {
    let mut characters = text.chars();
    std::iter::from_fn(move || {
        Some(match characters.next()? {
            '%' => Symbol::Many,
            '_' => Symbol::Any,
            '\\' if characters.as_str().starts_with(['%', '_']) => Symbol::One(characters.next()?),
            character => Symbol::One(character),
        })
    })
}

/// Some when the whole text matches.
fn general(parts: &[Part], text: &str) -> Option<()> {
    let (first, others) = parts.split_first()?;
    let mut rest = first.strip(text)?;
    let Some((last, middle)) = others.split_last() else {
        return rest.is_empty().then_some(());
    };
    for part in middle {
        rest = part.skip_past(rest)?;
    }
    last.ends(rest).then_some(())
}

impl Part {
    fn new(symbols: Vec<Option<char>>) -> Part {
        match symbols.iter().copied().collect::<Option<String>>() {
            Some(text) => Part::Literal(text.into_boxed_str()),
            None => Part::Wild(symbols.into_boxed_slice()),
        }
    }

    /// What follows this part at the start of `text`.
    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Part::Literal(literal) => text.strip_prefix(&**literal),
            Part::Wild(symbols) => {
                let mut characters = text.chars();
                for symbol in symbols {
                    let character = characters.next()?;
                    if symbol.is_some_and(|wanted| wanted != character) {
                        return None;
                    }
                }
                Some(characters.as_str())
            }
        }
    }

    /// What follows the leftmost place of this part in `text`.
    fn skip_past<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Part::Literal(literal) => text.find(&**literal).map(|at| &text[at + literal.len()..]),
            Part::Wild(_) => text.char_indices().find_map(|(at, _)| self.strip(&text[at..])),
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Part::Literal(literal) => text.ends_with(&**literal),
            Part::Wild(symbols) => {
                let start = text.char_indices().rev().nth(symbols.len() - 1).map(|(at, _)| at);
                start.is_some_and(|at| self.strip(&text[at..]).is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn each_shape_matches_what_it_says() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("%", "", true),
            ("%%", "x", true),
            ("", "", true),
            ("_", "", false),
            ("_", "é", true),
            ("%b%", "abc", true),
            ("%_", "", false),
            ("%_b", "aab", true),
            ("%_b", "b", false),
            ("a_%_c", "abc", false),
            ("a_%_c", "abbc", true),
            ("%a_c%e", "xabcde", true),
            ("%a_c%c", "xabc", false),
            (r"a\%b", "a%b", true),
            (r"a\%b", "axb", false),
            (r"a\b", r"a\b", true),
            (r"a\\%", r"a\%", true),
            ("%ü_ü%", "xüéüx", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "'{text}' LIKE '{pattern}'");
        }
    }

    #[test]
    fn a_hostile_pattern_does_not_explode() {
        let pattern = Pattern::new(&"%a".repeat(2_000));
        assert!(!pattern.matches(&"a".repeat(1_999)));
        assert!(pattern.matches(&"a".repeat(2_000)));
    }
}
