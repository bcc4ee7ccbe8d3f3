//! The functions of CloudEvents SQL (specification 1.0, section 3.5, and the casts of the test kit).
//!
//! Names in any case; which function is meant depends on the number of arguments, too, and is settled at compile time.
//! Characters are Unicode scalar values. No result is longer than [`crate::MAX_STRING`]; it is checked while a result
//! grows, not after. Parts of a borrowed string stay borrowed. User-defined functions do not exist.

use std::borrow::Cow;
use std::ops::Range;

use crate::MAX_STRING;
use crate::attributes::Attributes;
use crate::error::{Cause, Span};
use crate::eval::{Evaluated, Evaluator, at};
use crate::tree::Node;
use crate::value::{Type, Value};

/// A built-in function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Abs,
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Int,
    Bool,
    String,
    IsInt,
    IsBool,
}

/// Name, fewest and most arguments.
const FUNCTIONS: [(&str, usize, usize, Function); 15] = [
    ("ABS", 1, 1, Function::Abs),
    ("LENGTH", 1, 1, Function::Length),
    ("CONCAT", 0, usize::MAX, Function::Concat),
    ("CONCAT_WS", 1, usize::MAX, Function::ConcatWs),
    ("LOWER", 1, 1, Function::Lower),
    ("UPPER", 1, 1, Function::Upper),
    ("TRIM", 1, 1, Function::Trim),
    ("LEFT", 2, 2, Function::Left),
    ("RIGHT", 2, 2, Function::Right),
    ("SUBSTRING", 2, 3, Function::Substring),
    ("INT", 1, 1, Function::Int),
    ("BOOL", 1, 1, Function::Bool),
    ("STRING", 1, 1, Function::String),
    ("IS_INT", 1, 1, Function::IsInt),
    ("IS_BOOL", 1, 1, Function::IsBool),
];

impl Function {
    /// The function with this name that takes this many arguments.
    pub(crate) fn find(name: &str, arguments: usize) -> Option<Function> {
        FUNCTIONS
            .iter()
            .find(|(known, fewest, most, _)| known.eq_ignore_ascii_case(name) && (*fewest..=*most).contains(&arguments))
            .map(|(.., function)| *function)
    }

    /// The type of what the function returns.
    pub(crate) fn result_type(self) -> Type {
        match self {
            Function::Length | Function::Abs | Function::Int => Type::Integer,
            Function::Bool | Function::IsInt | Function::IsBool => Type::Boolean,
            Function::Concat
            | Function::ConcatWs
            | Function::Lower
            | Function::Upper
            | Function::Trim
            | Function::Left
            | Function::Right
            | Function::Substring
            | Function::String => Type::String,
        }
    }
}

