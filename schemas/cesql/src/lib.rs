//! CloudEvents SQL 1.0 (CESQL): predicates over the attributes of an event. No dependencies.
//!
//! An [`Expression`] is compiled once and evaluated as often as events come, over attributes that are borrowed from
//! wherever they are ([`Attributes`]). Usual predicates allocate nothing.
//!
//! ```
//! use cesql::{ErrorKind, Expression, Value};
//!
//! let urgent = Expression::compile("type LIKE 'com.example.%' AND EXISTS severity AND severity >= 17")?;
//!
//! let event = [("id", "1"), ("source", "/plant/7"), ("type", "com.example.alarm"), ("severity", "20")];
//! assert_eq!(urgent.matches(&event), Ok(true));
//!
//! // An error is a value too: beside it stands the zero value of the expression's type.
//! let event = [("id", "1"), ("type", "com.example.alarm"), ("severity", "high")];
//! let evaluation = urgent.evaluate(&event);
//! assert_eq!(evaluation.value, Value::Boolean(false));
//! assert_eq!(evaluation.error.map(|error| error.kind()), Some(ErrorKind::Cast));
//!
//! // What does not parse says where and why.
//! let error = Expression::compile("severity => 17").unwrap_err();
//! assert_eq!(error.span.start, 9);
//! assert_eq!(error.help, Some("write `>=`"));
//! # Ok::<(), cesql::ParseError>(())
//! ```
//!
//! **It promises** the whole of the [specification](https://github.com/cloudevents/spec/blob/main/cesql/spec.md) as its
//! test kit reads it; that no input makes it panic, recurse without bound or run for longer than the sizes allow
//! ([`MAX_EXPRESSION`], [`MAX_DEPTH`], [`MAX_STRING`]).
//!
//! **It does not** read the data of an event, nor know user-defined functions; and it stops at the first error ("fail
//! fast", specification section 4.1).
//!
//! # Where the specification leaves a choice
//!
//! - The first error ends the evaluation, so `missing = 1 OR TRUE` errs. Guard extensions: `EXISTS a AND a = 1`.
//! - The value beside an error is the zero value of the expression's type, except where the specification names another:
//!   `ABS(-2147483648)` is 2147483647, `LEFT` and `RIGHT` give their string.
//! - An overflow of `+ - * /` or of the sign is a math error and 0.
//! - `NOT` binds tighter than any binary operator (section 3.6): `NOT a = b` is `(NOT a) = b`. `NOT` of an Integer is a
//!   cast error whose value is true: so the test kit, against section 3.7.
//! - AND, OR and XOR are one precedence level, from left to right.
//! - `INT`, `BOOL`, `STRING` are functions, as the kit wants; `IS_INT` and `IS_BOOL` say whether such a cast would succeed.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may"))]

mod attributes;
mod constant;
mod error;
mod eval;
mod explain;
mod functions;
mod guards;
mod lexer;
mod like;
mod necessary;
mod parser;
mod tree;
mod value;

use std::collections::BTreeSet;

pub use attributes::{Attributes, Core};
pub use error::{Cause, ErrorKind, EvalError, ParseError, Span};
pub use explain::{Outcome, Step};
pub use necessary::{Necessary, Test};
pub use value::{Type, Value};

use tree::{Kind, Node};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 16 * 1024;
/// The deepest nesting of parentheses, function calls, sets and unary operators, in levels. Evaluating the deepest
/// expression takes less than 256 KiB of stack, and less than 1 MiB in an unoptimised build.
pub const MAX_DEPTH: usize = 32;
/// The longest string that a function makes, in bytes.
pub const MAX_STRING: usize = 64 * 1024;

/// A compiled expression. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct Expression {
    source: Box<str>,
    root: Node,
}

/// What an expression evaluates to: always a value, and perhaps an error (specification, section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'e> {
    /// The value; after an error usually the zero value of the expression's type.
    pub value: Value<'e>,
    /// The first error.
    pub error: Option<EvalError>,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// A function that does not exist is no error here, but one of every evaluation that meets it (specification,
    /// section 3.5); see [`unknown_functions`](Self::unknown_functions).
    ///
    /// # Errors
    ///
    /// The first thing that is no CESQL, with its place; also a text over [`MAX_EXPRESSION`] or [`MAX_DEPTH`].
    pub fn compile(source: &str) -> Result<Expression, ParseError> {
        Ok(Expression { root: parser::parse(source)?, source: source.into() })
    }

    /// The text it was compiled from. All spans are places in it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates it as a predicate: the value, cast to Boolean (specification, section 1.2).
    ///
    /// # Errors
    ///
    /// The first error. The event does not match then.
    pub fn matches<A: Attributes + ?Sized>(&self, attributes: &A) -> Result<bool, EvalError> {
        eval::Evaluator { attributes }.truth(&self.root).map_err(EvalError::from)
    }

    /// Evaluates it to its value.
    #[must_use]
    pub fn evaluate<'e, A: Attributes + ?Sized>(&'e self, attributes: &'e A) -> Evaluation<'e> {
        let (value, error) = eval::evaluate(&self.root, attributes);
        Evaluation { value, error }
    }

    /// Each predicate that AND, OR, XOR and NOT join, with the attributes it reads and what came of it, from left to
    /// right. For people: it allocates.
    #[must_use]
    pub fn explain<'e, A: Attributes + ?Sized>(&'e self, attributes: &'e A) -> Vec<Step<'e>> {
        explain::explain(&self.source, &self.root, attributes)
    }

    /// One sentence about an error of this expression, with the text it points at.
    #[must_use]
    pub fn describe(&self, error: &EvalError) -> String {
        format!("`{}`: {error}", error.span.of(&self.source))
    }

    /// The attributes it names, in `EXISTS` too; sorted, each once.
    #[must_use]
    pub fn attributes(&self) -> Vec<&str> {
        let mut names = BTreeSet::new();
        self.root.walk(&mut |node| {
            if let Kind::Attribute(name) | Kind::Exists(name) = &node.kind {
                names.insert(&*name.text);
            }
        });
        names.into_iter().collect()
    }

    /// Conditions without which it does not match, in the forms a router can index.
    ///
    /// If [`matches`](Self::matches) is `Ok(true)` then every attribute listed is present, and [`Test::holds`] of its
    /// value if that is a String. Not every condition is found; none is wrong.
    #[must_use]
    pub fn necessary(&self) -> Vec<Necessary<'_>> {
        necessary::necessary(&self.root)
    }

    /// `Some(true)` if it matches every event, `Some(false)` if it matches none (or always errs), `None` if that depends
    /// on the event, or is not seen.
    #[must_use]
    pub fn is_constant(&self) -> Option<bool> {
        constant::constant(&self.root)
    }

    /// Attributes that it reads although an event may lack them: not required by CloudEvents, and no `EXISTS` stands
    /// before. Each place, in the order of the source.
    #[must_use]
    pub fn unguarded_attributes(&self) -> Vec<(&str, Span)> {
        guards::unguarded(&self.root)
    }

    /// The calls of functions that do not exist, or not with this number of arguments: each evaluation that comes there errs.
    #[must_use]
    pub fn unknown_functions(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        self.root.walk(&mut |node| {
            if let Kind::Call(None, _) = &node.kind {
                spans.push(node.span);
            }
        });
        spans
    }
}
