//! Templates: text with `{name}` where data of the message goes.
//!
//! `{{` and `}}` stand for one brace. Rendering is the caller's: it knows what a name means and how to escape the value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{Bad, text_value};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// A `{name}`.
    Data {
        /// The name between the braces.
        name: String,
        /// Where the opening brace stands, in characters of the template's text.
        at: usize,
    },
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

impl Template {
    /// A template without placeholders, whatever braces the text has.
    #[must_use]
    pub fn constant(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text: text.replace('{', "{{").replace('}', "}}"), parts: vec![Part::Text(text)] }
    }

    /// The template as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names that it uses, in order, each with the characters it covers in the text, braces included.
    pub fn names(&self) -> impl Iterator<Item = (&str, std::ops::Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Data { name, at } => Some((name.as_str(), *at..*at + name.chars().count() + 2)),
            Part::Text(_) => None,
        })
    }

    /// The text before the first placeholder: what no sender can choose.
    #[must_use]
    pub fn fixed_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Data { .. }) | None => "",
        }
    }

    /// The value, when nothing is put in.
    #[must_use]
    pub fn as_constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Puts data in. `Err` is the first name for which `lookup` had nothing.
    ///
    /// # Errors
    /// The name that is missing.
    pub fn render<'v>(&self, mut lookup: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<String, &str> {
        let mut out = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Data { name, .. } => out.push_str(&lookup(name).ok_or(name.as_str())?),
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Template {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, character)) = characters.next() {
            let doubled = characters.peek().is_some_and(|(_, next)| *next == character);
            match character {
                '{' | '}' if doubled => {
                    characters.next();
                    plain.push(character);
                }
                '{' => {
                    let name: String =
                        std::iter::from_fn(|| characters.next_if(|(_, c)| !matches!(c, '{' | '}')).map(|(_, c)| c))
                            .collect();
                    let closed = characters.next_if(|(_, c)| *c == '}').is_some();
                    placeholder(&name, closed, at)?;
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Data { name, at });
                }
                '}' => {
                    return Err(Bad::new("this } closes nothing").at(at..at + 1).help("write }} for one }"));
                }
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn placeholder(name: &str, closed: bool, at: usize) -> Result<(), Bad> {
    let end = at + 1 + name.chars().count() + usize::from(closed);
    if !closed {
        return Err(Bad::new("this { is not closed").at(at..end).help("write {name}, or {{ for one {"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Bad::new(format!("{{{name}}} is no placeholder"))
            .at(at..end)
            .help("write {name} with letters, digits and _, or {{ for one {"));
    }
    Ok(())
}

text_value!(Template, "template", "Text; {name} puts data of the message in, {{ is one brace.");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_prefix_and_rendering() {
        let template: Template = "a{{b}}.{x}-{y}".parse().unwrap();
        assert_eq!(template.fixed_prefix(), "a{b}.");
        assert_eq!(
            template.names().map(|(name, at)| (name.to_owned(), at)).collect::<Vec<_>>(),
            [("x".into(), 7..10), ("y".into(), 11..14)]
        );
        assert_eq!(template.render(|name| Some(name.to_uppercase().into())).unwrap(), "a{b}.X-Y");
        assert_eq!(template.render(|name| (name == "x").then_some("1".into())), Err("y"));
        assert_eq!("bus".parse::<Template>().unwrap().as_constant(), Some("bus"));
        assert_eq!("{s}".parse::<Template>().unwrap().fixed_prefix(), "");
        assert_eq!(Template::constant("{x}").as_constant(), Some("{x}"));
        assert_eq!(Template::constant("{x}").text().parse::<Template>().unwrap().as_constant(), Some("{x}"));
    }

    #[test]
    fn what_is_refused_and_where() {
        for (bad, at) in [("a{b", 1..3), ("a}b", 1..2), ("é{}", 1..3), ("{a b}", 0..5)] {
            assert_eq!(bad.parse::<Template>().unwrap_err().at, Some(at), "{bad}");
        }
    }
}
