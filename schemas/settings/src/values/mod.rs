//! The value types that configuration structs use: each reads itself from text, says what is wrong with it, and has a schema.
//!
//! Each type has a `format` word in the schema; [`check`] finds the parser by that word, so that the checker and serde read
//! a value by the same code.

mod address;
mod many;
mod name;
mod period;
mod plain;
mod predicate;
mod rate;
mod secret;
mod size;
mod template;

use std::ops::Range;

pub use address::Address;
pub use many::{Named, OneOrMany};
pub use name::{Attribute, Name, Network, Pointer};
pub use period::{Period, PeriodRange};
pub use plain::Plain;
pub use predicate::{Mention, Predicate, mentions};
pub use rate::Rate;
pub use secret::{Secret, SecretText};
pub use size::ByteSize;
pub use template::{Part, Template};

/// Why a text is not a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// One line that goes on after "wants a size, ": what is wrong.
    pub message: String,
    /// The characters that are wrong; all of them when `None`.
    pub at: Option<Range<usize>>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Bad {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, help: None }
    }

    pub(crate) fn at(mut self, at: Range<usize>) -> Self {
        self.at = Some(at);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Bad {}

/// A `format` word of the schema.
pub(crate) struct Format {
    pub(crate) word: &'static str,
    /// With its article: `a size`.
    pub(crate) noun: &'static str,
    /// How one is written.
    pub(crate) example: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Bad>,
}

fn reads<T: std::str::FromStr<Err = Bad>>(text: &str) -> Result<(), Bad> {
    text.parse::<T>().map(|_| ())
}

/// Every format word.
pub(crate) const FORMATS: &[Format] = &[
    Format { word: "size", noun: "a size", example: "64KiB, 1MiB, 1GiB", check: reads::<ByteSize> },
    Format { word: "duration", noun: "a time", example: "250ms, 10s, 24h", check: reads::<Period> },
    Format { word: "backoff", noun: "a range of times", example: "200ms..30s", check: reads::<PeriodRange> },
    Format { word: "rate", noun: "a rate", example: "200/s, 1000/m", check: reads::<Rate> },
    Format { word: "address", noun: "an address", example: "127.0.0.1:8080, [::1]:8080", check: reads::<Address> },
    Format { word: "template", noun: "text", example: "sensors.{kind}", check: reads::<Template> },
    Format { word: "cesql", noun: "an expression", example: "type LIKE 'com.acme.%'", check: reads::<Predicate> },
    Format { word: "name", noun: "a name", example: "orders, edge-1", check: reads::<Name> },
    Format { word: "attribute", noun: "an attribute's name", example: "tenant", check: reads::<Attribute> },
    Format { word: "pointer", noun: "a JSON pointer", example: "/reading/severity", check: reads::<Pointer> },
    Format { word: "network", noun: "a network", example: "10.20.0.0/16", check: reads::<Network> },
];

/// The format of a schema word, when it is one of ours.
pub(crate) fn format(word: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.word == word)
}

/// serde and schema for a type that is read from one text: `FromStr<Err = Bad>` and `Display` must exist.
macro_rules! text_value {
    ($type:ty, $format:literal, $description:literal $(, $pattern:literal)?) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $format.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                #[allow(unused_mut, reason = "only some have a pattern")]
                let mut schema = schemars::json_schema!({ "type": "string", "format": $format, "description": $description });
                $(schema.insert("pattern".into(), serde_json::json!(concat!("^(", $pattern, ")$|\\$\\{")));)?
                schema
            }
        }
    };
}
pub(crate) use text_value;
