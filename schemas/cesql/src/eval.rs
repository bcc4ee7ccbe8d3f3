//! Evaluation over borrowed attributes (specification 1.0, sections 3.2 to 3.4, 3.6 and 3.7).
//!
//! The first error ends the evaluation ("fail fast", section 4.1): what stands around it is not evaluated any more. So
//! an error is the `Err` of a `Result` here, and [`evaluate`] adds the value that the specification wants beside it.
//! Comparisons, LIKE, IN, EXISTS and logic allocate nothing as long as no Integer has to be cast to a String. Recursion
//! is bounded by the parser.

use std::borrow::Cow;

use crate::attributes::Attributes;
use crate::error::{Cause, ErrorKind, EvalError, Span};
use crate::functions::Function;
use crate::tree::{Arithmetic, Chain, Compare, Kind, Logic, Node};
use crate::value::Value;

/// What an expression is evaluated with.
pub(crate) struct Evaluator<'e, A: ?Sized> {
    pub(crate) attributes: &'e A,
}

pub(crate) type Evaluated<T> = Result<T, EvalError>;

/// The value of a whole expression, and its first error.
pub(crate) fn evaluate<'e, A: Attributes + ?Sized>(root: &'e Node, attributes: &'e A) -> (Value<'e>, Option<EvalError>) {
    let evaluator = Evaluator { attributes };
    match evaluator.value(root) {
        Ok(value) => (value, None),
        Err(error) => (evaluator.after(root, error), Some(error)),
    }
}

