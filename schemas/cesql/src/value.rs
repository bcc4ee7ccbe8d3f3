//! The three types of CloudEvents SQL and the casts between them (specification 1.0, sections 3.1 and 3.7).
//!
//! Casts promise what the table of section 3.7 says and nothing more; they say why they fail but not where, which only
//! the evaluator knows.

use std::borrow::Cow;
use std::fmt;

use crate::error::Cause;

/// A value: of an attribute, of a literal, or of an expression. Strings borrow where they can.
///
/// URIs, URI references and timestamps are strings (section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A sequence of Unicode characters.
    String(Cow<'a, str>),
    /// A signed 32-bit number.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

/// The type of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// See [`Value::String`].
    String,
    /// See [`Value::Integer`].
    Integer,
    /// See [`Value::Boolean`].
    Boolean,
}

impl Type {
    /// The zero value of the type (section 3.1): `""`, `0`, `false`.
    #[must_use]
    pub fn zero(self) -> Value<'static> {
        match self {
            Type::String => Value::String(Cow::Borrowed("")),
            Type::Integer => Value::Integer(0),
            Type::Boolean => Value::Boolean(false),
        }
    }
}

impl<'a> Value<'a> {
    /// The type of this value.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::Integer(_) => Type::Integer,
            Value::Boolean(_) => Type::Boolean,
        }
    }

    /// The same value, borrowed from this one.
    #[must_use]
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Value::String(text) => Value::String(Cow::Borrowed(text)),
            Value::Integer(number) => Value::Integer(*number),
            Value::Boolean(truth) => Value::Boolean(*truth),
        }
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Value::Integer(number) => Value::Integer(number),
            Value::Boolean(truth) => Value::Boolean(truth),
        }
    }

    /// Cast to String: never fails.
    pub(crate) fn cast_string(self) -> Cow<'a, str> {
        match self {
            Value::String(text) => text,
            Value::Integer(number) => Cow::Owned(number.to_string()),
            Value::Boolean(true) => Cow::Borrowed("true"),
            Value::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    /// Cast to Integer: decimal digits with an optional sign, within 32 bits.
    pub(crate) fn cast_integer(&self) -> Result<i32, Cause> {
        match self {
            Value::String(text) => text.parse().map_err(|_| Cause::NotAnInteger),
            Value::Integer(number) => Ok(*number),
            Value::Boolean(truth) => Ok(i32::from(*truth)),
        }
    }

    /// Cast to Boolean: `true` and `false` in any case; every Integer but 0 is true.
    pub(crate) fn cast_boolean(&self) -> Result<bool, Cause> {
        match self {
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Value::String(_) => Err(Cause::NotABoolean),
            Value::Integer(number) => Ok(*number != 0),
            Value::Boolean(truth) => Ok(*truth),
        }
    }
}

impl fmt::Display for Value<'_> {
    /// Strings in single quotes, escaped as in a literal; the rest as written in an expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => write!(f, "'{}'", text.replace('\'', "\\'")),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Cow::Borrowed(text))
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Boolean(truth)
    }
}

/// Equality of byte strings, eight bytes at a time. On texts as short as attributes this is quicker than a call to
/// `memcmp`, and much quicker where one is empty: vectorised versions then read behind a mask from an address that is not
/// there, which some processors need forty nanoseconds for.
#[inline]
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    left.len() == right.len()
        && left_words.iter().zip(right_words).all(|(l, r)| u64::from_ne_bytes(*l) == u64::from_ne_bytes(*r))
        && left_rest.iter().zip(right_rest).all(|(l, r)| l == r)
}
