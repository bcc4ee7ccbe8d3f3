//! What can go wrong, and where: [`ParseError`] when an expression is compiled, [`EvalError`] when it meets an event.
//!
//! Both carry a [`Span`] into the expression's source. Neither is ever a panic. An [`EvalError`] is `Copy` and holds no
//! text, so that a predicate that errs for every event costs no allocation; [`crate::Expression::describe`] turns it
//! into a sentence.

use std::fmt;

/// A range of bytes in the source of an expression: `&source[span.start..span.end]`.
///
/// Always on character boundaries. Empty (`start == end`) at the end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset just after the last byte.
    pub end: usize,
}

impl Span {
    /// The span from the start of `self` to the end of `other`.
    #[must_use]
    pub(crate) fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end }
    }

    /// The text this span covers in `source`, or nothing when `source` is not the text the span was made from.
    #[must_use]
    pub fn of(self, source: &str) -> &str {
        source.get(self.start..self.end).unwrap_or_default()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}..{}", self.start, self.end)
    }
}

/// The error types of CloudEvents SQL 1.0, section 3.3, named as the test kit names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The text is no expression. Only ever from [`crate::Expression::compile`].
    Parse,
    /// Division by zero, or a result outside of 32 bits.
    Math,
    /// An implicit or explicit cast of a value that has no such form.
    Cast,
    /// The event has no such attribute.
    MissingAttribute,
    /// No function has this name and number of arguments.
    MissingFunction,
    /// A function was called with values it does not accept, or its result was too long.
    FunctionEvaluation,
    /// Anything else. This implementation raises none; the type exists because section 3.3 names it.
    Generic,
}

impl ErrorKind {
    /// The word that the CloudEvents SQL test kit uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Parse => "parse",
            ErrorKind::Math => "math",
            ErrorKind::Cast => "cast",
            ErrorKind::MissingAttribute => "missingAttribute",
            ErrorKind::MissingFunction => "missingFunction",
            ErrorKind::FunctionEvaluation => "functionEvaluation",
            ErrorKind::Generic => "generic",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an evaluation erred: finer than [`ErrorKind`], for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The event has no such attribute.
    MissingAttribute,
    /// No function has this name and number of arguments.
    MissingFunction,
    /// The right side of `/` or `%` is 0.
    DivisionByZero,
    /// The result does not fit into 32 bits.
    Overflow,
    /// A string that is no 32-bit decimal number was needed as an Integer.
    NotAnInteger,
    /// A string other than `true` and `false` was needed as a Boolean.
    NotABoolean,
    /// `NOT` was applied to an Integer.
    NotOfInteger,
    /// A count of characters is negative.
    NegativeCount,
    /// The position of `SUBSTRING` is outside of the string.
    PositionOutside,
    /// The result is longer than [`crate::MAX_STRING`].
    TooLong,
}

impl Cause {
    /// The error type of the specification that this cause belongs to.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        match self {
            Cause::MissingAttribute => ErrorKind::MissingAttribute,
            Cause::MissingFunction => ErrorKind::MissingFunction,
            Cause::DivisionByZero | Cause::Overflow => ErrorKind::Math,
            Cause::NotAnInteger | Cause::NotABoolean | Cause::NotOfInteger => ErrorKind::Cast,
            Cause::NegativeCount | Cause::PositionOutside | Cause::TooLong => ErrorKind::FunctionEvaluation,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Cause::MissingAttribute => "the event has no such attribute",
            Cause::MissingFunction => "no function has this name and number of arguments",
            Cause::DivisionByZero => "division by zero",
            Cause::Overflow => "the result does not fit into a 32-bit Integer",
            Cause::NotAnInteger => "the value is no 32-bit decimal number, so it cannot be cast to Integer",
            Cause::NotABoolean => "the value is neither `true` nor `false`, so it cannot be cast to Boolean",
            Cause::NotOfInteger => "NOT needs a Boolean, and an Integer is not cast for it; compare with 0 instead",
            Cause::NegativeCount => "the number of characters is negative",
            Cause::PositionOutside => "the position is outside of the string",
            Cause::TooLong => "the result is longer than 64 KiB",
        }
    }
}

/// An evaluation met an error (CloudEvents SQL 1.0, section 3.3). As a predicate the expression does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// Why.
    pub cause: Cause,
    /// The part of the expression it happened in: the attribute that is missing, the operand that could not be cast, …
    pub span: Span,
}

impl EvalError {
    /// The error type of the specification.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause.sentence(), self.span)
    }
}

impl std::error::Error for EvalError {}

/// The text is no CloudEvents SQL expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where: the token that does not fit; empty, at the end, when something is missing there.
    pub span: Span,
    /// What stands there, for people.
    pub found: String,
    /// What could have stood there instead, for people.
    pub expected: &'static str,
    /// What to do, where it is known.
    pub help: Option<&'static str>,
}

impl ParseError {
    /// Always [`ErrorKind::Parse`].
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Parse
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the expression does not parse at byte {}: found {}, expected {}",
            self.span.start, self.found, self.expected
        )?;
        self.help.map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for ParseError {}