impl<'e, A: Attributes + ?Sized> Evaluator<'e, A> {
    pub(crate) fn value(&self, node: &'e Node) -> Evaluated<Value<'e>> {
        match &node.kind {
            Kind::Text(text) => Ok(Value::from(&**text)),
            Kind::Integer(number) => Ok(Value::Integer(*number)),
            Kind::Boolean(truth) => Ok(Value::Boolean(*truth)),
            Kind::Attribute(name) => {
                name.read(self.attributes).ok_or(EvalError { cause: Cause::MissingAttribute, span: node.span })
            }
            Kind::Negate(operand) => {
                let number = self.integer(operand)?;
                number.checked_neg().map(Value::Integer).ok_or(EvalError { cause: Cause::Overflow, span: node.span })
            }
            Kind::Arithmetic(chain) => self.arithmetic(chain).map(Value::Integer),
            Kind::Call(Some(function), arguments) => self.call(*function, node.span, arguments),
            Kind::Call(None, _) => Err(EvalError { cause: Cause::MissingFunction, span: node.span }),
            Kind::Exists(_)
            | Kind::Not(_)
            | Kind::Like { .. }
            | Kind::In { .. }
            | Kind::Compare(_)
            | Kind::Logic(_) => self.truth(node).map(Value::Boolean),
        }
    }

    /// The node's value, cast to Boolean: the way in for predicates, without a `Value` in between where one is.
    pub(crate) fn truth(&self, node: &'e Node) -> Evaluated<bool> {
        match &node.kind {
            Kind::Boolean(truth) => Ok(*truth),
            Kind::Exists(name) => Ok(name.is_required() || name.read(self.attributes).is_some()),
            Kind::Not(operand) => match self.value(operand)? {
                // The kit, unlike section 3.7, refuses this one cast: `NOT 10` is a cast error.
                Value::Integer(_) => Err(EvalError { cause: Cause::NotOfInteger, span: operand.span }),
                value => Ok(!at(operand.span, value.cast_boolean())?),
            },
            Kind::Like { operand, pattern, negated } => match self.value(operand)? {
                Value::String(text) => Ok(pattern.matches(&text) != *negated),
                value => Ok(pattern.matches(&value.cast_string()) != *negated),
            },
            Kind::In { operand, set, negated } => Ok(self.is_in(operand, set)? != *negated),
            Kind::Compare(chain) => self.compare(chain),
            Kind::Logic(chain) => self.logic(chain),
            Kind::Text(_)
            | Kind::Integer(_)
            | Kind::Attribute(_)
            | Kind::Negate(_)
            | Kind::Arithmetic(_)
            | Kind::Call(..) => at(node.span, self.value(node)?.cast_boolean()),
        }
    }

    pub(crate) fn integer(&self, node: &'e Node) -> Evaluated<i32> {
        at(node.span, self.value(node)?.cast_integer())
    }

    pub(crate) fn string(&self, node: &'e Node) -> Evaluated<Cow<'e, str>> {
        Ok(self.value(node)?.cast_string())
    }

    fn logic(&self, chain: &'e Chain<Logic>) -> Evaluated<bool> {
        let mut truth = self.truth(&chain.first)?;
        for (op, node) in &chain.rest {
            match (op, truth) {
                (Logic::And, false) | (Logic::Or, true) => {}
                (Logic::And, true) | (Logic::Or, false) => truth = self.truth(node)?,
                (Logic::Xor, left) => truth = left != self.truth(node)?,
            }
        }
        Ok(truth)
    }

    /// The usual case, one attribute against one string, goes straight; the rest casts step by step.
    fn compare(&self, chain: &'e Chain<Compare>) -> Evaluated<bool> {
        if let ([(op @ (Compare::Equal | Compare::NotEqual), right)], Kind::Attribute(_)) = (&*chain.rest, &chain.first.kind)
            && let Kind::Text(literal) = &right.kind
        {
            let equal = match self.value(&chain.first)? {
                Value::String(text) => *text == **literal,
                value => value.cast_string() == **literal,
            };
            return Ok(equal == (*op == Compare::Equal));
        }
        let mut left = self.value(&chain.first)?;
        let mut result = false;
        let mut span = chain.first.span;
        for (op, node) in &chain.rest {
            let right = self.value(node)?;
            result = match op {
                Compare::Equal => at(span, equal(left, &right))?,
                Compare::NotEqual => !at(span, equal(left, &right))?,
                Compare::Less => order(&left, span, &right, node.span)?.is_lt(),
                Compare::LessEqual => order(&left, span, &right, node.span)?.is_le(),
                Compare::Greater => order(&left, span, &right, node.span)?.is_gt(),
                Compare::GreaterEqual => order(&left, span, &right, node.span)?.is_ge(),
            };
            left = Value::Boolean(result);
            span = chain.first.span.to(node.span);
        }
        Ok(result)
    }

    fn is_in(&self, operand: &'e Node, set: &'e [Node]) -> Evaluated<bool> {
        let left = self.value(operand)?;
        for node in set {
            if let (Value::String(text), Kind::Text(literal)) = (&left, &node.kind) {
                if **text == **literal {
                    return Ok(true);
                }
                continue;
            }
            // The left side's type is the target here: the other way round than for `=` (section 3.7).
            if at(node.span, equal(self.value(node)?, &left))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Left to right; both operands are evaluated before either is cast.
    fn arithmetic(&self, chain: &'e Chain<Arithmetic>) -> Evaluated<i32> {
        let mut value = self.value(&chain.first)?;
        let mut number = 0;
        let mut span = chain.first.span;
        for (op, node) in &chain.rest {
            let right = self.value(node)?;
            let left = at(span, value.cast_integer())?;
            let right = at(node.span, right.cast_integer())?;
            span = chain.first.span.to(node.span);
            number = at(span, calculate(*op, left, right))?;
            value = Value::Integer(number);
        }
        Ok(number)
    }

    /// The value beside an error: the zero value of the expression's type (section 3.3), unless the specification or
    /// the kit names another for an error that the outermost operator itself met.
    fn after(&self, root: &'e Node, error: EvalError) -> Value<'e> {
        let zero = root.result_type().zero();
        match (&root.kind, error.kind()) {
            (Kind::Not(operand), ErrorKind::Cast) if self.value(operand).is_ok() => Value::Boolean(true),
            (Kind::Call(Some(Function::Abs), arguments), ErrorKind::Math) => match &**arguments {
                [argument] if self.integer(argument).is_ok() => Value::Integer(i32::MAX),
                _ => zero,
            },
            (Kind::Call(Some(Function::Left | Function::Right), arguments), ErrorKind::FunctionEvaluation) => {
                match &**arguments {
                    [text, count] if self.integer(count).is_ok() => self.string(text).map_or(zero, Value::String),
                    _ => zero,
                }
            }
            _ => zero,
        }
    }
}

/// Says where a cast or a calculation failed.
#[inline]
pub(crate) fn at<T>(span: Span, result: Result<T, Cause>) -> Evaluated<T> {
    result.map_err(|cause| EvalError { cause, span })
}

/// `x = y`, where `x` is cast to the type of `y`.
fn equal(x: Value<'_>, y: &Value<'_>) -> Result<bool, Cause> {
    Ok(match y {
        Value::String(text) => x.cast_string() == *text,
        Value::Integer(number) => x.cast_integer()? == *number,
        Value::Boolean(truth) => x.cast_boolean()? == *truth,
    })
}

fn order(x: &Value<'_>, x_span: Span, y: &Value<'_>, y_span: Span) -> Evaluated<std::cmp::Ordering> {
    let x = at(x_span, x.cast_integer())?;
    Ok(x.cmp(&at(y_span, y.cast_integer())?))
}

fn calculate(op: Arithmetic, x: i32, y: i32) -> Result<i32, Cause> {
    let number = match op {
        Arithmetic::Divide | Arithmetic::Remainder if y == 0 => return Err(Cause::DivisionByZero),
        Arithmetic::Multiply => x.checked_mul(y),
        Arithmetic::Divide => x.checked_div(y),
        // The one overflow of the division underneath (-2147483648 % -1) has the remainder 0.
        Arithmetic::Remainder => Some(x.wrapping_rem(y)),
        Arithmetic::Add => x.checked_add(y),
        Arithmetic::Subtract => x.checked_sub(y),
    };
    number.ok_or(Cause::Overflow)
}