impl<'e, A: Attributes + ?Sized> Evaluator<'e, A> {
    /// Calls a function; `span` is the whole call. The number of arguments is right: `find` saw to that.
    #[inline(never)]
    pub(crate) fn call(&self, function: Function, span: Span, arguments: &'e [Node]) -> Evaluated<Value<'e>> {
        let [first, others @ ..] = arguments else {
            return Ok(function.result_type().zero());
        };
        Ok(match function {
            Function::Abs => Value::Integer(at(span, self.integer(first)?.checked_abs().ok_or(Cause::Overflow))?),
            Function::Length => {
                let length = i32::try_from(self.string(first)?.chars().count());
                Value::Integer(at(span, length.map_err(|_| Cause::TooLong))?)
            }
            Function::Concat => self.join(span, "", arguments)?,
            Function::ConcatWs => {
                let delimiter = self.string(first)?;
                self.join(span, &delimiter, others)?
            }
            Function::Lower => Value::String(at(span, lower(self.string(first)?))?),
            Function::Upper => Value::String(at(span, upper(&self.string(first)?))?),
            Function::Trim => {
                let text = self.string(first)?;
                let start = text.len() - text.trim_start().len();
                let end = start + text.trim().len();
                Value::String(slice(text, start..end))
            }
            Function::Left | Function::Right | Function::Substring => self.part(function, span, first, others)?,
            Function::Int => Value::Integer(self.integer(first)?),
            Function::Bool => Value::Boolean(at(first.span, self.value(first)?.cast_boolean())?),
            Function::String => Value::String(self.string(first)?),
            Function::IsInt => Value::Boolean(self.value(first)?.cast_integer().is_ok()),
            Function::IsBool => Value::Boolean(self.value(first)?.cast_boolean().is_ok()),
        })
    }

    fn join(&self, span: Span, delimiter: &str, nodes: &'e [Node]) -> Evaluated<Value<'e>> {
        let mut joined = String::new();
        for (index, node) in nodes.iter().enumerate() {
            let delimiter = if index == 0 { "" } else { delimiter };
            let text = self.string(node)?;
            if joined.len() + delimiter.len() + text.len() > MAX_STRING {
                return at(span, Err(Cause::TooLong));
            }
            joined.push_str(delimiter);
            joined.push_str(&text);
        }
        Ok(Value::String(Cow::Owned(joined)))
    }

    /// LEFT, RIGHT and SUBSTRING: all arguments first, then the casts, then the cut.
    fn part(&self, function: Function, span: Span, text: &'e Node, numbers: &'e [Node]) -> Evaluated<Value<'e>> {
        let text = self.string(text)?;
        let mut casts = [0, i32::MAX];
        let values = numbers.iter().map(|node| self.value(node)).collect::<Evaluated<Vec<_>>>()?;
        for ((cast, value), node) in casts.iter_mut().zip(values).zip(numbers) {
            *cast = at(node.span, value.cast_integer())?;
        }
        let [number, length] = casts;
        let range = match function {
            Function::Left => left(&text, number),
            Function::Right => right(&text, number),
            _ => substring(&text, number, length),
        };
        Ok(Value::String(slice(text, at(span, range)?)))
    }
}

/// Cuts without copying what is borrowed. The range is on character boundaries.
fn slice(text: Cow<'_, str>, range: Range<usize>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) if range == (0..text.len()) => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text[range].to_owned()),
    }
}

fn bounded(text: String) -> Result<String, Cause> {
    if text.len() > MAX_STRING { Err(Cause::TooLong) } else { Ok(text) }
}

fn lower(text: Cow<'_, str>) -> Result<Cow<'_, str>, Cause> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Ok(text);
    }
    // One character becomes at most three: what is checked after can be three times the limit at most.
    if text.len() > MAX_STRING { Err(Cause::TooLong) } else { bounded(text.to_lowercase()).map(Cow::Owned) }
}

fn upper(text: &str) -> Result<Cow<'static, str>, Cause> {
    if text.len() > MAX_STRING { Err(Cause::TooLong) } else { bounded(text.to_uppercase()).map(Cow::Owned) }
}

/// The byte offset of the character with this index, or the end.
fn offset(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn left(text: &str, count: i32) -> Result<Range<usize>, Cause> {
    let count = usize::try_from(count).map_err(|_| Cause::NegativeCount)?;
    Ok(0..offset(text, count))
}

fn right(text: &str, count: i32) -> Result<Range<usize>, Cause> {
    let count = usize::try_from(count).map_err(|_| Cause::NegativeCount)?;
    Ok(offset(text, text.chars().count().saturating_sub(count))..text.len())
}

fn substring(text: &str, position: i32, length: i32) -> Result<Range<usize>, Cause> {
    let length = usize::try_from(length).map_err(|_| Cause::NegativeCount)?;
    let characters = text.chars().count();
    let distance = usize::try_from(position.unsigned_abs()).map_err(|_| Cause::PositionOutside)?;
    if distance > characters {
        return Err(Cause::PositionOutside);
    }
    let first = match position {
        0 => return Ok(0..0),
        1.. => distance - 1,
        _ => characters - distance,
    };
    let start = offset(text, first);
    Ok(start..start + offset(&text[start..], length))
}
