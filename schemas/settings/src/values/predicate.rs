//! Predicates in CloudEvents SQL. The one file that knows the `cesql` crate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Bad;

/// A CESQL text and its compiled form.
#[derive(Clone)]
pub struct Predicate {
    text: String,
    expression: Arc<cesql::Expression>,
}

impl Predicate {
    /// The predicate that always holds.
    #[must_use]
    pub fn always() -> Self {
        "TRUE".parse().expect("TRUE is CESQL")
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The compiled form.
    #[must_use]
    pub fn expression(&self) -> &Arc<cesql::Expression> {
        &self.expression
    }

    /// True when the text is the literal `true`: it holds for every event.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.text.trim().eq_ignore_ascii_case("true")
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({:?})", self.text)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Predicate {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Self, Bad> {
        let expression = compile(text)?;
        Ok(Self { text: text.to_owned(), expression: Arc::new(expression) })
    }
}

/// Compiles, and turns the bytes of the error into characters.
fn compile(text: &str) -> Result<cesql::Expression, Bad> {
    cesql::Expression::compile(text).map_err(|error| {
        let characters = |bytes: usize| text.char_indices().take_while(|(at, _)| *at < bytes).count();
        // Where something is missing at the end, the place is behind the last character.
        let at = if error.span.start >= text.trim_end().len() {
            let end = text.trim_end().chars().count();
            end..end
        } else {
            characters(error.span.start)..characters(error.span.end)
        };
        let bad = Bad::new(format!("found {}, expected {}", error.found, error.expected)).at(at);
        match error.help {
            Some(help) => bad.help(help),
            None => bad,
        }
    })
}

impl<'de> serde::Deserialize<'de> for Predicate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Plain(bool),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Plain(value) => value.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Predicate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for Predicate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "cesql".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "boolean"],
            "format": "cesql",
            "description": "A CloudEvents SQL expression over the event's attributes, or true."
        })
    }
}

/// An attribute that an expression names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The attribute's name, in lower case.
    pub name: String,
    /// True when it stands behind `EXISTS`.
    pub exists: bool,
    /// Its first character in the text.
    pub at: usize,
}

const WORDS: [&str; 9] = ["and", "or", "xor", "not", "like", "in", "exists", "true", "false"];

/// The attributes that a CESQL text names, in order. A plain scan of its words: strings, keywords and functions are left out.
#[must_use]
pub fn mentions(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut after_exists = false;
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        if character == '\'' || character == '"' {
            at = string_end(&characters, at);
        } else if character.is_ascii_alphabetic() || character == '_' {
            let word: String =
                characters[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
            let next = characters[at + word.len()..].iter().find(|c| !c.is_whitespace());
            let name = word.to_lowercase();
            let keyword = WORDS.contains(&name.as_str());
            if !keyword && next != Some(&'(') {
                found.push(Mention { name: name.clone(), exists: after_exists, at });
            }
            after_exists = name == "exists";
            at += word.len();
        } else if character.is_ascii_digit() {
            at += characters[at..].iter().take_while(|c| c.is_ascii_alphanumeric()).count();
        } else {
            at += 1;
        }
    }
    found
}

fn string_end(characters: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < characters.len() && characters[at] != characters[start] {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mentions_leave_out_strings_keywords_and_functions() {
        let found = mentions("EXISTS tenant AND tenant = 'a type' AND LENGTH(subject) > 3 OR NOT x IN ('y', \"z\")");
        let names: Vec<_> = found.iter().map(|m| (m.name.as_str(), m.exists)).collect();
        assert_eq!(names, [("tenant", true), ("tenant", false), ("subject", false), ("x", false)]);
        assert_eq!(found[1].at, 18);
    }

    #[test]
    fn errors_point_at_the_token() {
        let at = "type LIKE 'com.%' AND severitynumber => 17".parse::<Predicate>().unwrap_err().at.unwrap();
        assert!(at.contains(&37) || at.contains(&38), "{at:?}");
        assert_eq!("type LIKE".parse::<Predicate>().unwrap_err().at, Some(9..9));
        assert!("true".parse::<Predicate>().unwrap().is_always());
    }
}
